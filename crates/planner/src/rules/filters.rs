//! Runtime filters of joins, for scans in whatever stage they are.
//!
//! ```text
//!   HashJoin (built side collected)           HashJoin
//!     Broadcast ..                     ►        RuntimeFilter  id 7, keys
//!     Exchange                                    Broadcast ..
//!       Scan   filter of the join               Exchange
//!                                                 Scan   looks for 7
//! ```
//!
//! The engine's own filter does not reach scans of other stages, and within a stage it costs a look
//! into the join's hash table for each row, which the join then repeats; a bitmap of the keys, or a
//! set of their hashes, takes a fraction of that. It also makes all partitions of the join wait until
//! each of them has been asked for a row; some never are, for example below a join that has built
//! nothing for them, and then the query would hang. So this rule puts ours in its place wherever the
//! probed side has scans, and takes the engine's away wherever partitions could wait for each other.

use std::sync::Arc;

use datafusion::common::{NullEquality, Result};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};
use granary_common::Random;
use granary_execution::part_scan::statistics::of_scan;
use granary_execution::{Announced, PartScanExec, RuntimeFilterExec};

/// Rows of every table below a built side for which scans of other stages wait.
const SMALL_ROWS_MAX: usize = 1 << 14;

type Plan = Arc<dyn ExecutionPlan>;
/// A leaf with its scans changed; `None` when none of them is.
pub type Changed = Result<Option<Plan>>;
/// What changes one scan.
pub type ChangeScan<'a> = &'a dyn Fn(&PartScanExec) -> Changed;

/// What the rule has to know of how a plan is cut.
pub struct Cut<'a> {
    /// Whether what is below an operator runs in another stage.
    pub is_boundary: &'a dyn Fn(&Plan) -> bool,
    /// Changes the scans of a leaf that has one for each task.
    pub change_scans: &'a dyn Fn(&Plan, ChangeScan<'_>) -> Changed,
    /// Whether partitions of a stage are asked for rows by several tasks.
    pub several_tasks: bool,
    /// Makes the names of filters.
    pub random: &'a dyn Random,
}

/// Lets joins tell the keys of their built side to the scans of the other one.
pub fn tell_scans(plan: Plan, cut: &Cut<'_>) -> Result<Plan> {
    Ok(told(&plan, cut.several_tasks, cut)?.unwrap_or(plan))
}

/// `alone`: whether some partitions may run while others never do.
fn told(plan: &Plan, alone: bool, cut: &Cut<'_>) -> Changed {
    let mut changed = false;
    let mut inputs = Vec::with_capacity(plan.children().len());
    for (side, input) in plan.children().into_iter().enumerate() {
        let alone = cut.several_tasks || runs_alone(plan, side, alone);
        let new = told(input, alone, cut)?;
        changed |= new.is_some();
        inputs.push(new.unwrap_or_else(|| Arc::clone(input)));
    }
    let plan = if changed { with_inputs(plan, inputs)? } else { Arc::clone(plan) };
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(telling) = telling(join, alone, cut)?
    {
        return Ok(Some(telling));
    }
    Ok(changed.then_some(plan))
}

/// Whether partitions of input `side` may be asked for rows while others never are, in a plan of one
/// task: a join partition by partition does not ask for what cannot match.
fn runs_alone(plan: &Plan, side: usize, alone: bool) -> bool {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return match (side, *join.partition_mode()) {
            (0, PartitionMode::CollectLeft) => false,
            (0, _) => alone,
            (_, PartitionMode::CollectLeft) => alone,
            (_, _) => true,
        };
    }
    // Whatever asks for all of its input's partitions at once.
    let asks_all = plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>();
    plan.is::<SortMergeJoinExec>() || (alone && !asks_all)
}

fn with_inputs(node: &Plan, inputs: Vec<Plan>) -> Result<Plan> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(inputs, options)
}

/// The join that tells, or else one without a filter for which partitions would wait; `None` where
/// nothing is to be told and the engine's filter does no harm. A task knows all keys if it collects the whole side; if the side
/// is dealt out, each partition tells of its own, and scans put them together.
fn telling(join: &HashJoinExec, alone: bool, cut: &Cut<'_>) -> Changed {
    let produced = join.dynamic_expressions_produced();
    let filter = produced.first().and_then(|filter| filter.expression_id());
    let Some(filter) = filter else { return Ok(None) };
    let dealt = *join.partition_mode() == PartitionMode::Partitioned;
    // Partitions of a join that deals out both sides wait only for those that still run.
    let waits = alone && !dealt && join.right().output_partitioning().partition_count() > 1;
    if join.null_equality() == NullEquality::NullEqualsNothing && !join.null_aware {
        let id = cut.random.next_u64();
        let is_near = is_small(join.left());
        let mut looking = Looking { filter, id, afar: false, is_near, cut };
        if let Some(right) = looking.scans_of(join.right(), false)? {
            let keys = join.on().iter().map(|(built, _)| Arc::clone(built)).collect();
            let announced = Announced { id, afar: looking.afar, dealt };
            let left = RuntimeFilterExec::new(Arc::clone(join.left()), keys, announced);
            // Without the engine's filter.
            let telling = join.builder().reset_state();
            let telling = telling.with_new_children(vec![Arc::new(left), right])?;
            return telling.recompute_properties().build_exec().map(Some);
        }
    }
    match waits {
        true => join.builder().reset_state().build_exec().map(Some),
        false => Ok(None),
    }
}

/// Whether `plan` does nothing but read few rows.
fn is_small(plan: &Plan) -> bool {
    if let Some(scan) = plan.downcast_ref::<PartScanExec>() {
        let rows = of_scan(scan.spec(), &scan.facts().summaries).num_rows;
        return rows.get_value().is_some_and(|rows| *rows <= SMALL_ROWS_MAX);
    }
    let inputs = plan.children();
    !inputs.is_empty() && inputs.into_iter().all(is_small)
}

/// Makes scans look for a filter of this plan under its name.
struct Looking<'a> {
    filter: u64,
    id: u64,
    /// Whether one of them is beyond a boundary.
    afar: bool,
    /// Whether those beyond a boundary should wait a moment, since the filter is made in no time.
    is_near: bool,
    cut: &'a Cut<'a>,
}

impl Looking<'_> {
    fn scans_of(&mut self, plan: &Plan, beyond: bool) -> Changed {
        if plan.children().is_empty() {
            let changed = self.scan(plan, beyond)?;
            self.afar |= beyond && changed.is_some();
            return Ok(changed);
        }
        let beyond = beyond || (self.cut.is_boundary)(plan);
        let mut changed = false;
        let mut inputs = Vec::with_capacity(plan.children().len());
        for input in plan.children() {
            let new = self.scans_of(input, beyond)?;
            changed |= new.is_some();
            inputs.push(new.unwrap_or_else(|| Arc::clone(input)));
        }
        match changed {
            true => with_inputs(plan, inputs).map(Some),
            false => Ok(None),
        }
    }

    fn scan(&self, plan: &Plan, beyond: bool) -> Changed {
        let is_near = beyond && self.is_near;
        let look = |scan: &PartScanExec| -> Changed {
            Ok(scan.awaiting(self.filter, self.id, is_near)?.map(|scan| Arc::new(scan) as Plan))
        };
        match plan.downcast_ref::<PartScanExec>() {
            Some(scan) => look(scan),
            None => (self.cut.change_scans)(plan, &look),
        }
    }
}
