//! A whole merge.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use futures::channel::oneshot;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{NewPart, PartLocation, PartitionValue};
use granary_common::{ColumnId, Error, Result};

use super::collapse::{CollapseMode, Collapser, Sourced};
use super::deduplicate::Deduplicator;
use super::input::open_sorted;
use super::k_way::{KWayMerge, MergedBatch};
use super::positions::Positions;
use super::progress::MergeProgress;
use super::row_map::{RowMap, RowMapBuilder};
use super::rule::CollapseRule;
use super::states::StateMerger;
use crate::part::format::Effort;
use crate::projection::Projections;
use crate::read::{PartRef, PartStore};
use crate::schema::PartSchema;
use crate::skip::SkipIndexes;
use crate::ttl::{MergeTtl, TtlMark, TtlStage};
use crate::volume::Volume;
use crate::write::sorted::{NewPartSpec, write_sorted};
use crate::write::{Begun, PartIds};

/// What to merge into one part.
#[derive(Clone, Debug)]
pub struct MergeSpec {
    /// Of the merged part; the inputs may be of older versions of it.
    pub schema: Arc<PartSchema>,
    pub rule: CollapseRule,
    pub mode: CollapseMode,
    /// In insert order, of one partition; their deleted rows are left out.
    pub inputs: Vec<PartRef>,
    pub location: PartLocation,
    pub partition: PartitionValue,
    /// Of rows that are equal in these columns the first stays. The sort key is always among them.
    pub deduplicate_by: Option<Vec<ColumnId>>,
    /// The rules of the table's TTL.
    pub ttl: Option<MergeTtl>,
    /// How densely the rows are encoded.
    pub effort: Effort,
    /// The indexes that the part gets.
    pub skip: Option<SkipIndexes>,
    /// The projections that it gets, made of its rows.
    pub projections: Option<Projections>,
}

/// What a merge made.
#[derive(Debug)]
pub struct Merged {
    /// `None` when no row is left.
    pub part: Option<NewPart>,
    pub rows: RowMap,
}

/// Merges parts of one partition into one part on `volume`: rows sorted, of equal keys in insert
/// order, collapsed by the rule; every file and folder synced before it returns. Nothing refers to
/// the part until it is committed.
///
/// Must run on a tokio runtime. Memory is bounded by the inputs times a few batches. Dropping the
/// future stops it; what it wrote is left to the sweep, and what a merge wrote that fails is deleted as
/// far as that can be done. Kinds: those of [`PartStore::open`] and
/// [`crate::write_block`], and `InvalidInput` for rows that the rule does not admit.
pub async fn merge_parts(
    store: &PartStore,
    volume: &Volume,
    ids: &dyn PartIds,
    spec: MergeSpec,
    states: Arc<dyn StateMerger>,
    progress: Arc<MergeProgress>,
) -> Result<Merged> {
    volume.check_room(spec.inputs.iter().map(|part| part.bytes).sum())?;
    let schema = Arc::clone(&spec.schema);
    let columns: Vec<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
    let mut inputs = Vec::with_capacity(spec.inputs.len());
    let mut positions = Vec::with_capacity(spec.inputs.len());
    let mut map = RowMapBuilder::new(spec.inputs.len());
    let mut rows_total = 0;
    for (input, part) in spec.inputs.iter().enumerate() {
        let (batches, of) = open_sorted(store, &spec.schema, part, &columns, None).await?;
        of.deleted().for_each(|rows| map.deleted(input, rows));
        rows_total += of.rows();
        positions.push(of);
        let row_bytes = part.bytes as f64 / part.rows.max(1) as f64;
        inputs.push(metered(batches, row_bytes, Arc::clone(&progress)));
    }
    progress.rows_total.store(rows_total, Ordering::Relaxed);
    let place = |id: &ColumnId| schema.position(*id);
    let key = schema.sort_key.iter().map(place).collect::<Result<Vec<_>>>()?;
    let deduplicate = match &spec.deduplicate_by {
        None => None,
        Some(by) => {
            let columns = by.iter().map(place).collect::<Result<Vec<_>>>()?;
            Some(Deduplicator::new(columns, key.clone()))
        }
    };
    let is_dense = spec.effort == Effort::Dense;
    let ttl = spec.ttl.as_ref().map(|ttl| TtlStage::new(ttl, &schema, is_dense)).transpose()?;
    let marks = Arc::new(OnceLock::new());
    let (arrow, sort_key) = (schema.arrow_schema(), schema.sort_key.clone());
    let collapser = Collapser::new(arrow, columns, sort_key, spec.rule, states, spec.mode)?;
    let (done, mapped) = oneshot::channel();
    let pipeline = Pipeline {
        merge: KWayMerge::new(inputs, key),
        positions,
        collapser: Some(collapser),
        ttl,
        marks: Arc::clone(&marks),
        deduplicate,
        map,
        progress: Arc::clone(&progress),
        done,
    };
    let new_part = NewPartSpec {
        id: ids.next().await?,
        partition: spec.partition,
        location: spec.location,
        effort: spec.effort,
        bytes_written: Arc::clone(&progress.bytes_written),
        ttl: marks,
        skip: spec.skip,
        projections: spec.projections,
    };
    let batches = stream::try_unfold(pipeline, Pipeline::next).boxed();
    let part = written_or_deleted(volume, &schema, new_part, batches).await?;
    let ended = |_| Error::internal("the merge wrote a part but did not come to its end");
    Ok(Merged { part, rows: mapped.await.map_err(ended)?.finish()? })
}

async fn written_or_deleted(
    volume: &Volume,
    schema: &Arc<PartSchema>,
    new_part: NewPartSpec,
    batches: BoxStream<'static, Result<RecordBatch>>,
) -> Result<Option<NewPart>> {
    let begun = Begun::default();
    begun.note(new_part.id);
    let written = write_sorted(volume, schema, new_part, batches).await;
    if written.is_err() {
        begun.delete(volume, schema.table).await;
    }
    written
}

/// Counts what is read, and waits where the merge is to be slower.
fn metered(
    batches: BoxStream<'static, Result<RecordBatch>>,
    row_bytes: f64,
    progress: Arc<MergeProgress>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let metered = batches.and_then(move |batch| {
        let progress = Arc::clone(&progress);
        async move {
            let rows = batch.num_rows();
            progress.read(rows as u64, (rows as f64 * row_bytes) as u64).await;
            Ok(batch)
        }
    });
    metered.boxed()
}

/// Everything between the scans and the writer.
struct Pipeline {
    merge: KWayMerge,
    positions: Vec<Positions>,
    /// `None` after the last rows.
    collapser: Option<Collapser>,
    ttl: Option<TtlStage>,
    /// Gets the marks after the last rows.
    marks: Arc<OnceLock<Vec<TtlMark>>>,
    deduplicate: Option<Deduplicator>,
    map: RowMapBuilder,
    progress: Arc<MergeProgress>,
    /// Gets the map after the last rows.
    done: oneshot::Sender<RowMapBuilder>,
}

impl Pipeline {
    async fn next(mut self) -> Result<Option<(RecordBatch, Pipeline)>> {
        while let Some(mut collapser) = self.collapser.take() {
            // Other tasks of the thread run between batches.
            tokio::task::yield_now().await;
            let rows = match self.merge.next().await? {
                Some(merged) => {
                    let batch = sourced(merged, &mut self.positions);
                    let rows = collapser.advance(batch, Some(&mut self.map))?;
                    self.collapser = Some(collapser);
                    rows
                }
                None => collapser.complete(Some(&mut self.map))?,
            };
            let Some(rows) = self.aged(rows)? else { continue };
            let rows = match &mut self.deduplicate {
                Some(deduplicate) => deduplicate.pass(rows, &mut self.map)?,
                None => rows,
            };
            rows.sources.iter().for_each(|source| self.map.kept(*source));
            let written = rows.rows.num_rows();
            self.progress.rows_written.fetch_add(written as u64, Ordering::Relaxed);
            if written > 0 {
                if let Some(ttl) = &mut self.ttl {
                    ttl.observe(&rows.rows)?;
                }
                return Ok(Some((rows.rows, self)));
            }
        }
        // Set once, since the stream ends once.
        let _ = self.marks.set(self.ttl.iter().flat_map(TtlStage::marks).collect());
        // The merge is gone when nobody receives it.
        let _ = self.done.send(self.map);
        Ok(None)
    }

    /// Rows after the rules of the TTL; after the last batch also those that were kept back.
    fn aged(&mut self, rows: Option<Sourced>) -> Result<Option<Sourced>> {
        let Some(ttl) = &mut self.ttl else { return Ok(rows) };
        let rows = rows.map(|rows| ttl.pass(rows, &mut self.map)).transpose()?;
        if self.collapser.is_some() {
            return Ok(rows);
        }
        match (rows, ttl.finish(&mut self.map)?) {
            (Some(rows), Some(last)) => rows.followed_by(last).map(Some),
            (rows, last) => Ok(rows.or(last)),
        }
    }
}

/// The rows with the positions that they have in their parts.
fn sourced(merged: MergedBatch, positions: &mut [Positions]) -> Sourced {
    let mut sources = Vec::with_capacity(merged.rows.num_rows());
    for run in merged.runs {
        positions[run.input].extend(run.input as u32, run.rows, &mut sources);
    }
    Sourced { rows: merged.rows, sources }
}
