//! Which aggregations a projection answers.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions::datetime::expr_fn::now;
use datafusion::functions::math::expr_fn::random;
use datafusion::functions::string::expr_fn::lower;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::expr_fn::{
    avg, count, count_distinct, first_value, max, min, sum, var_pop,
};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, col, lit};
use granary_catalog::Fold;
use granary_execution::row_expression::{settled, settled_aggregate};

use super::matching::{Answer, Kept, Outcome, Shape, answer, comparable, comparable_call};

/// Columns: `c0` a number, `c1` a text, `c2` a number, `c3` one that may be NULL.
fn schema() -> DFSchema {
    let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
    let fields = vec![
        field("c0", DataType::Int64, false),
        field("c1", DataType::Utf8View, false),
        field("c2", DataType::Int32, false),
        field("c3", DataType::Int32, true),
    ];
    DFSchema::try_from(Schema::new(fields)).unwrap()
}

fn options() -> Arc<ConfigOptions> {
    Arc::new(ConfigOptions::default())
}

/// As CREATE TABLE binds it: a mean is a sum and a count.
fn kept(keys: &[Expr], calls: &[Expr]) -> Kept {
    let (schema, options) = (schema(), options());
    let of = |key: &Expr| comparable(settled(key.clone(), &schema, &options).unwrap());
    let mut values = Vec::new();
    for call in calls {
        let call = settled_aggregate(call.clone(), &schema, &options).unwrap();
        let other = |func| AggregateFunction { func, ..call.clone() };
        let parts = match call.func.name() {
            "count" => vec![(Fold::Count, call)],
            "sum" => vec![(Fold::Sum, call)],
            "min" => vec![(Fold::Min, call)],
            "max" => vec![(Fold::Max, call)],
            _ => vec![(Fold::Sum, other(sum_udaf())), (Fold::Count, other(count_udaf()))],
        };
        for (fold, call) in parts {
            let call = Expr::AggregateFunction(call);
            let call = settled_aggregate(call, &schema, &options).unwrap();
            values.push((fold, comparable_call(call)));
        }
    }
    Kept { keys: keys.iter().map(of).collect(), values, merges: Vec::new() }
}

/// A projection by the text, and by the number in tens.
fn example() -> Kept {
    let filtered = sum(col("c2")).filter(col("c0").gt(lit(5_i64))).build().unwrap();
    kept(
        &[col("c1"), col("c0") / lit(10_i64)],
        &[count(lit(1_i64)), sum(col("c2")), min(col("c3")), avg(col("c3")), filtered],
    )
}

fn answered(
    groups: &[Expr],
    aggregates: &[Expr],
    filters: &[Expr],
) -> Result<Answer, &'static str> {
    let shape = Shape {
        groups: groups.to_vec(),
        aggregates: aggregates.to_vec(),
        filters: filters.to_vec(),
    };
    answer(&shape, &example(), &schema(), &options())
}

#[track_caller]
fn check(aggregate: Expr, expected: Result<(Outcome, &[&str]), &str>) {
    let found = answered(&[col("c1")], std::slice::from_ref(&aggregate), &[]);
    match (found, expected) {
        (Ok(found), Ok((outcome, inputs))) => {
            assert_eq!(found.results, [outcome], "{aggregate}");
            let of_projection: Vec<String> = found
                .calls
                .iter()
                .map(|call| {
                    let distinct = if call.distinct { "DISTINCT " } else { "" };
                    let input = &found.inputs[call.input].of_projection;
                    format!("{}({distinct}{input})", call.func.name())
                })
                .collect();
            assert_eq!(of_projection, inputs, "{aggregate}");
        }
        (Err(found), Err(expected)) => assert_eq!(found, expected, "{aggregate}"),
        (found, expected) => panic!("{aggregate}: {found:?} and not {expected:?}"),
    }
}

const NOT_KEPT: Result<(Outcome, &[&str]), &str> = Err("an aggregate is not kept");

#[test]
fn aggregates_that_are_kept() {
    let filtered = |call: Expr| call.filter(col("c0").gt(lit(5_i64))).build().unwrap();
    check(count(lit(1_i64)), Ok((Outcome::Count(0), &["sum(value_0)"])));
    check(count(col("c2")), Ok((Outcome::Count(0), &["sum(value_0)"])));
    check(sum(col("c2")).alias("s"), Ok((Outcome::Call(0), &["sum(value_1)"])));
    check(min(col("c3")), Ok((Outcome::Call(0), &["min(value_2)"])));
    check(count(col("c3")), Ok((Outcome::Count(0), &["sum(value_4)"])));
    check(
        avg(col("c3")),
        Ok((Outcome::Mean { sum: 0, count: 1 }, &["sum(value_3)", "sum(value_4)"])),
    );
    check(filtered(sum(col("c2"))), Ok((Outcome::Call(0), &["sum(value_5)"])));
    check(filtered(sum(col("c3"))), NOT_KEPT);
    check(filtered(count(lit(1_i64))), NOT_KEPT);
    for other in [
        sum(col("c0")),
        sum(col("c3")),
        max(col("c3")),
        avg(col("c2")),
        sum(col("c2") + lit(1_i32)),
        var_pop(col("c2")),
        count_distinct(col("c2")),
    ] {
        check(other, NOT_KEPT);
    }
    check(
        sum(col("c2") * cast(random(), DataType::Int32)),
        Err("an aggregate is not the same every time"),
    );
    let first = first_value(col("c1"), vec![col("c0").sort(true, false)]);
    check(first, Err("an aggregate depends on the order of rows"));
}

#[test]
fn aggregates_of_keys() {
    check(max(col("c1")), Ok((Outcome::Call(0), &["max(key_0)"])));
    check(min(lower(col("c1"))), Ok((Outcome::Call(0), &["min(lower(key_0))"])));
    check(
        count_distinct(col("c0") / lit(10_i64)),
        Ok((Outcome::Call(0), &["count(DISTINCT key_1)"])),
    );
    // How many rows have a key matters to these.
    check(sum(col("c0") / lit(10_i64)), NOT_KEPT);
    check(count(lower(col("c1"))), NOT_KEPT);
}

#[test]
fn groups_and_conditions_over_keys() {
    let rows = [count(lit(1_i64))];
    let tens = || col("c0") / lit(10_i64);
    for (groups, filters, expected) in [
        (vec![], vec![], Ok(())),
        (vec![col("c1"), tens()], vec![], Ok(())),
        (vec![lower(col("c1"))], vec![tens().gt(lit(3_i64))], Ok(())),
        (vec![tens() % lit(2_i64)], vec![col("c1").eq(lit("x")).or(tens().eq(lit(1_i64)))], Ok(())),
        (vec![coalesce(vec![col("c1"), lit("none")])], vec![], Ok(())),
        (vec![col("c0")], vec![], Err("it groups by more than the keys")),
        (vec![col("c2")], vec![], Err("it groups by more than the keys")),
        (vec![col("c0") / lit(100_i64)], vec![], Err("it groups by more than the keys")),
        (vec![random()], vec![], Err("it groups by more than the keys")),
        (vec![], vec![col("c0").gt(lit(3_i64))], Err("a condition is on more than the keys")),
        (
            vec![],
            vec![col("c1").eq(lit("x")), col("c3").is_null()],
            Err("a condition is on more than the keys"),
        ),
        (vec![], vec![random().gt(lit(0.5))], Err("a condition is on more than the keys")),
        // The time of a query is the same for all of it.
        (vec![], vec![cast(now(), DataType::Utf8View).gt(col("c1"))], Ok(())),
    ] {
        let found = answered(&groups, &rows, &filters).map(drop);
        assert_eq!(found, expected, "{groups:?} {filters:?}");
    }
}

#[test]
fn rows_give_what_they_are_alone() {
    let filtered = sum(col("c2")).filter(col("c0").gt(lit(5_i64))).build().unwrap();
    let calls = [count(lit(1_i64)), sum(col("c2")), count(col("c3")), filtered];
    let found = answered(&[], &calls, &[]).unwrap();
    let of_rows: Vec<String> = found.inputs.iter().map(|both| both.of_rows.to_string()).collect();
    assert_eq!(
        of_rows,
        [
            "Int64(1)",
            "CAST(c2 AS Int64)",
            "CASE WHEN c3 IS NOT NULL THEN Int64(1) ELSE Int64(0) END",
            "CASE WHEN c0 > Int64(5) IS TRUE THEN CAST(c2 AS Int64) ELSE CAST(NULL AS Int64) END",
        ]
    );
    // What two aggregates need is there once.
    let twice = answered(&[], &[avg(col("c3")), count(col("c3"))], &[]).unwrap();
    assert_eq!((twice.inputs.len(), twice.calls.len()), (2, 2));
}
