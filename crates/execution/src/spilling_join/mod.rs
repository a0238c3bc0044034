//! A hash join that goes to disk when what it builds does not fit into the memory of its query.
//!
//! ```text
//!   built side ──► fits ─────────► the engine's join, as ever
//!             └──► is too large ─► both sides dealt into files by their keys ─► a join for each pair of
//!                                  files, one after the other, dealt again where one is too large
//! ```
//!
//! The built side is held here until its end is known to fit, together with its hash table and the
//! copy that the join makes of it; only then does the engine's join get it. A key with more rows than
//! fit cannot be dealt further: its rows are joined a portion at a time, where the kind of join allows.

mod fed;
mod files;
mod gather;
mod run;

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
    StatisticsArgs,
};
use parking_lot::Mutex;

pub use run::SpillableJoin;

/// A hash join of the engine that spills. Everything but how it runs is the join's.
#[derive(Debug)]
pub struct SpillingJoinExec {
    join: Arc<HashJoinExec>,
    running: Mutex<Option<Arc<SpillableJoin>>>,
}

impl SpillingJoinExec {
    /// `join`, which runs as the engine's own where it cannot spill: see [`can_spill`].
    pub fn new(join: Arc<HashJoinExec>) -> Self {
        Self { join, running: Mutex::default() }
    }

    /// The same join over other inputs; `join` must be a [`HashJoinExec`].
    pub fn with_inputs(
        join: &Arc<dyn ExecutionPlan>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(join) = join.downcast_ref::<HashJoinExec>() else {
            return internal_err!("a spilling join is made of a hash join, not {}", join.name());
        };
        let join = join.builder().with_new_children(inputs)?.recompute_properties().build()?;
        Ok(Arc::new(Self::new(Arc::new(join))))
    }

    /// The join without its inputs, to be sent.
    pub fn over_empty_inputs(&self) -> Result<Arc<dyn ExecutionPlan>> {
        over_empty_inputs(&self.join)
    }

    fn running(&self) -> Result<Arc<SpillableJoin>> {
        let mut running = self.running.lock();
        if let Some(running) = &*running {
            return Ok(Arc::clone(running));
        }
        Ok(Arc::clone(running.insert(Arc::new(SpillableJoin::try_new(&self.join)?))))
    }
}

/// Whether the rows of `join` may come in another order, and can be found out from some rows of each
/// side alone.
pub fn can_spill(join: &HashJoinExec) -> bool {
    !join.null_aware && !join.on().is_empty() && join.properties().output_ordering().is_none()
}

/// `join` without its inputs, to be sent beside them.
pub(crate) fn over_empty_inputs(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let empty = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(input.schema()))
    };
    let inputs = vec![empty(join.left()), empty(join.right())];
    join.builder().with_new_children(inputs)?.recompute_properties().build_exec()
}

/// Lets the hash joins of a plan spill that can.
pub fn let_joins_spill(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let spilling = plan.transform_up(|node| {
        let join = node.downcast_ref::<HashJoinExec>().filter(|join| can_spill(join));
        let Some(join) = join else { return Ok(Transformed::no(node)) };
        let join = Arc::new(join.builder().build()?);
        Ok(Transformed::yes(Arc::new(SpillingJoinExec::new(join)) as Arc<dyn ExecutionPlan>))
    });
    spilling.map(|spilling| spilling.data)
}

impl DisplayAs for SpillingJoinExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.join.fmt_as(t, f)
    }
}

impl ExecutionPlan for SpillingJoinExec {
    fn name(&self) -> &str {
        "SpillingJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.join.input_distribution_requirements()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
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
        let join: Arc<dyn ExecutionPlan> = Arc::clone(&self.join) as _;
        Self::with_inputs(&join, children)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let join = self.join.builder().reset_state().build()?;
        Ok(Arc::new(Self::new(Arc::new(join))))
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
}

#[cfg(test)]
mod tests;
