//! A part out of sorted rows that come in batches.
//!
//! ```text
//! batches ─► whole granules ─┬─► index, key range, skip indexes, projections
//!                            └─► encode ─► upload in pieces
//! ```

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use futures::channel::oneshot;
use futures::future::try_join_all;
use futures::stream::{self, BoxStream, StreamExt};
use granary_catalog::{NewPart, PartLocation, PartitionValue};
use granary_common::{Error, PartId, Result, TableId};

use super::part::{KeyRangeBuilder, Written, describe};
use super::projected::{self, Feed};
use super::upload::Upload;
use crate::part::DATA_FILE;
use crate::part::descriptor::FileEntry;
use crate::part::format::{Effort, compute, encode_stream};
use crate::part::index::IndexBuilder;
use crate::projection::Projections;
use crate::schema::PartSchema;
use crate::skip::{SkipBuilder, SkipIndexes};
use crate::ttl::TtlMark;
use crate::volume::Volume;

/// Rows that are encoded together, at least.
const CHUNK_ROWS: usize = 8192;

/// What a new part is, but for its rows.
pub struct NewPartSpec {
    pub id: PartId,
    pub partition: PartitionValue,
    pub location: PartLocation,
    pub effort: Effort,
    /// Bytes of data are added to it as they are written.
    pub bytes_written: Arc<AtomicU64>,
    /// When its rows are due, known after the last of them.
    pub ttl: Arc<OnceLock<Vec<TtlMark>>>,
    /// The indexes that it gets.
    pub skip: Option<SkipIndexes>,
    /// The projections that it gets.
    pub projections: Option<Projections>,
}

/// Writes sorted `batches` (columns in the order of `schema.columns`, floats canonical) as one part
/// without holding all of its rows; every file and folder is synced before it returns. No rows make
/// no part and no file. A part of a write that fails or is dropped is left to the sweep. Kinds as for
/// [`super::write_block`], and those of the batches.
pub async fn write_sorted(
    volume: &Volume,
    schema: &Arc<PartSchema>,
    spec: NewPartSpec,
    batches: BoxStream<'static, Result<RecordBatch>>,
) -> Result<Option<NewPart>> {
    let NewPartSpec { id, partition, location, effort, bytes_written, ttl, skip, projections } =
        spec;
    let skip = skip.as_ref().map(|skip| SkipBuilder::new(skip, schema)).transpose()?;
    let projecting = projected::begin(projections.as_ref(), schema)?;
    let (feeds, projected): (Vec<Feed>, Vec<_>) = projecting.into_iter().map(Feed::new).unzip();
    let owner = (schema.table, id);
    let progress = || Arc::clone(&bytes_written);
    let projected = projected.into_iter().map(|one| one.write(volume, owner, effort, progress()));
    let write = DataWrite { volume, owner, file: DATA_FILE, effort, progress: progress() };
    let data = write_data(write, schema, batches, Beside { skip, feeds });
    let (data, projections) = futures::try_join!(data, try_join_all(projected))?;
    let Some((data, summary)) = data else { return Ok(None) };
    let (index, key_range) = (summary.index.finish(), summary.key_range.finish());
    let skip = summary.beside.skip.map(SkipBuilder::finish).transpose()?.unwrap_or_default();
    if index.rows > u64::from(u32::MAX) {
        return Err(Error::exhausted(format!(
            "a part would have {} rows, and a part has at most {}",
            index.rows,
            u32::MAX
        )));
    }
    let ttl = ttl.get().cloned().unwrap_or_default();
    let projections = projections.into_iter().flatten().collect();
    let written = Written { id, partition, index, key_range, data, ttl, skip, projections };
    describe(volume, location, schema, written).await.map(Some)
}

/// Where and how a file with columns is written.
pub struct DataWrite<'a> {
    pub volume: &'a Volume,
    pub owner: (TableId, PartId),
    pub file: &'a str,
    pub effort: Effort,
    pub progress: Arc<AtomicU64>,
}

/// Writes `batches` as one file with columns, and tells what it learnt of them; no file without
/// rows.
pub async fn write_data(
    write: DataWrite<'_>,
    schema: &Arc<PartSchema>,
    batches: BoxStream<'static, Result<RecordBatch>>,
    beside: Beside,
) -> Result<Option<(FileEntry, Summary)>> {
    let DataWrite { volume, owner: (table, part), file, effort, progress } = write;
    let (summary, summarised) = oneshot::channel();
    let chunks = Chunks::new(Arc::clone(schema), batches, beside, summary);
    let mut chunks = stream::try_unfold(chunks, Chunks::next).boxed();
    let Some(first) = chunks.next().await else { return Ok(None) };
    let chunks = stream::once(std::future::ready(first)).chain(chunks).boxed();
    let mut upload = Upload::new(volume, table, part, file, progress);
    encode_stream(schema, chunks, &mut upload, effort).await?;
    let ended = |_| Error::internal("the rows were encoded but not to their end");
    let summary = summarised.await.map_err(ended)?;
    Ok(Some((upload.finish().await?, summary)))
}

/// What takes the rows of a part besides its columns.
#[derive(Default)]
pub struct Beside {
    pub skip: Option<SkipBuilder>,
    /// Empty after the last rows.
    pub feeds: Vec<Feed>,
}

impl Beside {
    fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        if let Some(skip) = &mut self.skip {
            skip.push(rows)?;
        }
        self.feeds.iter_mut().try_for_each(|feed| feed.push(rows))
    }
}

/// What is learnt of rows while they pass.
pub struct Summary {
    pub index: IndexBuilder,
    pub key_range: KeyRangeBuilder,
    pub beside: Beside,
}

/// Cuts batches into whole granules.
struct Chunks {
    schema: Arc<PartSchema>,
    batches: BoxStream<'static, Result<RecordBatch>>,
    /// Rows of a chunk: whole granules.
    chunk_rows: usize,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    ended: bool,
    summary: Summary,
    /// Gets the summary after the last rows.
    done: oneshot::Sender<Summary>,
}

impl Chunks {
    fn new(
        schema: Arc<PartSchema>,
        batches: BoxStream<'static, Result<RecordBatch>>,
        beside: Beside,
        done: oneshot::Sender<Summary>,
    ) -> Chunks {
        let granularity = schema.granularity.max(1);
        let index = IndexBuilder::new(&schema);
        Chunks {
            chunk_rows: CHUNK_ROWS.next_multiple_of(granularity),
            schema,
            batches,
            waiting: Vec::new(),
            waiting_rows: 0,
            ended: false,
            summary: Summary { index, key_range: KeyRangeBuilder::default(), beside },
            done,
        }
    }

    async fn next(mut self) -> Result<Option<(RecordBatch, Chunks)>> {
        while !self.ended && self.waiting_rows < self.chunk_rows {
            match self.batches.next().await.transpose()? {
                Some(batch) => {
                    self.waiting_rows += batch.num_rows();
                    self.waiting.push(batch);
                }
                None => self.ended = true,
            }
        }
        if self.waiting_rows == 0 {
            for feed in self.summary.beside.feeds.drain(..) {
                feed.finish().await?;
            }
            // Whoever wrote is gone when nobody receives it.
            let _ = self.done.send(self.summary);
            return Ok(None);
        }
        let chunk = self.cut()?;
        let (mut summary, schema) = (self.summary, Arc::clone(&self.schema));
        let (summary, chunk) = compute(move || {
            summary.index.push(&schema, &chunk)?;
            summary.key_range.push(&schema, &chunk)?;
            summary.beside.push(&chunk)?;
            Ok::<_, Error>((summary, chunk))
        })
        .await??;
        self.summary = summary;
        for feed in &mut self.summary.beside.feeds {
            feed.hand_on().await;
        }
        Ok(Some((chunk, self)))
    }

    /// Takes as many whole granules as there are, or what is left at the end.
    fn cut(&mut self) -> Result<RecordBatch> {
        let first = self.waiting.first().map(RecordBatch::schema);
        let schema = first.unwrap_or_else(|| self.schema.arrow_schema());
        let all = match self.waiting.as_slice() {
            [one] => one.clone(),
            several => concat_batches(&schema, several)
                .map_err(|error| Error::internal(format!("cannot join rows: {error}")))?,
        };
        let rows = match self.ended {
            true => all.num_rows(),
            false => all.num_rows() / self.chunk_rows * self.chunk_rows,
        };
        self.waiting.clear();
        self.waiting_rows = all.num_rows() - rows;
        if self.waiting_rows > 0 {
            self.waiting.push(all.slice(rows, self.waiting_rows));
        }
        Ok(all.slice(0, rows))
    }
}
