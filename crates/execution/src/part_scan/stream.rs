//! The batches of one output partition of a scan.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use datafusion::arrow::array::{Array, AsArray, BooleanArray};
use datafusion::arrow::compute::{filter_record_batch, prep_null_mask_filter};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use granary_common::ColumnId;
use granary_storage::{Deletions, PartScan, SkipHint};
use parking_lot::Mutex;

use super::layout::{ScanSpec, Unit};
use super::predicate::{all_of, to_weaker_filter};
use super::read::{PartAccess, SkippedByIndex, read, read_without};
use crate::error::to_datafusion;
use crate::runtime_filter::KeyFilterExpr;

/// Batches as the engine takes them.
pub type Batches = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

/// Work units that partitions take from.
pub type UnitQueue = Arc<Mutex<VecDeque<Unit>>>;

/// Counters of a scan, one set for each partition.
#[derive(Clone, Debug)]
pub struct ScanMetrics {
    pub baseline: BaselineMetrics,
    units_local: Count,
    units_remote: Count,
    /// Bytes in memory of the rows that came from other nodes.
    remote_bytes: Count,
    granules_total: Count,
    granules_selected: Count,
    rows_dropped: Count,
    indexes: Vec<IndexCounters>,
}

/// Granules before and after a skip index.
#[derive(Clone, Debug)]
struct IndexCounters {
    /// What the index is asked, by the places of the scan's hints.
    hints: Range<usize>,
    total: Count,
    left: Count,
}

impl IndexCounters {
    fn add(&self, found: &[SkippedByIndex]) {
        let found = found.get(self.hints.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            return;
        };
        self.total.add(first.granules_total as usize);
        self.left.add(last.granules_left as usize);
    }
}

/// The places of hints that follow each other and ask the same index.
pub fn by_index(hints: &[SkipHint]) -> impl Iterator<Item = (&str, Range<usize>)> {
    let runs = hints.chunk_by(|one, next| one.name == next.name);
    runs.scan(0, |begin, run| {
        let places = *begin..*begin + run.len();
        *begin = places.end;
        Some((run.first()?.name.as_str(), places))
    })
}

impl ScanMetrics {
    /// The counters of `partition` of a scan with these hints.
    pub fn new(set: &ExecutionPlanMetricsSet, partition: usize, hints: &[SkipHint]) -> Self {
        let count = |name: &'static str| MetricBuilder::new(set).counter(name, partition);
        let of_index = |(name, hints): (&str, Range<usize>)| {
            let count = |what: &str| {
                let name = format!("index_{name}_granules_{what}");
                MetricBuilder::new(set).counter(name, partition)
            };
            IndexCounters { hints, total: count("total"), left: count("left") }
        };
        Self {
            baseline: BaselineMetrics::new(set, partition),
            units_local: count("units_local"),
            units_remote: count("units_remote"),
            remote_bytes: count("remote_bytes"),
            granules_total: count("granules_total"),
            granules_selected: count("granules_selected"),
            rows_dropped: count("rows_dropped_by_runtime_filters"),
            indexes: by_index(hints).map(of_index).collect(),
        }
    }

    /// Counters for an inner step, whose rows are no output.
    pub fn merging(&self) -> BaselineMetrics {
        BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0)
    }
}

/// How one scan reads its units. Shared by its partitions.
pub struct Reader {
    spec: Arc<ScanSpec>,
    access: Arc<PartAccess>,
    batch_rows: usize,
    /// The columns that are read: the output's, then those that only `residual` needs.
    columns: Vec<ColumnId>,
    /// With columns as positions in the table's schema.
    residual: Vec<Arc<dyn PhysicalExpr>>,
    /// The same with columns as positions in what is read.
    residual_on_batch: Vec<BatchFilter>,
    output_schema: SchemaRef,
}

impl Reader {
    /// A reader of `spec` whose rows must also pass every one of `residual`.
    pub fn new(
        spec: Arc<ScanSpec>,
        residual: &[Arc<dyn PhysicalExpr>],
        access: Arc<PartAccess>,
        batch_rows: usize,
        output_schema: SchemaRef,
    ) -> Result<Self, DataFusionError> {
        let mut columns = spec.columns.clone();
        let mut needed: Vec<usize> =
            residual.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        needed.sort_unstable();
        for position in needed {
            let id = spec.schema.columns[position].id;
            if !columns.contains(&id) {
                columns.push(id);
            }
        }
        let on_batch = residual.iter().map(|term| BatchFilter::new(term, &spec, &columns));
        let residual_on_batch = on_batch.collect::<Result<_, _>>()?;
        let residual = residual.to_vec();
        Ok(Self { spec, access, batch_rows, columns, residual, residual_on_batch, output_schema })
    }

    /// The rows of `unit`. What runtime filters know by now narrows what is read.
    fn unit(
        self: Arc<Self>,
        unit: Unit,
        hidden: Option<Arc<Deletions>>,
        metrics: ScanMetrics,
    ) -> Batches {
        let open = async move {
            let runtime = self.residual.iter();
            let runtime = runtime.filter_map(|term| to_weaker_filter(&self.spec.schema, term));
            let filter = all_of(self.spec.filter.iter().cloned().chain(runtime).collect());
            let part = &self.spec.parts[unit.part];
            let rows = Vec::from([unit.rows.clone()]);
            let whole = unit.rows == (0..part.part.rows);
            let scan = PartScan {
                columns: self.columns.clone(),
                filter,
                ordered: self.spec.ordered_by > 0,
                rows: (!whole).then_some(rows),
                batch_rows: self.batch_rows,
                limit: match self.residual.is_empty() {
                    true => self.spec.fetch.map(|fetch| fetch as u64),
                    false => None,
                },
                hints: self.spec.hints.clone(),
            };
            let schema = Arc::clone(&self.spec.schema);
            let reading = match (hidden, &self.access.store) {
                (Some(hidden), Some(store)) => {
                    read_without(store, schema, &part.part, hidden, scan).await
                }
                _ => read(&self.access, schema, part, scan).await,
            };
            let read = reading.map_err(to_datafusion)?;
            metrics.granules_total.add(read.skipped.granules_total as usize);
            metrics.granules_selected.add(read.skipped.granules_selected as usize);
            for index in &metrics.indexes {
                index.add(&read.skipped.by_index);
            }
            let units = if read.remote { &metrics.units_remote } else { &metrics.units_local };
            units.add(1);
            let batches = read.batches.map_err(to_datafusion);
            let finished = batches.map(move |batch| {
                let batch = batch?;
                if read.remote {
                    metrics.remote_bytes.add(batch.get_array_memory_size());
                }
                self.finish(batch, &metrics)
            });
            Ok::<_, DataFusionError>(finished)
        };
        stream::once(open).try_flatten().boxed()
    }

    /// Drops rows that runtime filters rule out by now, and columns that only they needed.
    pub fn finish(
        &self,
        mut batch: RecordBatch,
        metrics: &ScanMetrics,
    ) -> Result<RecordBatch, DataFusionError> {
        let _timer = metrics.baseline.elapsed_compute().timer();
        for filter in &self.residual_on_batch {
            let before = batch.num_rows();
            batch = filter.apply(batch)?;
            metrics.rows_dropped.add(before - batch.num_rows());
        }
        if self.columns.len() > self.spec.columns.len() {
            let output: Vec<usize> = (0..self.spec.columns.len()).collect();
            batch = batch.project(&output)?;
        }
        match batch.schema() == self.output_schema {
            true => Ok(batch),
            false => Ok(batch.with_schema(Arc::clone(&self.output_schema))?),
        }
    }
}

fn truth(passing: &BooleanArray) -> BooleanArray {
    match passing.nulls() {
        Some(_) => prep_null_mask_filter(passing),
        None => passing.clone(),
    }
}

/// A runtime filter over what is read. One that only helps, and does not, is left out for most
/// batches: whoever made it drops the rows as well.
struct BatchFilter {
    predicate: Arc<dyn PhysicalExpr>,
    /// Whether leaving it out changes nothing but time.
    only_helps: bool,
    batches: AtomicU64,
    rows: AtomicU64,
    dropped: AtomicU64,
}

impl BatchFilter {
    /// Of so many batches one is filtered all the same, since filters change.
    const PROBE_EVERY: u64 = 8;
    /// Rows after which a filter may be left out.
    const ROWS_MIN: u64 = 1 << 16;
    /// Rows after which the past counts half.
    const ROWS_MAX: u64 = 1 << 19;
    /// A filter helps when it drops at least one of so many rows.
    const DROPS_ONE_OF: u64 = 16;

    /// `predicate` over the table's schema as one over `columns`.
    fn new(
        predicate: &Arc<dyn PhysicalExpr>,
        spec: &ScanSpec,
        columns: &[ColumnId],
    ) -> Result<Self, DataFusionError> {
        let only_helps = is_dynamic(predicate);
        let predicate = map_columns(predicate, |position| {
            let id = spec.schema.columns.get(position)?.id;
            columns.iter().position(|column| *column == id)
        })?;
        let (batches, rows, dropped) = Default::default();
        Ok(Self { predicate, only_helps, batches, rows, dropped })
    }

    fn helps(&self) -> bool {
        let batch = self.batches.fetch_add(1, Ordering::Relaxed);
        let rows = self.rows.load(Ordering::Relaxed);
        let dropped = self.dropped.load(Ordering::Relaxed);
        !self.only_helps
            || rows < Self::ROWS_MIN
            || dropped * Self::DROPS_ONE_OF >= rows
            || batch.is_multiple_of(Self::PROBE_EVERY)
    }

    fn note(&self, rows: usize, dropped: usize) {
        self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        let seen = self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        if seen > Self::ROWS_MAX {
            self.rows.store(seen / 2, Ordering::Relaxed);
            self.dropped.store(self.dropped.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }

    fn apply(&self, batch: RecordBatch) -> Result<RecordBatch, DataFusionError> {
        if !self.helps() {
            return Ok(batch);
        }
        let rows = batch.num_rows();
        let passing = match self.predicate.evaluate(&batch)? {
            // Nobody has filled the filter yet, which says nothing about its worth.
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => return Ok(batch),
            passing => passing.into_array(rows)?,
        };
        let passing = truth(passing.as_boolean());
        let dropped = rows - passing.true_count();
        self.note(rows, dropped);
        match dropped {
            0 => Ok(batch),
            _ => Ok(filter_record_batch(&batch, &passing)?),
        }
    }
}

/// Whether `predicate` is one that an operator fills while it runs, and that only ever helps.
pub fn is_dynamic(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    let filled = predicate
        .exists(|node| Ok(node.is::<DynamicFilterPhysicalExpr>() || node.is::<KeyFilterExpr>()));
    filled.unwrap_or(false)
}

/// `expression` with every column's position mapped. Kind `Internal` where the mapping has none.
pub fn map_columns(
    expression: &Arc<dyn PhysicalExpr>,
    position: impl Fn(usize) -> Option<usize>,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let mapped = Arc::clone(expression).transform_up(|node| {
        let Some(column) = node.downcast_ref::<Column>() else {
            return Ok(Transformed::no(node));
        };
        let index = position(column.index()).ok_or_else(|| {
            DataFusionError::Internal(format!("a predicate reads {column}, which is not there"))
        })?;
        let mapped: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), index));
        Ok(Transformed::yes(mapped))
    });
    mapped.data()
}

/// Batches of the units that this partition gets hold of.
pub fn unordered(reader: Arc<Reader>, queue: UnitQueue, metrics: ScanMetrics) -> Batches {
    let fetch = reader.spec.fetch;
    let units = stream::unfold((reader, queue), move |(reader, queue)| {
        let metrics = metrics.clone();
        async move {
            let unit = queue.lock().pop_front()?;
            let batches = Arc::clone(&reader).unit(unit, None, metrics);
            Some((batches, (reader, queue)))
        }
    });
    limited(units.flatten().boxed(), fetch)
}

/// Batches of one unit, in order when the reader's scan is. `without` are the rows to leave out of a
/// part of this node, in place of those that are deleted.
pub fn of_unit(
    reader: Arc<Reader>,
    unit: Unit,
    without: Option<Arc<Deletions>>,
    metrics: ScanMetrics,
) -> Batches {
    let fetch = reader.spec.fetch;
    limited(reader.unit(unit, without, metrics), fetch)
}

/// The first `fetch` rows.
pub fn limited(batches: Batches, fetch: Option<usize>) -> Batches {
    let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
    let Some(fetch) = fetch else {
        return batches.boxed();
    };
    let state = (batches.boxed(), fetch);
    let taken = stream::try_unfold(state, async |(mut batches, left)| {
        if left == 0 {
            return Ok(None);
        }
        let Some(batch) = batches.try_next().await? else {
            return Ok(None);
        };
        let rows = batch.num_rows().min(left);
        Ok::<_, DataFusionError>(Some((batch.slice(0, rows), (batches, left - rows))))
    });
    taken.boxed()
}
