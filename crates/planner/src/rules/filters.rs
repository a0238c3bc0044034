//! Runtime filters for scans that the cut has put into other stages than their join.
//!
//! ```text
//!   HashJoin (built side copied)              HashJoin
//!     Broadcast ..                     ►        RuntimeFilter  id 7, keys
//!     Exchange                                    Broadcast ..
//!       Scan   filter of the join               Exchange
//!                                                 Scan   awaits 7
//! ```

use std::sync::Arc;

use datafusion::common::{NullEquality, Result};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use granary_common::Random;
use granary_execution::{ColocatedJoinExec, PartScanExec, RuntimeFilterExec};

type Plan = Arc<dyn ExecutionPlan>;
/// A leaf with its scans changed; `None` when none of them is.
pub type Changed = Result<Option<Plan>>;
/// What changes one scan.
pub type ChangeScan<'a> = &'a dyn Fn(&PartScanExec) -> Changed;

/// What the rule has to know of a plan that was cut.
pub struct Cut<'a> {
    /// Whether what is below an operator runs in another stage.
    pub is_boundary: &'a dyn Fn(&Plan) -> bool,
    /// Changes the scans of a leaf that has one for each task.
    pub change_scans: &'a dyn Fn(&Plan, ChangeScan<'_>) -> Changed,
    /// Makes the names of filters.
    pub random: &'a dyn Random,
}

/// Lets joins that copy their built side tell its keys to the scans of other stages. Joins below the
/// probed side of a colocated join tell those of their own stage in the same way: the engine's filter
/// makes all partitions wait for each other, and a partition in which nothing was built never asks
/// for probed rows.
pub fn tell_other_stages(plan: Plan, cut: &Cut<'_>) -> Result<Plan> {
    Ok(told(&plan, false, cut)?.unwrap_or(plan))
}

/// `alone`: whether some partitions may run while others never do.
fn told(plan: &Plan, alone: bool, cut: &Cut<'_>) -> Changed {
    let mut changed = false;
    let mut inputs = Vec::with_capacity(plan.children().len());
    for (side, input) in plan.children().into_iter().enumerate() {
        let new = told(input, runs_alone(plan, side, alone, cut), cut)?;
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

fn runs_alone(plan: &Plan, side: usize, alone: bool, cut: &Cut<'_>) -> bool {
    // Whatever asks for all of its input's partitions at once.
    let asks_all = plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || (cut.is_boundary)(plan)
        || (plan.is::<HashJoinExec>() && side == 0);
    let probed = plan.is::<ColocatedJoinExec>() && side == 1;
    (alone && !asks_all) || probed
}

fn with_inputs(node: &Plan, inputs: Vec<Plan>) -> Result<Plan> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(inputs, options)
}

/// The join that tells, if a scan elsewhere has its filter. Every task of such a join knows all keys
/// only if each of them builds the whole side.
fn telling(join: &HashJoinExec, alone: bool, cut: &Cut<'_>) -> Changed {
    let produced = join.dynamic_expressions_produced();
    let filter = produced.first().and_then(|filter| filter.expression_id());
    let whole = *join.partition_mode() == PartitionMode::CollectLeft;
    let Some(filter) = filter.filter(|_| whole) else { return Ok(None) };
    let builder = || match alone {
        true => join.builder().reset_state(), // Without the engine's filter.
        false => join.builder(),
    };
    if join.null_equality() == NullEquality::NullEqualsNothing && !join.null_aware {
        let id = cut.random.next_u64();
        if let Some(right) = awaiting(join.right(), filter, id, alone, cut)? {
            let keys = join.on().iter().map(|(built, _)| Arc::clone(built)).collect();
            let left = Arc::new(RuntimeFilterExec::new(Arc::clone(join.left()), keys, id));
            let telling = builder().with_new_children(vec![left, right])?.recompute_properties();
            return telling.build_exec().map(Some);
        }
    }
    match alone {
        true => builder().build_exec().map(Some),
        false => Ok(None),
    }
}

/// `plan` with the scans that have the filter waiting for it, where they are beyond a boundary.
fn awaiting(plan: &Plan, filter: u64, id: u64, beyond: bool, cut: &Cut<'_>) -> Changed {
    let await_it = |scan: &PartScanExec| -> Changed {
        Ok(scan.awaiting(filter, id)?.map(|scan| Arc::new(scan) as Plan))
    };
    if plan.children().is_empty() {
        return match (beyond, plan.downcast_ref::<PartScanExec>()) {
            (false, _) => Ok(None),
            (true, Some(scan)) => await_it(scan),
            (true, None) => (cut.change_scans)(plan, &await_it),
        };
    }
    let beyond = beyond || (cut.is_boundary)(plan);
    let mut changed = false;
    let mut inputs = Vec::with_capacity(plan.children().len());
    for input in plan.children() {
        let new = awaiting(input, filter, id, beyond, cut)?;
        changed |= new.is_some();
        inputs.push(new.unwrap_or_else(|| Arc::clone(input)));
    }
    if !changed {
        return Ok(None);
    }
    with_inputs(plan, inputs).map(Some)
}
