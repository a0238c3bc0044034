//! Reading with FINAL: rows with equal sort keys become what the table's engine says.
//!
//! ```text
//! parts of one run, in insert order ─┬─► by ranges of keys: k-way merge ─► Collapser ─┐
//!                                    └─► their rows without hidden ones ──────────────┤
//! parts of the next run ..                                                            ├─► output
//! a merged part that overlaps no other ───────────────────────────────────────────────┘
//! ```
//!
//! A run is a set of parts of one bucket whose keys may meet; runs share no key. Rows of a run that
//! are not shown as they are are found once, from the keys alone, and remembered by the store. Where
//! the engine only chooses among rows, there is nothing else to do; where it makes rows of several,
//! only these are merged, and what they become is remembered as well. Whole runs are merged when parts are on other nodes, when filters on keys
//! leave little to merge, and where keys that several rows have are no exception.
//!
//! A large run is read in pieces by several threads: ranges of its keys where rows are merged, else
//! any ranges of rows.

mod folded;
mod hidden;
mod pieces;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use granary_common::{BucketIndex, ColumnId};
use granary_storage::merge::{CollapseMode, CollapseRule, Collapser};
use granary_storage::sort_order::SORT_OPTIONS;

use self::pieces::{Piece, Slice, concurrently};
pub use self::shared::SharedPieces;
use super::layout::{Layout, ScanSpec, Unit};
use super::read::PartAccess;
use super::stream::{self as scans, Batches, Reader, ScanMetrics, UnitQueue};
use crate::error::to_datafusion;
use crate::functions::States;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;

/// Whether a part that a merge wrote, and that shares no key with another, is as FINAL gives it.
fn merges_settle(rule: &CollapseRule) -> bool {
    match rule {
        CollapseRule::None
        | CollapseRule::Replacing { is_deleted: None, .. }
        | CollapseRule::Summing { .. }
        | CollapseRule::Aggregating { .. }
        | CollapseRule::Coalescing { .. } => true,
        // Merges keep rows that other parts may need, which FINAL does not show.
        CollapseRule::Replacing { .. }
        | CollapseRule::Collapsing { .. }
        | CollapseRule::VersionedCollapsing { .. } => false,
    }
}

/// The columns that a collapse reads: those of the output, the sort key's and the rule's.
fn needed(spec: &ScanSpec, rule: &CollapseRule) -> Vec<ColumnId> {
    let mut columns = spec.columns.clone();
    for id in spec.schema.sort_key.iter().copied().chain(rule.required_columns()) {
        if !columns.contains(&id) {
            columns.push(id);
        }
    }
    columns
}

/// The units of each run, in the order of the scan's parts, which is that of insertion.
fn runs(spec: &ScanSpec, mut units: Vec<Unit>) -> Vec<Vec<Unit>> {
    units.sort_by_key(|unit| unit.part);
    let mut runs: BTreeMap<(BucketIndex, u32), Vec<Unit>> = BTreeMap::new();
    for unit in units {
        let part = &spec.parts[unit.part];
        runs.entry((part.bucket, part.run)).or_default().push(unit);
    }
    runs.into_values().collect()
}

/// Reads runs and collapses them.
struct Collapsing {
    spec: Arc<ScanSpec>,
    rule: CollapseRule,
    columns: Vec<ColumnId>,
    schema: SchemaRef,
    /// Reads in the order of the sort key what a collapse needs.
    reader: Arc<Reader>,
    /// Reads the output's columns.
    plain: Arc<Reader>,
    access: Arc<PartAccess>,
    states: States,
    metrics: ScanMetrics,
    context: Arc<TaskContext>,
    /// That read this partition.
    threads: usize,
}

/// The collapsed rows of one partition: of the units of its queue, or what it gets hold of where all
/// partitions share them.
pub fn collapsed(
    spec: &Arc<ScanSpec>,
    rule: &CollapseRule,
    residual: &[Arc<dyn PhysicalExpr>],
    (queue, shared): (UnitQueue, SharedPieces),
    metrics: ScanMetrics,
    context: Arc<TaskContext>,
    output: SchemaRef,
) -> Result<Batches, DataFusionError> {
    let collapsing = Collapsing::new(Arc::clone(spec), rule, residual, metrics, &context)?;
    let collapsing = Arc::new(collapsing);
    let schema = Arc::clone(&output);
    let reading = Arc::clone(&collapsing);
    let read = move |piece| Arc::clone(&reading).read(piece, Arc::clone(&output));
    let batches = match &spec.layout {
        Layout::Spread { .. } => {
            let state = (collapsing, queue, shared);
            let pieces = stream::unfold(state, |(collapsing, queue, shared)| async {
                let piece = shared.next(&collapsing, &queue).await?;
                Some((piece, (collapsing, queue, shared)))
            });
            let pieces = pieces.boxed();
            concurrently(pieces, read, 1, schema)
        }
        Layout::Bucketed { .. } => {
            let units: Vec<Unit> = queue.lock().iter().cloned().collect();
            let threads = collapsing.threads_for(&units);
            concurrently(collapsing.pieces_of(&queue), read, threads, schema)
        }
    };
    Ok(scans::limited(batches, spec.fetch))
}

impl Collapsing {
    fn new(
        spec: Arc<ScanSpec>,
        rule: &CollapseRule,
        residual: &[Arc<dyn PhysicalExpr>],
        metrics: ScanMetrics,
        context: &Arc<TaskContext>,
    ) -> Result<Collapsing, DataFusionError> {
        let columns = needed(&spec, rule);
        let schema = spec.schema.project(&columns).map_err(to_datafusion)?;
        // Each part is read whole and in order; a limit counts what is left of all.
        let inner = ScanSpec {
            columns: columns.clone(),
            fetch: None,
            ordered_by: spec.schema.sort_key.len().max(1),
            ..(*spec).clone()
        };
        let access = PartAccess::of(context).map_err(to_datafusion)?;
        let batch_rows = context.session_config().batch_size();
        let reader = |spec, schema: &SchemaRef| {
            let access = Arc::clone(&access);
            Reader::new(Arc::new(spec), residual, access, batch_rows, Arc::clone(schema))
        };
        // A limit counts what is left of all parts here, too.
        let plain = ScanSpec { fetch: None, ordered_by: 0, ..(*spec).clone() };
        let output = spec.schema.project(&spec.columns).map_err(to_datafusion)?;
        Ok(Collapsing {
            rule: rule.clone(),
            reader: Arc::new(reader(inner, &schema)?),
            plain: Arc::new(reader(plain, &output)?),
            columns,
            schema,
            access,
            states: States::of(context),
            metrics,
            context: Arc::clone(context),
            threads: spec.key_ranges.threads_of_partition(&spec.layout),
            spec,
        })
    }

    /// What is to be read of the units of `queue`.
    fn pieces_of(
        self: Arc<Self>,
        queue: &UnitQueue,
    ) -> BoxStream<'static, Result<Piece, DataFusionError>> {
        let units = queue.lock().drain(..).collect();
        let runs = runs(&self.spec, units);
        let pieces = stream::iter(runs).then(move |run| Arc::clone(&self).pieces(run));
        let pieces = pieces.map_ok(|pieces| stream::iter(pieces).map(Ok::<_, DataFusionError>));
        pieces.try_flatten().boxed()
    }

    /// The rows of a piece, in the columns of the output.
    fn read(self: Arc<Self>, piece: Piece, output: SchemaRef) -> Batches {
        match piece {
            Piece::Run(units) => {
                let pieces = async move {
                    let pieces = self.cut(units, 1).await?;
                    let read = move |piece| Arc::clone(&self).read(piece, Arc::clone(&output));
                    Ok::<_, DataFusionError>(stream::iter(pieces).map(read).flatten())
                };
                stream::once(pieces).try_flatten().boxed()
            }
            Piece::Merged(slices) => match self.run(slices) {
                Ok(batches) => {
                    let cut = move |batch: Result<RecordBatch, _>| self.cut_to(&output, batch?);
                    batches.map(cut).boxed()
                }
                Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
            },
            Piece::Shown(Slice { unit, without }) => {
                scans::of_unit(Arc::clone(&self.plain), unit, without, self.metrics.clone())
            }
            Piece::Folded(rows) => {
                let batch_rows = self.context.session_config().batch_size().max(1);
                let batches = (0..rows.num_rows()).step_by(batch_rows).map(move |start| {
                    let batch = rows.slice(start, batch_rows.min(rows.num_rows() - start));
                    self.cut_to(&output, self.reader.finish(batch, &self.metrics)?)
                });
                stream::iter(batches).boxed()
            }
        }
    }

    /// The output's columns of what a collapse gives.
    fn cut_to(
        &self,
        output: &SchemaRef,
        batch: RecordBatch,
    ) -> Result<RecordBatch, DataFusionError> {
        let kept: Vec<usize> = (0..self.spec.columns.len()).collect();
        Ok(batch.project(&kept)?.with_schema(Arc::clone(output))?)
    }

    /// Whether rows of these parts are as FINAL gives them.
    fn is_settled(&self, mut parts: impl Iterator<Item = usize>) -> bool {
        match (parts.next(), parts.next()) {
            (Some(only), None) => self.spec.parts[only].merged && merges_settle(&self.rule),
            _ => false,
        }
    }

    fn run(&self, slices: Vec<Slice>) -> Result<Batches, DataFusionError> {
        let merged = self.merged(slices)?;
        let collapser = Collapser::new(
            Arc::clone(&self.schema),
            self.columns.clone(),
            self.spec.schema.sort_key.clone(),
            self.rule.clone(),
            Arc::clone(&self.states.0),
            CollapseMode::Final,
        );
        Ok(collapse(merged, collapser.map_err(to_datafusion)?))
    }

    /// The rows of `slices` in the order of the sort key, equal ones in the order of the slices.
    fn merged(&self, slices: Vec<Slice>) -> Result<Batches, DataFusionError> {
        let read = |Slice { unit, without }| {
            scans::of_unit(Arc::clone(&self.reader), unit, without, self.metrics.clone())
        };
        let mut streams: Vec<Batches> = slices.into_iter().map(read).collect();
        if streams.len() == 1 {
            return Ok(streams.remove(0));
        }
        let Some(ordering) = self.ordering() else {
            // Without a sort key all rows are equal.
            return Ok(stream::iter(streams).flatten().boxed());
        };
        let adapted = streams.into_iter().map(|batches| {
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)) as _
        });
        let adapted: Vec<SendableRecordBatchStream> = adapted.collect();
        let pool = self.context.memory_pool();
        let merged: BoxStream<'static, _> = StreamingMergeBuilder::new()
            .with_streams(adapted)
            .with_schema(Arc::clone(&self.schema))
            .with_expressions(&ordering)
            .with_metrics(self.metrics.merging())
            .with_batch_size(self.context.session_config().batch_size())
            .with_reservation(MemoryConsumer::new("PartScanExec final").register(pool))
            // Of equal keys the earlier stream comes first.
            .with_round_robin_tie_breaker(false)
            .build()?;
        Ok(merged)
    }

    /// The order of parts, whatever expressions over these columns may think of it.
    fn ordering(&self) -> Option<LexOrdering> {
        let key = self.spec.schema.sort_key.iter().filter_map(|id| {
            let place = self.columns.iter().position(|column| column == id)?;
            let column = Column::new(self.schema.field(place).name(), place);
            Some(PhysicalSortExpr::new(Arc::new(column), SORT_OPTIONS))
        });
        LexOrdering::new(key)
    }
}

/// Passes sorted batches through `collapser`.
fn collapse(batches: Batches, collapser: Collapser) -> Batches {
    let state = Some((batches, collapser));
    let collapsed = stream::try_unfold(state, async |state| {
        let Some((mut batches, mut collapser)) = state else { return Ok(None) };
        loop {
            match batches.try_next().await? {
                Some(batch) => {
                    if let Some(done) = collapser.push(batch).map_err(to_datafusion)? {
                        return Ok(Some((done, Some((batches, collapser)))));
                    }
                }
                None => {
                    let last = collapser.finish().map_err(to_datafusion)?;
                    return Ok::<_, DataFusionError>(last.map(|last: RecordBatch| (last, None)));
                }
            }
        }
    });
    collapsed.boxed()
}
