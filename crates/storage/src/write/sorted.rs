//! A part out of sorted rows that come in batches.
//!
//! ```text
//! columns ─► whole granules ─┬─► index, key range, skip indexes, projections
//!                            └─► encode ─► upload in pieces
//! ```
//!
//! Columns come all at once, or in groups, one after the other.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::try_join_all;
use futures::stream::{self, BoxStream, StreamExt};
use granary_catalog::{KeyRange, NewPart, PartLocation, PartitionValue};
use granary_common::{Error, PartId, Result, TableId};

use super::part::{KeyRangeBuilder, Written, describe};
use super::projected::{self, Feed};
use super::upload::Upload;
use crate::part::DATA_FILE;
use crate::part::descriptor::FileEntry;
use crate::part::format::{ColumnGroup, Effort, compute, encode_groups};
use crate::part::index::{IndexBuilder, PartIndex};
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

/// Some columns of sorted rows.
pub struct SortedColumns {
    /// Describes the columns; the first group has the sort key.
    pub schema: Arc<PartSchema>,
    /// In the order of `schema.columns`, floats canonical; every group has the same rows.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

/// Writes sorted rows, whose columns come in `groups`, as one part without holding all of its rows;
/// every file and folder is synced before it returns. A group is first asked for rows when the one
/// before it has no more. Projections are made of the columns of the first. No rows make no part and no
/// file. A part of a write that fails or is dropped is left to the sweep. Kinds as for
/// [`super::write_block`], and those of the batches.
pub async fn write_sorted(
    volume: &Volume,
    schema: &Arc<PartSchema>,
    spec: NewPartSpec,
    groups: Vec<SortedColumns>,
) -> Result<Option<NewPart>> {
    let NewPartSpec { id, partition, location, effort, bytes_written, ttl, skip, projections } =
        spec;
    let first = groups.first().map_or(schema, |first| &first.schema);
    let projecting = projected::begin(projections.as_ref(), first)?;
    let (feeds, projected): (Vec<Feed>, Vec<_>) = projecting.into_iter().map(Feed::new).unzip();
    let owner = (schema.table, id);
    let progress = || Arc::clone(&bytes_written);
    let projected = projected.into_iter().map(|one| one.write(volume, owner, effort, progress()));
    let write = DataWrite { volume, owner, file: DATA_FILE, effort, progress: progress() };
    let data = write_groups(write, schema, observed(groups, skip, feeds)?);
    let (data, projections) = futures::try_join!(data, try_join_all(projected))?;
    let Some((data, summaries)) = data else { return Ok(None) };
    let Told { index, key_range, skip } = told(summaries, schema)?;
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

/// Each skip index takes the rows of the first group that has all of its columns, `feeds` those of the
/// first. Kind `Internal` for an index that no group has the columns of.
fn observed(
    groups: Vec<SortedColumns>,
    mut skip: Option<SkipIndexes>,
    feeds: Vec<Feed>,
) -> Result<Vec<Observed>> {
    let mut feeds = Some(feeds);
    let observe = |SortedColumns { schema, batches }| {
        let own = skip.as_mut().map(|skip| skip.take_over(&schema.columns));
        let skip = own.map(|own| SkipBuilder::new(&own, &schema)).transpose()?;
        let beside = Beside { skip, feeds: feeds.take().unwrap_or_default() };
        Ok(Observed { schema, batches, beside })
    };
    let observed = groups.into_iter().map(observe).collect::<Result<Vec<_>>>()?;
    match skip.is_none_or(|skip| skip.indexes.is_empty()) {
        true => Ok(observed),
        false => Err(Error::internal("columns of a skip index are written apart")),
    }
}

/// What all groups told of the rows.
struct Told {
    index: PartIndex,
    key_range: Option<KeyRange>,
    skip: Vec<(String, Bytes)>,
}

fn told(summaries: Vec<Summary>, schema: &PartSchema) -> Result<Told> {
    let mut summaries = summaries.into_iter();
    let first = summaries.next().ok_or_else(|| Error::internal("a part without columns"))?;
    let (index, key_range) = (first.index.finish(), first.key_range.finish());
    let mut skip = first.beside.finish()?;
    let mut others = Vec::with_capacity(summaries.len());
    for summary in summaries {
        others.push(summary.index.finish());
        skip.extend(summary.beside.finish()?);
    }
    Ok(Told { index: index.beside(others, schema)?, key_range, skip })
}

/// Where and how a file with columns is written.
pub struct DataWrite<'a> {
    pub volume: &'a Volume,
    pub owner: (TableId, PartId),
    pub file: &'a str,
    pub effort: Effort,
    pub progress: Arc<AtomicU64>,
}

/// Columns that are written, and what else takes their rows.
struct Observed {
    schema: Arc<PartSchema>,
    batches: BoxStream<'static, Result<RecordBatch>>,
    beside: Beside,
}

/// Writes `batches` as one file with columns, and tells what it learnt of them; no file without
/// rows.
pub async fn write_data(
    write: DataWrite<'_>,
    schema: &Arc<PartSchema>,
    batches: BoxStream<'static, Result<RecordBatch>>,
) -> Result<Option<(FileEntry, Summary)>> {
    let (schema, beside) = (Arc::clone(schema), Beside::default());
    let all = Observed { schema: Arc::clone(&schema), batches, beside };
    let written = write_groups(write, &schema, vec![all]).await?;
    Ok(written.and_then(|(data, mut summaries)| Some((data, summaries.pop()?))))
}

async fn write_groups(
    write: DataWrite<'_>,
    schema: &PartSchema,
    groups: Vec<Observed>,
) -> Result<Option<(FileEntry, Vec<Summary>)>> {
    let DataWrite { volume, owner: (table, part), file, effort, progress } = write;
    let (mut columns, mut summarised) = (Vec::new(), Vec::new());
    for Observed { schema, batches, beside } in groups {
        let (summary, of_group) = oneshot::channel();
        let chunks = Chunks::new(Arc::clone(&schema), batches, beside, summary);
        let batches = stream::try_unfold(chunks, Chunks::next).boxed();
        columns.push(ColumnGroup { schema, batches });
        summarised.push(of_group);
    }
    let Some(first) = columns.first_mut() else { return Ok(None) };
    let Some(chunk) = first.batches.next().await else { return Ok(None) };
    let rest = std::mem::replace(&mut first.batches, stream::empty().boxed());
    first.batches = stream::once(std::future::ready(chunk)).chain(rest).boxed();
    let mut upload = Upload::new(volume, table, part, file, progress);
    encode_groups(schema, columns, &mut upload, effort).await?;
    let mut summaries = Vec::with_capacity(summarised.len());
    for of_group in summarised {
        let ended = |_| Error::internal("the rows were encoded but not to their end");
        summaries.push(of_group.await.map_err(ended)?);
    }
    Ok(Some((upload.finish().await?, summaries)))
}

/// What takes the rows of a part besides its columns.
#[derive(Default)]
struct Beside {
    skip: Option<SkipBuilder>,
    /// Empty after the last rows.
    feeds: Vec<Feed>,
}

impl Beside {
    fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        if let Some(skip) = &mut self.skip {
            skip.push(rows)?;
        }
        self.feeds.iter_mut().try_for_each(|feed| feed.push(rows))
    }

    /// The files of skip indexes, with their names.
    fn finish(self) -> Result<Vec<(String, Bytes)>> {
        Ok(self.skip.map(SkipBuilder::finish).transpose()?.unwrap_or_default())
    }
}

/// What is learnt of rows while they pass.
pub struct Summary {
    pub index: IndexBuilder,
    key_range: KeyRangeBuilder,
    beside: Beside,
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
