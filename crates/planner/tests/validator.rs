//! The validator lets pass what meets by one hash, and refuses what would lose rows.

mod support;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::PartitionMode;
use datafusion::physical_plan::union::UnionExec;
use granary_execution::{ColocatedAggregateExec, ColocatedJoinExec};
use granary_planner::distribution::variants;
use granary_planner::validate::validate;
use support::plans::{Plan, buckets, hashed, in_turn, join, partitioned, spread};

fn colocated(left: Plan, right: Plan) -> Plan {
    let join = join(left, right, PartitionMode::Partitioned);
    Arc::new(ColocatedJoinExec::try_new(&join).expect("a join"))
}

fn grouped(input: Plan) -> Plan {
    let key = (Arc::new(Column::new("k", 0)) as _, "k".to_owned());
    let groups = PhysicalGroupBy::new_single(vec![key]);
    let schema = input.schema();
    let aggregate = AggregateExec::try_new(
        AggregateMode::Partial,
        groups,
        vec![],
        vec![],
        Arc::clone(&input),
        schema,
    )
    .expect("an aggregation");
    Arc::new(ColocatedAggregateExec::try_new(&aggregate, input).expect("an aggregation"))
}

fn check(name: &str, plan: Plan, passes: bool) {
    let result = validate(&plan, &variants);
    assert_eq!(result.is_ok(), passes, "{name}: {result:?}");
}

#[test]
fn one_hash_passes() {
    check(
        "the engine's on both sides",
        partitioned(hashed(spread(3), 4), hashed(spread(2), 4)),
        true,
    );
    let single = || Arc::new(CoalescePartitionsExec::new(spread(2))) as Plan;
    check("all rows in one place", partitioned(single(), single()), true);
    let groups: &[&[u32]] = &[&[0, 1], &[2, 3]];
    check("the same buckets", colocated(buckets(groups), buckets(groups)), true);
    let local = colocated(buckets(groups), buckets(groups));
    check(
        "a colocated join hashed again",
        partitioned(hashed(local, 4), hashed(spread(2), 4)),
        true,
    );
    let three = colocated(colocated(buckets(groups), buckets(groups)), buckets(groups));
    check("three tables", three, true);
    check("groups of buckets", grouped(buckets(groups)), true);
    check("groups of a colocated join", grouped(colocated(buckets(groups), buckets(groups))), true);
    let with_groups = colocated(buckets(groups), grouped(buckets(groups)));
    check("a join with groups", with_groups, true);
    let collected = join(single(), spread(2), PartitionMode::CollectLeft);
    check("a collected side", Arc::new(collected), true);
}

#[test]
fn mixtures_are_refused() {
    let groups: &[&[u32]] = &[&[0, 1], &[2, 3]];
    let swapped: &[&[u32]] = &[&[2, 3], &[0, 1]];
    check("buckets against the hash", partitioned(buckets(groups), hashed(spread(2), 2)), false);
    let local = || colocated(buckets(groups), buckets(groups));
    check("a sealed join against the hash", partitioned(local(), hashed(spread(2), 2)), false);
    check("two sealed joins", partitioned(local(), local()), false);
    check("other groups", colocated(buckets(groups), buckets(swapped)), false);
    check("buckets against any", colocated(buckets(groups), spread(2)), false);
    check("other counts", partitioned(hashed(spread(2), 2), hashed(spread(2), 4)), false);
    check("dealt in turn", partitioned(in_turn(spread(3), 2), hashed(spread(2), 2)), false);
    let mixed = colocated(in_turn(buckets(groups), 2), buckets(groups));
    check("buckets dealt in turn", mixed, false);
    check("groups of any rows", grouped(spread(2)), false);
    check("groups dealt in turn", grouped(in_turn(buckets(groups), 2)), false);
    let groups_hashed = partitioned(grouped(buckets(groups)), hashed(spread(2), 2));
    check("groups against the hash", groups_hashed, false);
    let union = UnionExec::try_new(vec![buckets(&[&[0]]), buckets(&[&[1]])]).expect("a union");
    check("a union of buckets", colocated(union, buckets(groups)), false);
}

#[test]
fn what_no_leaf_may_claim() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
    check("a leaf of unknown order", Arc::new(EmptyExec::new(schema).with_partitions(2)), true);
}
