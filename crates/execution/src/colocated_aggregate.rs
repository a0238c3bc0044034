//! GROUP BY on what a table is distributed by: the groups of a bucket are in no other, so each
//! partition of buckets is grouped by itself, in one step and without any exchange.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    StatisticsArgs,
};

/// Groups each partition by itself. Whoever makes one vouches that equal groups are in one partition.
///
/// As with colocated joins, the output is sealed as unknown partitioning.
#[derive(Debug)]
pub struct ColocatedAggregateExec {
    aggregate: Arc<AggregateExec>,
    properties: Arc<PlanProperties>,
}

impl ColocatedAggregateExec {
    /// The groups of `input` that `aggregate`, which may be of any mode over raw rows, makes.
    pub fn try_new(aggregate: &AggregateExec, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let aggregate = AggregateExec::try_new(
            AggregateMode::SinglePartitioned,
            aggregate.group_expr().clone(),
            aggregate.aggr_expr().to_vec(),
            aggregate.filter_expr().to_vec(),
            input,
            aggregate.input_schema(),
        )?;
        if aggregate.group_expr().is_true_no_grouping() || !aggregate.group_expr().is_single() {
            return internal_err!("a colocated aggregation has one set of groups");
        }
        let partitions = aggregate.input().output_partitioning().partition_count();
        let sealed = Partitioning::UnknownPartitioning(partitions);
        let properties = Arc::new((**aggregate.properties()).clone().with_partitioning(sealed));
        Ok(Self { aggregate: Arc::new(aggregate), properties })
    }

    /// The same aggregation over another input; `aggregate` must be an [`AggregateExec`].
    pub fn with_input(
        aggregate: &Arc<dyn ExecutionPlan>,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match aggregate.downcast_ref::<AggregateExec>() {
            Some(aggregate) => Ok(Arc::new(Self::try_new(aggregate, input)?)),
            None => internal_err!("{} does not aggregate", aggregate.name()),
        }
    }

    /// The aggregation of each partition.
    pub fn aggregate(&self) -> &AggregateExec {
        &self.aggregate
    }

    /// The aggregation without its input, to be sent.
    pub fn over_empty_input(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let empty = Arc::new(EmptyExec::new(self.aggregate.input().schema()));
        let sent = Self::try_new(&self.aggregate, empty)?;
        Ok(sent.aggregate)
    }
}

impl DisplayAs for ColocatedAggregateExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(t, DisplayFormatType::TreeRender) {
            return self.aggregate.fmt_as(t, f);
        }
        f.write_str("ColocatedAggregateExec: ")?;
        self.aggregate.fmt_as(t, f)
    }
}

impl ExecutionPlan for ColocatedAggregateExec {
    fn name(&self) -> &str {
        "ColocatedAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::UnspecifiedDistribution]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.aggregate.maintains_input_order()
    }

    /// Partitions are buckets here and must stay what they are.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.aggregate.input()]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.aggregate.apply_expressions(f)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::try_new(&self.aggregate, input)?)),
            _ => internal_err!("ColocatedAggregateExec has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.aggregate.execute(partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.aggregate.metrics()
    }

    fn statistics_from_inputs(
        &self,
        input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.aggregate.statistics_from_inputs(input_stats, args)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.aggregate.child_stats_requests(partition)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        self.aggregate.gather_filters_for_pushdown(phase, parent_filters, config)
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        // Grouped aggregations make no filter of their own.
        Ok(FilterPushdownPropagation::if_any(child_pushdown_result))
    }
}
