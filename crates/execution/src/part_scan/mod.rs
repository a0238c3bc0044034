//! The scan of a table's parts, as an operator.

pub mod codec;
mod collapse;
pub mod facts;
mod hedge;
pub mod layout;
mod operator;
pub mod predicate;
pub mod read;
pub mod skips;
pub mod statistics;
mod stream;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, apply_expression_roots,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs,
};
use granary_catalog::ColumnType;
use granary_common::ColumnId;
use granary_storage::Filter;
use parking_lot::Mutex;

use self::collapse::SharedPieces;
use self::facts::ScanFacts;
use self::layout::{Layout, ScanSpec, units};
use self::predicate::{all_of, to_filter};
use self::read::PartAccess;
use self::stream::{Reader, ScanMetrics, UnitQueue, map_columns};
use crate::runtime_filter::{FilterSource, KeyFilterExpr, of_partition};

/// Streams that one partition merges at most; with more parts a sort is cheaper than the merge.
const MERGE_STREAMS_MAX: usize = 64;

/// Reads parts: here from the node's own store, else from a worker that holds them.
///
/// Never claims a hash partitioning, even when laid out by buckets: the engine takes every such
/// claim for its own hash, and ours is another.
#[derive(Debug)]
pub struct PartScanExec {
    spec: Arc<ScanSpec>,
    /// Runtime filters, with columns as positions in the table's schema.
    residual: Vec<Arc<dyn PhysicalExpr>>,
    /// Runtime filters of joins in other tasks.
    awaited: Vec<AwaitedFilter>,
    facts: Arc<ScanFacts>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    run: Mutex<Run>,
}

/// A runtime filter that a join of another task makes.
#[derive(Clone, Debug, PartialEq)]
pub struct AwaitedFilter {
    /// The name under which the join tells of it.
    pub id: u64,
    /// What is looked up in it, with columns as positions in the table's schema.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether it is about to come, so that waiting a moment for it costs less than reading without.
    pub is_near: bool,
}

/// One run of the plan: the shared queue and the partitions that take from it.
#[derive(Debug, Default)]
struct Run {
    queues: Vec<UnitQueue>,
    /// What partitions share of a scan that collapses.
    pieces: SharedPieces,
    started: BTreeSet<usize>,
}

impl PartScanExec {
    /// A scan of `spec`. `facts` are for planning only and do not travel.
    pub fn new(spec: ScanSpec, facts: Arc<ScanFacts>) -> granary_common::Result<Self> {
        Self::with_filters(spec, Vec::new(), Vec::new(), facts)
    }

    fn with_filters(
        spec: ScanSpec,
        residual: Vec<Arc<dyn PhysicalExpr>>,
        awaited: Vec<AwaitedFilter>,
        facts: Arc<ScanFacts>,
    ) -> granary_common::Result<Self> {
        let schema = spec.schema.project(&spec.columns)?;
        let properties = Arc::new(properties(&spec, schema));
        Ok(Self {
            spec: Arc::new(spec),
            residual,
            awaited,
            facts,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
            run: Mutex::default(),
        })
    }

    /// What is read.
    pub fn spec(&self) -> &Arc<ScanSpec> {
        &self.spec
    }

    /// The runtime filters that it evaluates.
    pub fn residual(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.residual
    }

    /// The runtime filters that it gets from joins of other tasks.
    pub fn awaited(&self) -> &[AwaitedFilter] {
        &self.awaited
    }

    /// The same scan, where the join that fills the runtime filter `expression_id` is in another
    /// task and tells of it as `id`, soon if it `is_near`. `None` when the scan does not have that filter.
    pub fn awaiting(&self, expression_id: u64, id: u64, is_near: bool) -> Result<Option<Self>> {
        let is_it = |term: &Arc<dyn PhysicalExpr>| term.expression_id() == Some(expression_id);
        let (told, residual): (Vec<_>, Vec<_>) =
            self.residual.iter().cloned().partition(|term| is_it(term));
        let Some(filter) = told.first() else {
            return Ok(None);
        };
        let mut awaited = self.awaited.clone();
        let keys = filter.children().into_iter().cloned().collect();
        awaited.push(AwaitedFilter { id, keys, is_near });
        let facts = Arc::clone(&self.facts);
        let scan = Self::with_filters((*self.spec).clone(), residual, awaited, facts);
        scan.map(Some).map_err(crate::error::to_datafusion)
    }

    /// Every runtime filter, as predicates of `partition` on a node that `access` belongs to.
    fn predicates(&self, partition: usize, access: &PartAccess) -> Vec<Arc<dyn PhysicalExpr>> {
        let bucketed = matches!(self.spec.layout, Layout::Bucketed { .. });
        let own = self.residual.iter().map(|term| match bucketed {
            true => of_partition(term, partition),
            false => Arc::clone(term),
        });
        let awaited = self.awaited.iter().map(|filter| {
            let source = FilterSource::awaited(filter.id, access.filters.clone());
            Arc::new(KeyFilterExpr::new(filter.keys.clone(), source)) as Arc<dyn PhysicalExpr>
        });
        own.chain(awaited).collect()
    }

    /// What it was planned with.
    pub fn facts(&self) -> &Arc<ScanFacts> {
        &self.facts
    }

    /// The same scan of `spec`, with its runtime filters.
    pub fn with_spec(&self, spec: ScanSpec) -> Result<Self> {
        let (residual, awaited) = (self.residual.clone(), self.awaited.clone());
        Self::with_filters(spec, residual, awaited, Arc::clone(&self.facts))
            .map_err(crate::error::to_datafusion)
    }

    /// The queue of `partition` in this run and what all of its partitions share; executing a partition
    /// again begins a new run.
    fn queue(&self, partition: usize) -> Option<(UnitQueue, SharedPieces)> {
        let mut run = self.run.lock();
        if run.started.contains(&partition) || run.queues.is_empty() {
            let queues = units(&self.spec)
                .into_iter()
                .map(|units| Arc::new(Mutex::new(units.into_iter().collect())));
            *run = Run { queues: queues.collect(), ..Run::default() };
        }
        run.started.insert(partition);
        let shared = matches!(self.spec.layout, Layout::Spread { .. }) && self.spec.ordered_by == 0;
        let queue = run.queues.get(if shared { 0 } else { partition }).cloned()?;
        Some((queue, run.pieces.clone()))
    }

    /// Position of an output column in the table's schema.
    fn table_position(&self, output: usize) -> Option<usize> {
        self.spec.schema.position(*self.spec.columns.get(output)?).ok()
    }
}

/// The leading columns of the sort key that are in `columns` and that plans order as disks do.
fn sort_expressions(spec: &ScanSpec, columns: &[ColumnId]) -> Vec<PhysicalSortExpr> {
    let options = SortOptions { descending: false, nulls_first: false };
    let mut expressions = Vec::new();
    for id in &spec.schema.sort_key {
        let Some(index) = columns.iter().position(|column| column == id) else {
            break;
        };
        let Ok(column) = spec.schema.column(*id) else {
            break;
        };
        if !predicate::compares_as_stored(&column.column_type)
            || matches!(column.column_type.base(), ColumnType::Array(_))
        {
            break;
        }
        let column = Arc::new(Column::new(&column.name, index));
        expressions.push(PhysicalSortExpr::new(column, options));
    }
    expressions
}

fn ordering(spec: &ScanSpec) -> Option<LexOrdering> {
    let mut expressions = sort_expressions(spec, &spec.columns);
    expressions.truncate(spec.ordered_by);
    LexOrdering::new(expressions)
}

fn properties(spec: &ScanSpec, schema: SchemaRef) -> PlanProperties {
    let equivalence = match ordering(spec) {
        Some(ordering) => EquivalenceProperties::new_with_orderings(schema, [ordering]),
        None => EquivalenceProperties::new(schema),
    };
    PlanProperties::new(
        equivalence,
        Partitioning::UnknownPartitioning(spec.layout.partitions()),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )
}

impl DisplayAs for PartScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanSpec { name, columns, parts, filter, fetch, layout, collapse, .. } = &*self.spec;
        if matches!(t, DisplayFormatType::TreeRender) {
            return write!(f, "table={name}\nparts={}", parts.len());
        }
        let names = columns.iter().filter_map(|id| self.spec.schema.column(*id).ok());
        let names: Vec<&str> = names.map(|column| column.name.as_str()).collect();
        write!(f, "PartScanExec: table={name}, columns=[{}]", names.join(", "))?;
        write!(f, ", parts={}, rows={}", parts.len(), self.spec.rows())?;
        if collapse.is_some() {
            write!(f, ", final")?;
        }
        match layout {
            Layout::Spread { partitions } => write!(f, ", partitions={partitions}")?,
            Layout::Bucketed { groups } => {
                let groups = groups.iter().map(|group| {
                    let buckets: Vec<String> = group.iter().map(ToString::to_string).collect();
                    buckets.join(" ")
                });
                write!(f, ", buckets=[{}]", groups.collect::<Vec<_>>().join("|"))?;
            }
        }
        if let Some(filter) = filter {
            write!(f, ", filter={}", DisplayFilter { filter, spec: &self.spec })?;
        }
        if !self.spec.hints.is_empty() {
            let mut names: Vec<&str> =
                self.spec.hints.iter().map(|hint| hint.name.as_str()).collect();
            names.dedup();
            write!(f, ", indexes=[{}]", names.join(", "))?;
        }
        if !self.residual.is_empty() {
            let all: Vec<String> = self.residual.iter().map(ToString::to_string).collect();
            write!(f, ", runtime_filters=[{}]", all.join(", "))?;
        }
        for AwaitedFilter { keys, .. } in &self.awaited {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            write!(f, ", awaits=[{}]", keys.join(", "))?;
        }
        if let Some(fetch) = fetch {
            write!(f, ", fetch={fetch}")?;
        }
        match ordering(&self.spec) {
            Some(ordering) => write!(f, ", ordered_by=[{ordering}]"),
            None => Ok(()),
        }
    }
}

/// A filter with column names.
struct DisplayFilter<'a> {
    filter: &'a Filter,
    spec: &'a ScanSpec,
}

impl DisplayFilter<'_> {
    fn name(&self, id: ColumnId) -> &str {
        self.spec.schema.column(id).map_or("?", |column| column.name.as_str())
    }

    fn joined(&self, terms: &[Filter], with: &str, empty: &str) -> String {
        let term = |filter| DisplayFilter { filter, spec: self.spec }.to_string();
        let texts: Vec<String> = terms.iter().map(term).collect();
        match texts.as_slice() {
            [] => empty.to_owned(),
            many => format!("({})", many.join(with)),
        }
    }
}

impl fmt::Display for DisplayFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self.filter {
            Filter::And(terms) => f.write_str(&self.joined(terms, " AND ", "true")),
            Filter::Or(terms) => f.write_str(&self.joined(terms, " OR ", "false")),
            Filter::Not(term) => write!(f, "NOT {}", DisplayFilter { filter: term, ..*self }),
            Filter::Compare { column, op, value } => {
                write!(f, "{} {} {value}", self.name(*column), op_text(*op))
            }
            Filter::CompareColumns { left, op, right } => {
                write!(f, "{} {} {}", self.name(*left), op_text(*op), self.name(*right))
            }
            Filter::In { column, values, negated } => {
                let shown: Vec<String> = values.iter().take(8).map(ToString::to_string).collect();
                let more = if values.len() > shown.len() { ", .." } else { "" };
                let list = shown.join(", ");
                write!(f, "{} {}IN ({list}{more})", self.name(*column), not(negated))
            }
            Filter::IsNull { column, negated } => {
                write!(f, "{} IS {}NULL", self.name(*column), not(negated))
            }
            Filter::Like { column, pattern, negated, case_insensitive } => {
                let like = if *case_insensitive { "ILIKE" } else { "LIKE" };
                write!(f, "{} {}{like} '{pattern}'", self.name(*column), not(negated))
            }
        }
    }
}

fn op_text(op: granary_storage::CompareOp) -> &'static str {
    use granary_storage::CompareOp;
    match op {
        CompareOp::Eq => "=",
        CompareOp::NotEq => "!=",
        CompareOp::Lt => "<",
        CompareOp::LtEq => "<=",
        CompareOp::Gt => ">",
        CompareOp::GtEq => ">=",
    }
}
