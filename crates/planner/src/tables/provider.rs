//! One table at one snapshot.

mod choice;
mod documents;
mod projected;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue, ToDFSchema};
use datafusion::error::DataFusionError;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType, binary_expr,
};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use granary_catalog::protocol::SHARED_FINAL;
use granary_catalog::{Part, PartLocation, Snapshot, Table, TableState};
use granary_common::{CatalogVersion, ColumnId, Result, WorkerId};
use granary_execution::error::to_datafusion;
use granary_execution::part_scan::predicate::{all_of, to_filter};
use granary_execution::{
    KeyRanges, Layout, PartScanExec, Placement, ScanFacts, ScanSpec, ScannedPart, TableReading,
};
use granary_storage::merge::CollapseRule;
use granary_storage::{
    Filter, PART_OFFSET_COLUMN, PartColumn, PartRef, PartSchema, virtual_columns,
};

use super::hints::{hints, may_hint};
use super::partition_conditions::{PartitionConditions, may_decide};
use super::partitions::with_implied;
use super::prune::may_match;
use super::runs::runs;
use super::shape::part_schema;
use super::statistics::StatisticsCache;
use crate::topology::Topology;

pub(crate) use projected::ProjectedParts;

/// Rows that are worth a partition of their own.
const ROWS_PER_PARTITION_MIN: u64 = 1 << 16;

/// A table of the catalog at the version of its snapshot.
#[derive(Debug)]
pub struct PartTable {
    state: TableState,
    snapshot: Arc<Snapshot>,
    /// The version that is read: the snapshot's, or one before it.
    version: CatalogVersion,
    name: String,
    part_schema: Arc<PartSchema>,
    /// Visible columns, then virtual ones where they are asked for.
    schema: SchemaRef,
    /// The same with their ids.
    exposed: PartSchema,
    /// What becomes of rows with equal sort keys, when they are read with FINAL.
    collapse: Option<CollapseRule>,
    statistics: Arc<StatisticsCache>,
}

impl PartTable {
    /// The table of `state` in the database of that name.
    ///
    /// Kinds as of [`Snapshot::past`], when an earlier version is read.
    pub fn new(
        mut state: TableState,
        snapshot: Arc<Snapshot>,
        database: &str,
        statistics: Arc<StatisticsCache>,
        reading: &TableReading,
    ) -> Result<Self> {
        let mut version = snapshot.version;
        if let Some(past) = reading.past {
            let past = snapshot.past(&state, past)?;
            (version, state.table) = (past.version, past.table);
        }
        let name = format!("{database}.{}", state.table.name);
        let part_schema = Arc::new(part_schema(&state, version));
        let mut exposed = PartSchema::clone(&part_schema);
        exposed.columns.truncate(state.table.visible_columns().count());
        if reading.positions {
            exposed.columns.extend_from_slice(virtual_columns());
        }
        let schema = exposed.arrow_schema();
        let rule = CollapseRule::of(&state.table);
        let collapse = (reading.collapsed && rule.collapses()).then_some(rule);
        Ok(Self {
            state,
            snapshot,
            version,
            name,
            part_schema,
            schema,
            exposed,
            collapse,
            statistics,
        })
    }

    /// The version that is read, when it is one before the query's own.
    pub fn past_version(&self) -> Option<CatalogVersion> {
        (self.version < self.snapshot.version).then_some(self.version)
    }

    /// Whether `table` can be read with virtual columns: columns of its own come first.
    pub fn has_virtual_columns(table: &Table) -> bool {
        let taken = |column: &PartColumn| table.columns.iter().any(|own| own.name == column.name);
        !virtual_columns().iter().any(taken)
    }

    /// The table with its buckets and parts.
    pub fn state(&self) -> &TableState {
        &self.state
    }

    fn filter(
        &self,
        session: &dyn Session,
        schema: &DFSchema,
        expression: &Expr,
    ) -> Option<Filter> {
        if expression.is_volatile() {
            return None;
        }
        let physical = session.create_physical_expr(expression.clone(), schema).ok()?;
        self.scan_filter(&physical)
    }

    /// `predicate` as a filter of scans, if they can decide it.
    fn scan_filter(&self, predicate: &Arc<dyn PhysicalExpr>) -> Option<Filter> {
        let filter = to_filter(&self.exposed, predicate)?;
        let early = |column: &ColumnId| match &self.collapse {
            // A condition over other columns is about rows that are already collapsed.
            Some(_) => self.part_schema.sort_key.contains(column),
            None => *column != PART_OFFSET_COLUMN,
        };
        filter.columns().iter().all(early).then_some(filter)
    }

    /// Workers that can read `part`, those that are alive first.
    fn holders(&self, part: &Part) -> Vec<WorkerId> {
        let mut holders = match self.snapshot.readable_location(part) {
            PartLocation::Local { copies, .. } => copies,
            PartLocation::Shared { .. } => match self.state.buckets.get(&part.bucket) {
                Some(bucket) => bucket.replicas.clone(),
                None => self.snapshot.workers.keys().copied().collect(),
            },
        };
        holders.sort_by_key(|worker| {
            let row = self.snapshot.workers.get(worker);
            row.is_none_or(|row| row.state == granary_catalog::WorkerState::Dead)
        });
        holders
    }

    /// Whether a condition may be decided by partitions alone. Rows that are collapsed may meet others
    /// of their key in other partitions, unless these are told by the key.
    fn may_choose_partitions(&self, condition: &Expr) -> bool {
        let partition = &self.part_schema.partition;
        let is_told =
            |it: &ColumnId| self.collapse.is_none() || self.part_schema.sort_key.contains(it);
        partition.iter().all(is_told) && may_decide(&self.state.table, &self.exposed, condition)
    }

    /// What `filters` ask of partitions.
    fn conditions(&self, session: &dyn Session, filters: &[Expr]) -> Option<PartitionConditions> {
        let choosing = filters.iter().filter(|filter| self.may_choose_partitions(filter));
        let choosing: Vec<&Expr> = choosing.collect();
        PartitionConditions::of(session, &self.state.table, &self.part_schema, &choosing)
    }

    /// The parts that may have rows that pass both.
    fn matching(
        &self,
        filter: Option<&Filter>,
        conditions: Option<PartitionConditions>,
    ) -> Vec<&Arc<Part>> {
        let visible = self.state.visible_parts(self.version);
        let matching = visible
            .filter(|part| part.rows_at(self.version) > 0)
            .filter(|part| filter.is_none_or(|filter| may_match(&self.part_schema, part, filter)));
        let mut parts: Vec<&Arc<Part>> = matching.collect();
        if let Some(conditions) = conditions {
            let passing = conditions.passing(parts.iter().map(|part| &part.partition));
            parts = parts.iter().filter(|part| passing[&part.partition]).copied().collect();
        }
        parts
    }

    fn scanned_parts(
        &self,
        filter: Option<&Filter>,
        conditions: Option<PartitionConditions>,
    ) -> Vec<ScannedPart> {
        let version = self.version;
        let mut parts = self.matching(filter, conditions);
        let classes = self.state.key_classes(version);
        let runs = match &self.collapse {
            Some(_) => {
                parts.sort_by_key(|part| (part.inserted, part.id));
                let PartSchema { sort_key, partition, .. } = &*self.part_schema;
                let placed = Placement::of(&self.state, version).is_some();
                runs(&parts, sort_key, partition, placed, |part| classes.of(part.bucket))
            }
            None => BTreeMap::new(),
        };
        let scanned = parts.into_iter().map(|part| ScannedPart {
            part: PartRef {
                location: self.snapshot.readable_location(part),
                ..PartRef::at(part, version)
            },
            bucket: classes.of(part.bucket),
            holders: self.holders(part),
            run: runs.get(&part.id).copied().unwrap_or(0),
            merged: part.level > 0,
        });
        scanned.collect()
    }

    /// How the scan's rows are dealt out. Rows of equal keys meet before they are; workers of builds
    /// that do not know that get them by buckets.
    fn layout(&self, config: &SessionConfig, spec: &ScanSpec) -> Layout {
        let partitions = partitions(config, spec);
        if self.collapse.is_none() || self.snapshot.protocol() >= SHARED_FINAL {
            return Layout::Spread { partitions };
        }
        let groups = match Placement::of(&self.state, self.version) {
            Some(placement) => placement.groups(partitions),
            None => vec![spec.buckets().into_iter().collect()],
        };
        Layout::Bucketed { groups }
    }
}

/// As many as threads can use; at least two of a scan that is cut into tasks, so that whatever needs
/// all rows in one place says so in the plan.
fn partitions(config: &SessionConfig, spec: &ScanSpec) -> usize {
    let threads = config.target_partitions().max(1);
    let useful = (spec.rows().div_ceil(ROWS_PER_PARTITION_MIN) as usize).clamp(1, threads);
    let topology = config.get_extension::<Topology>();
    match topology.is_some_and(|topology| topology.is_large(spec, 0)) {
        true => useful.max(2),
        false => useful,
    }
}

#[async_trait]
impl TableProvider for PartTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The sampling key: all that queries ask of a table's definition.
    fn get_table_definition(&self) -> Option<&str> {
        self.state.table.sampling_key()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let df_schema = Arc::clone(&self.schema).to_dfschema()?;
        let mut converted = Vec::with_capacity(filters.len());
        for filter in filters {
            let decided = match without_constants(filter) {
                Decided::Constant(true) => Some(Filter::And(Vec::new())),
                Decided::Constant(false) => Some(Filter::Or(Vec::new())),
                Decided::ByRow(condition) => self.filter(session, &df_schema, &condition),
            };
            match decided {
                Some(filter) => converted.push(filter),
                // It only helps; the engine applies it again.
                None if may_hint(filter) || self.may_choose_partitions(filter) => {}
                None => {
                    return Err(DataFusionError::Internal(format!(
                        "filter {filter} was promised and is not done"
                    )));
                }
            }
        }
        let filter = all_of(converted);
        let hints = match &self.collapse {
            // What an index knows is about rows before they are collapsed.
            Some(_) => Vec::new(),
            None => hints(session, &self.state.table, &self.exposed, filters),
        };
        let positions = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let column = |position: &usize| self.exposed.columns[*position].id;
        let table = &self.state.table;
        let choosing =
            filter.clone().map(|filter| with_implied(session, table, &self.part_schema, filter));
        let choice = self.choice(session, choosing.as_ref(), filters);
        let parts = self.scanned_parts(choosing.as_ref(), self.conditions(session, filters));
        let summaries = self.statistics.of_parts(&self.part_schema, &parts).await;
        let placement = Placement::of(&self.state, self.version);
        let facts = ScanFacts { summaries, placement, choice };
        let mut spec = ScanSpec {
            name: self.name.clone(),
            schema: Arc::clone(&self.part_schema),
            columns: positions.iter().map(column).collect(),
            parts,
            filter,
            fetch: limit,
            ordered_by: 0,
            layout: Layout::Spread { partitions: 1 },
            collapse: self.collapse.clone(),
            key_ranges: session
                .config()
                .get_extension::<KeyRanges>()
                .map_or_else(KeyRanges::default, |it| *it),
            hints,
        };
        spec.layout = self.layout(session.config(), &spec);
        let scan = PartScanExec::new(spec, Arc::new(facts)).map_err(to_datafusion)?;
        Ok(Arc::new(scan))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let schema = Arc::clone(&self.schema).to_dfschema()?;
        let indexes = &self.state.table.options.indexes;
        let has_indexes = self.collapse.is_none() && indexes.iter().any(|i| i.bound.is_some());
        let supported = |original: &&Expr| {
            match physical_filter(original, &schema).and_then(|it| self.scan_filter(&it)) {
                // Parts are chosen by it here. It stays above as well, where joins are ordered by
                // how much it leaves, until the plan's last filters move into the scan.
                Some(_) => TableProviderFilterPushDown::Inexact,
                None if has_indexes && may_hint(original) => TableProviderFilterPushDown::Inexact,
                None if self.may_choose_partitions(original) => {
                    TableProviderFilterPushDown::Inexact
                }
                None => TableProviderFilterPushDown::Unsupported,
            }
        };
        Ok(filters.iter().map(supported).collect())
    }
}

/// A condition that the optimizer asks about, over `schema`; none that gives something else each time.
fn physical_filter(condition: &Expr, schema: &DFSchema) -> Option<Arc<dyn PhysicalExpr>> {
    // The optimizer names columns with their tables, the provider's schema without.
    let condition = unnormalize_col(condition.clone());
    let (properties, context) = (ExecutionProps::new(), Default::default());
    let physical = create_physical_expr(&condition, schema, &properties, &context);
    physical.ok().filter(|_| !condition.is_volatile())
}

/// A condition without the constants that it got after it was promised. NULL lets no row through, so
/// beside AND and OR it is false.
fn without_constants(condition: &Expr) -> Decided {
    match condition {
        Expr::Literal(ScalarValue::Boolean(truth), _) => Decided::Constant(*truth == Some(true)),
        Expr::Literal(ScalarValue::Null, _) => Decided::Constant(false),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            // FALSE decides AND, TRUE decides OR; the other one leaves what is beside it.
            let deciding = *op == Operator::Or;
            match (without_constants(left), without_constants(right)) {
                (Decided::Constant(truth), other) | (other, Decided::Constant(truth)) => {
                    if truth == deciding { Decided::Constant(truth) } else { other }
                }
                (Decided::ByRow(left), Decided::ByRow(right)) => {
                    Decided::ByRow(binary_expr(left, *op, right))
                }
            }
        }
        other => Decided::ByRow(other.clone()),
    }
}

/// What is known of a condition before any row is read.
enum Decided {
    Constant(bool),
    ByRow(Expr),
}
