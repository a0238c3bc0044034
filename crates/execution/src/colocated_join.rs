//! A join of inputs that are bucketed alike, bucket group by bucket group, without any exchange.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{NullEquality, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, lit};
use datafusion::physical_expr::{Distribution, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties, ReplaceChildrenOptions, StatisticsArgs,
};
use parking_lot::Mutex;

use crate::colocated_aggregate::ColocatedAggregateExec;
use crate::part_scan::PartScanExec;
use crate::part_scan::layout::Layout;
use crate::runtime_filter::{BuiltBuckets, BuiltInput};
use crate::spilling_join::{SpillableJoin, over_empty_inputs};

/// Joins partition i of the left with partition i of the right. Whoever makes one vouches that equal
/// keys are in equal partitions.
///
/// The output is sealed as unknown partitioning: rows lie by the hash of buckets, which is not the
/// engine's, so nothing above may take them for hash-partitioned. For the same reason the engine does
/// not fill the runtime filter that the inner join carries; what each partition has built does.
#[derive(Debug)]
pub struct ColocatedJoinExec {
    join: HashJoinExec,
    properties: Arc<PlanProperties>,
    /// The join as it runs, with what it builds noted.
    running: Mutex<Option<Arc<SpillableJoin>>>,
}

impl ColocatedJoinExec {
    /// The local form of `join` over inputs with equally many partitions.
    pub fn try_new(join: &HashJoinExec) -> Result<Self> {
        if join.null_aware {
            return internal_err!("a null-aware join needs all rows of a side");
        }
        let inputs = vec![Arc::clone(join.left()), Arc::clone(join.right())];
        let [left, right] =
            [join.left(), join.right()].map(|side| side.output_partitioning().partition_count());
        if left != right {
            return internal_err!("a colocated join over {left} and {right} partitions");
        }
        let join = join
            .builder()
            .with_new_children(inputs)?
            .with_partition_mode(PartitionMode::Partitioned)
            .recompute_properties()
            .build()?;
        let sealed = Partitioning::UnknownPartitioning(left);
        let properties = Arc::new((**join.properties()).clone().with_partitioning(sealed));
        Ok(Self { join, properties, running: Mutex::default() })
    }

    /// The runtime filter that scans of the probed side wait for.
    fn filter(&self) -> Option<Arc<DynamicFilterPhysicalExpr>> {
        let produced = self.join.dynamic_expressions_produced().into_iter().next()?;
        Arc::downcast(produced as Arc<dyn Any + Send + Sync>).ok()
    }

    /// The join as it runs: it fills its runtime filter. With one partition the engine does so.
    fn running(&self) -> Result<Arc<SpillableJoin>> {
        let mut running = self.running.lock();
        if let Some(running) = &*running {
            return Ok(Arc::clone(running));
        }
        let join = match self.filling_filter()? {
            Some(join) => join,
            None => self.join.builder().build()?,
        };
        Ok(Arc::clone(running.insert(Arc::new(SpillableJoin::try_new(&join)?))))
    }

    fn filling_filter(&self) -> Result<Option<HashJoinExec>> {
        let partitions = self.properties.partitioning.partition_count();
        let Some(filter) = self.filter().filter(|_| partitions > 1) else { return Ok(None) };
        let [left, right] = [self.join.left(), self.join.right()];
        if self.join.null_equality() == NullEquality::NullEqualsNull
            || !only_buckets_evaluate(&filter, right)?
        {
            return Ok(None);
        }
        let built = BuiltBuckets::try_new(self.join.on(), &left.schema(), partitions)?;
        let probed = self.join.on().iter().map(|(_, probed)| Arc::clone(probed)).collect();
        filter.update(Arc::new(built.filter(probed)))?;
        let inputs = vec![
            Arc::new(BuiltInput::new(Arc::clone(left), built)) as Arc<dyn ExecutionPlan>,
            Arc::clone(right),
        ];
        self.join.builder().with_new_children(inputs)?.recompute_properties().build().map(Some)
    }

    /// The same join over other inputs; `join` must be a [`HashJoinExec`].
    pub fn with_inputs(
        join: &Arc<dyn ExecutionPlan>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(join) = join.downcast_ref::<HashJoinExec>() else {
            return internal_err!("a colocated join is made of a hash join, not {}", join.name());
        };
        let join = join.builder().with_new_children(inputs)?.recompute_properties().build()?;
        Ok(Arc::new(Self::try_new(&join)?))
    }

    /// The join that runs in each partition.
    pub fn join(&self) -> &HashJoinExec {
        &self.join
    }

    /// The join without its inputs, to be sent.
    pub fn over_empty_inputs(&self) -> Result<Arc<dyn ExecutionPlan>> {
        over_empty_inputs(&self.join)
    }
}

/// Whether operators of `plan` evaluate `filter`, and all of them are scans whose partition i becomes
/// partition i of `plan`. Any other would need what all partitions have built.
fn only_buckets_evaluate(
    filter: &DynamicFilterPhysicalExpr,
    plan: &Arc<dyn ExecutionPlan>,
) -> Result<bool> {
    let wanted = filter.expression_id();
    let mut all = 0;
    plan.apply(|node| {
        all += usize::from(evaluates(node, wanted)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(all > 0 && all == followed_scans(plan, wanted)?)
}

fn evaluates(node: &Arc<dyn ExecutionPlan>, wanted: Option<u64>) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(&mut |root| {
        found |= root.exists(|part| Ok(part.expression_id() == wanted))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn followed_scans(plan: &Arc<dyn ExecutionPlan>, wanted: Option<u64>) -> Result<usize> {
    if let Some(scan) = plan.downcast_ref::<PartScanExec>() {
        let bucketed = matches!(scan.spec().layout, Layout::Bucketed { .. });
        return Ok(usize::from(bucketed && evaluates(plan, wanted)?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let collected = *join.partition_mode() == PartitionMode::CollectLeft;
        return if collected { followed_scans(join.right(), wanted) } else { Ok(0) };
    }
    let keeps_partitions = plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<ColocatedJoinExec>()
        || plan.is::<ColocatedAggregateExec>();
    match keeps_partitions {
        true => plan.children().into_iter().map(|input| followed_scans(input, wanted)).sum(),
        false => Ok(0),
    }
}

impl DisplayAs for ColocatedJoinExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(t, DisplayFormatType::TreeRender) {
            return self.join.fmt_as(t, f);
        }
        f.write_str("ColocatedJoinExec: ")?;
        self.join.fmt_as(t, f)
    }
}

impl ExecutionPlan for ColocatedJoinExec {
    fn name(&self) -> &str {
        "ColocatedJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::UnspecifiedDistribution; 2]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, false]
    }

    /// Partitions are buckets here and must stay what they are.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.join.left(), self.join.right()]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.join.apply_expressions(f)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let join =
            self.join.builder().with_new_children(children)?.recompute_properties().build()?;
        Ok(Arc::new(Self::try_new(&join)?))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(filter) = self.filter() {
            filter.update(lit(true))?; // Scans may hold on to it.
        }
        let join = self.join.builder().reset_state().build()?;
        Ok(Arc::new(Self::try_new(&join)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.running()?.execute(partition, &context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        match &*self.running.lock() {
            Some(running) => running.metrics(),
            None => self.join.metrics(),
        }
    }

    fn statistics_from_inputs(
        &self,
        input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.join.statistics_from_inputs(input_stats, args)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.join.child_stats_requests(partition)
    }

    fn fetch(&self) -> Option<usize> {
        self.join.fetch()
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.join.dynamic_expressions_produced()
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        // Of a join that collects a side the engine offers a filter whatever the partitions are.
        let mut config = config.clone();
        config.optimizer.enable_join_dynamic_filter_pushdown &=
            self.join.null_equality() == NullEquality::NullEqualsNothing;
        let collecting = self.join.builder().with_partition_mode(PartitionMode::CollectLeft);
        collecting.build()?.gather_filters_for_pushdown(phase, parent_filters, &config)
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let own = child_pushdown_result.self_filters.get(1).and_then(|filters| filters.first());
        let own = own.map(|filter| Arc::clone(&filter.predicate) as Arc<dyn Any + Send + Sync>);
        let result = FilterPushdownPropagation::if_any(child_pushdown_result);
        match own.map(Arc::downcast::<DynamicFilterPhysicalExpr>) {
            Some(Ok(filter)) => {
                let join = self.join.builder().build()?.with_dynamic_filter_expr(filter)?;
                Ok(result.with_updated_node(Arc::new(Self::try_new(&join)?)))
            }
            _ => Ok(result),
        }
    }
}

impl ColocatedJoinExec {
    /// The options with which children are replaced where their properties may have changed.
    pub fn recompute() -> ReplaceChildrenOptions {
        ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)
    }
}
