//! A whole merge.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use futures::channel::oneshot;
use futures::stream::{self, StreamExt};
use granary_catalog::{NewPart, PartLocation, PartitionValue};
use granary_common::{ColumnId, Error, Result};

use super::collapse::{CollapseMode, Collapser, Sourced};
use super::columns::groups;
use super::deduplicate::Deduplicator;
use super::input::Inputs;
use super::k_way::{KWayMerge, MergedBatch};
use super::positions::Positions;
use super::progress::MergeProgress;
use super::row_map::{RowMap, RowMapBuilder};
use super::row_order::{RowOrder, RowOrderBuilder};
use super::rule::CollapseRule;
use super::states::StateMerger;
use super::traced::{SOURCE_COLUMN, Tracing, traced, traced_schema};
use crate::documents::Chosen;
use crate::part::format::Effort;
use crate::projection::Projections;
use crate::read::{PartRef, PartStore};
use crate::schema::PartSchema;
use crate::skip::SkipIndexes;
use crate::ttl::{MergeTtl, TtlMark, TtlStage};
use crate::volume::Volume;
use crate::write::sorted::{NewPartSpec, SortedColumns, write_sorted};
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
    /// Bytes of memory that the merge is to get along with, about. Where columns need more together,
    /// they are merged in groups: the columns that decide on the rows, with all that is computed, then
    /// the others. The first group and a single column take what they need.
    pub memory_bytes: u64,
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
/// Must run on a tokio runtime. Memory is bounded by the inputs times a few batches of the columns that
/// go together, see [`MergeSpec::memory_bytes`]. Dropping the future stops it; what it wrote is left to
/// the sweep, and what a merge wrote that fails is deleted as far as that can be done. Kinds: those of
/// [`PartStore::open`] and [`crate::write_block`], and `InvalidInput` for rows that the rule does not
/// admit.
pub async fn merge_parts(
    store: &PartStore,
    volume: &Volume,
    ids: &dyn PartIds,
    spec: MergeSpec,
    states: Arc<dyn StateMerger>,
    progress: Arc<MergeProgress>,
) -> Result<Merged> {
    volume.check_room(spec.inputs.iter().map(|part| part.bytes).sum())?;
    let inputs = Arc::new(Inputs::open(store, &spec, &progress).await?);
    let reader = store.documents();
    let documents = Chosen::of_parts(reader.as_ref(), &spec.schema, inputs.parts()).await?;
    let documents = documents.map(Arc::new);
    let mut groups = groups(&spec, inputs.parts(), documents.as_deref())?.into_iter();
    let first = groups.next().unwrap_or_default();
    let (marks, order, (done, mapped)) = (Arc::default(), Arc::default(), oneshot::channel());
    let ends = Ends {
        marks: Arc::clone(&marks),
        order: (groups.len() > 0).then(|| Arc::clone(&order)),
        done,
    };
    let (pipeline, rows_total) = Pipeline::of(&spec, &first, &inputs, states, &progress, ends)?;
    progress.rows_total.store(rows_total, Ordering::Relaxed);
    let batches = stream::try_unfold(pipeline, Pipeline::next).boxed();
    let mut columns = vec![SortedColumns { schema: Arc::new(spec.schema.only(&first)), batches }];
    columns.extend(groups.map(|group| inputs.gathered(group, &order)));
    let (schema, columns) = Chosen::beside(documents.as_ref(), &spec.schema, columns);
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
    let part = written_or_deleted(volume, &schema, new_part, columns).await?;
    // Rows that nobody asked for at the end of an input were not read for each group.
    progress.rows_read.store(rows_total, Ordering::Relaxed);
    let ended = |_| Error::internal("the merge wrote a part but did not come to its end");
    Ok(Merged { part, rows: mapped.await.map_err(ended)?.finish()? })
}

async fn written_or_deleted(
    volume: &Volume,
    schema: &Arc<PartSchema>,
    new_part: NewPartSpec,
    columns: Vec<SortedColumns>,
) -> Result<Option<NewPart>> {
    let begun = Begun::default();
    begun.note(new_part.id);
    let written = write_sorted(volume, schema, new_part, columns).await;
    if written.is_err() {
        begun.delete(volume, schema.table).await;
    }
    written
}

/// Everything between the scans and the writer of the columns that decide on the rows.
struct Pipeline {
    merge: KWayMerge,
    positions: Vec<Positions>,
    /// `None` after the last rows.
    collapser: Option<Collapser>,
    ttl: Option<TtlStage>,
    deduplicate: Option<Deduplicator>,
    map: RowMapBuilder,
    /// Where other columns follow.
    tracing: Option<Tracing>,
    progress: Arc<MergeProgress>,
    marks: Arc<OnceLock<Vec<TtlMark>>>,
    done: oneshot::Sender<RowMapBuilder>,
}

/// Who is told what after the last rows.
struct Ends {
    marks: Arc<OnceLock<Vec<TtlMark>>>,
    /// Where other columns follow.
    order: Option<Arc<OnceLock<Arc<RowOrder>>>>,
    done: oneshot::Sender<RowMapBuilder>,
}

impl Pipeline {
    /// The pipeline of `columns`, and the rows of the inputs that are not deleted.
    fn of(
        spec: &MergeSpec,
        columns: &BTreeSet<ColumnId>,
        inputs: &Inputs,
        states: Arc<dyn StateMerger>,
        progress: &Arc<MergeProgress>,
        ends: Ends,
    ) -> Result<(Pipeline, u64)> {
        let schema = spec.schema.only(columns);
        let positions = inputs.positions();
        let mut map = RowMapBuilder::new(positions.len());
        for (input, of) in positions.iter().enumerate() {
            of.deleted().for_each(|rows| map.deleted(input, rows));
        }
        let mut scans = inputs.scans(columns);
        let mut ids: Vec<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
        let mut fields = schema.arrow_schema();
        let tracing = ends.order.map(|order| {
            fields = traced_schema(&fields);
            ids.push(SOURCE_COLUMN);
            let all = std::mem::take(&mut scans).into_iter().enumerate();
            scans = all.map(|(input, scan)| traced(scan, input, Arc::clone(&fields))).collect();
            Tracing { builder: RowOrderBuilder::new(positions.len()), order }
        });
        let places = |ids: &[ColumnId]| {
            ids.iter().map(|id| schema.position(*id)).collect::<Result<Vec<_>>>()
        };
        let key = places(&schema.sort_key)?;
        let by = spec.deduplicate_by.as_deref().map(places).transpose()?;
        let ttl = spec.ttl.as_ref().map(|ttl| TtlStage::new(ttl, &schema)).transpose()?;
        let (sort_key, rule) = (schema.sort_key.clone(), spec.rule.clone());
        let collapser = Collapser::new(fields, ids, sort_key, rule, states, spec.mode)?;
        let rows_total = positions.iter().map(Positions::rows).sum();
        let pipeline = Pipeline {
            merge: KWayMerge::new(scans, key.clone()),
            positions,
            collapser: Some(collapser),
            ttl,
            deduplicate: by.map(|by| Deduplicator::new(by, key)),
            map,
            tracing,
            progress: Arc::clone(progress),
            marks: ends.marks,
            done: ends.done,
        };
        Ok((pipeline, rows_total))
    }

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
            let rows = match &mut self.tracing {
                Some(tracing) => tracing.without(rows.rows)?,
                None => rows.rows,
            };
            let written = rows.num_rows();
            self.progress.rows_written.fetch_add(written as u64, Ordering::Relaxed);
            if written > 0 {
                if let Some(ttl) = &mut self.ttl {
                    ttl.observe(&rows)?;
                }
                return Ok(Some((rows, self)));
            }
        }
        self.tracing.take().into_iter().for_each(Tracing::finish);
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
