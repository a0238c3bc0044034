//! Partitions of a join never wait for one that nobody asks for rows.

mod support;

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use granary_execution::{PartScanExec, RuntimeFilterExec};
use granary_planner::distribution::told_on_one_node;
use support::plans::{Plan, hashed, in_turn, join_of, partitioned, spread};

/// Who fills the runtime filter of the lowest join.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    /// The engine, whose partitions wait for each other.
    ByTheEngine,
    ByRuntimeFilterExec,
    Never,
}

fn collected(input: Plan) -> Plan {
    Arc::new(CoalescePartitionsExec::new(input))
}

/// A join that collects one side and passes on rows of the other.
fn small(probed: Plan, nulls: NullEquality) -> Plan {
    let built = collected(spread(2));
    Arc::new(join_of(JoinType::RightSemi, built, probed, PartitionMode::CollectLeft, nulls))
}

fn lowest(plan: &Plan) -> Filled {
    let mut found = None;
    plan.apply(|node| {
        if let Some(join) = node.downcast_ref::<HashJoinExec>()
            && *join.partition_mode() == PartitionMode::CollectLeft
        {
            let engine = !join.dynamic_expressions_produced().is_empty();
            let own = join.left().is::<RuntimeFilterExec>();
            let looked_for = join.right().exists(|node| {
                let scan = node.downcast_ref::<PartScanExec>();
                Ok(scan.is_some_and(|scan| !scan.awaited().is_empty()))
            })?;
            // Scans may also look for what joins above this one tell.
            assert!(!own || looked_for);
            found = Some(match (engine, own) {
                (true, false) => Filled::ByTheEngine,
                (false, true) => Filled::ByRuntimeFilterExec,
                (false, false) => Filled::Never,
                (true, true) => panic!("filled twice"),
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("a walk");
    found.expect("a join")
}

fn check(name: &str, plan: Plan, expected: Filled) {
    let options = ConfigOptions::default();
    let pushed = FilterPushdown::new_post_optimization().optimize(plan, &options);
    let pushed = pushed.expect("pushed down");
    assert_eq!(lowest(&pushed), Filled::ByTheEngine, "{name}");
    let told = told_on_one_node(pushed).expect("told");
    let text = displayable(told.as_ref()).indent(true).to_string();
    assert_eq!(lowest(&told), expected, "{name}\n{text}");
}

#[test]
fn joins_tell_the_scans_of_their_other_side() {
    let plain = || small(hashed(spread(2), 2), NullEquality::NullEqualsNothing);
    check("alone", plain(), Filled::ByRuntimeFilterExec);
    let dealt = partitioned(hashed(spread(2), 2), hashed(plain(), 2));
    check("below a join that deals it out", dealt, Filled::ByRuntimeFilterExec);
    let built = partitioned(plain(), hashed(spread(2), 2));
    check("the built side", built, Filled::ByRuntimeFilterExec);
}

#[test]
fn the_engine_fills_filters_of_joins_whose_partitions_all_run() {
    let nulls = || small(hashed(spread(2), 2), NullEquality::NullEqualsNull);
    check("alone", nulls(), Filled::ByTheEngine);
    let dealt = partitioned(hashed(spread(2), 2), hashed(nulls(), 2));
    check("below a join that deals it out", dealt, Filled::ByTheEngine);
}

#[test]
fn it_does_not_where_some_may_never_run() {
    let plain = || small(hashed(spread(2), 2), NullEquality::NullEqualsNothing);
    let below = partitioned(hashed(spread(2), 2), plain());
    check("below a join of partitions", below, Filled::ByRuntimeFilterExec);
    let deep = partitioned(hashed(spread(2), 2), partitioned(plain(), hashed(spread(2), 2)));
    check("built below a join of partitions", deep, Filled::ByRuntimeFilterExec);
    let nulls = small(hashed(spread(2), 2), NullEquality::NullEqualsNull);
    check("where NULL meets NULL", partitioned(hashed(spread(2), 2), nulls), Filled::Never);
    let nulls = small(hashed(spread(2), 2), NullEquality::NullEqualsNull);
    let turns = partitioned(hashed(spread(2), 2), in_turn(nulls, 2));
    check("dealt in turn", turns, Filled::ByTheEngine);
}
