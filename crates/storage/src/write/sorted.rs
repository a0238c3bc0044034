//! A part out of sorted rows that come in batches.
//!
//! ```text
//! batches ─► whole granules ─┬─► index, key range
//!                            └─► encode ─► upload in pieces
//! ```

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use futures::channel::oneshot;
use futures::stream::{self, BoxStream, StreamExt};
use granary_catalog::{NewPart, PartLocation, PartitionValue};
use granary_common::{Error, PartId, Result};

use super::part::{KeyRangeBuilder, Written, describe};
use super::upload::Upload;
use crate::part::DATA_FILE;
use crate::part::format::{Effort, compute, encode_stream};
use crate::part::index::IndexBuilder;
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
    let (summary, summarised) = oneshot::channel();
    let skip = spec.skip.as_ref().map(|skip| SkipBuilder::new(skip, schema)).transpose()?;
    let chunks = Chunks::new(Arc::clone(schema), batches, skip, summary);
    let mut chunks = stream::try_unfold(chunks, Chunks::next).boxed();
    let Some(first) = chunks.next().await else { return Ok(None) };
    let chunks = stream::once(std::future::ready(first)).chain(chunks).boxed();
    let NewPartSpec { id, partition, location, effort, bytes_written, ttl, skip: _ } = spec;
    let mut upload = Upload::new(volume, schema.table, id, DATA_FILE, bytes_written);
    encode_stream(schema, chunks, &mut upload, effort).await?;
    let ended = |_| Error::internal("the rows were encoded but not to their end");
    let Summary { index, key_range, skip } = summarised.await.map_err(ended)?;
    let (index, key_range) = (index.finish(), key_range.finish());
    let skip = skip.map(SkipBuilder::finish).transpose()?.unwrap_or_default();
    if index.rows > u64::from(u32::MAX) {
        return Err(Error::exhausted(format!(
            "a part would have {} rows, and a part has at most {}",
            index.rows,
            u32::MAX
        )));
    }
    let data = upload.finish().await?;
    let ttl = ttl.get().cloned().unwrap_or_default();
    let written = Written { id, partition, index, key_range, data, ttl, skip };
    describe(volume, location, schema, written).await.map(Some)
}

/// What is learnt of rows while they pass.
struct Summary {
    index: IndexBuilder,
    key_range: KeyRangeBuilder,
    skip: Option<SkipBuilder>,
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
        skip: Option<SkipBuilder>,
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
            summary: Summary { index, key_range: KeyRangeBuilder::default(), skip },
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
            // Whoever wrote is gone when nobody receives it.
            let _ = self.done.send(self.summary);
            return Ok(None);
        }
        let chunk = self.cut()?;
        let (mut summary, schema) = (self.summary, Arc::clone(&self.schema));
        let (summary, chunk) = compute(move || {
            summary.index.push(&schema, &chunk)?;
            summary.key_range.push(&schema, &chunk)?;
            if let Some(skip) = &mut summary.skip {
                skip.push(&chunk)?;
            }
            Ok::<_, Error>((summary, chunk))
        })
        .await??;
        self.summary = summary;
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
