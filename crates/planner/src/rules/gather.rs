//! Aggregations into few groups end in one place. Dealing out a handful of rows by their hash takes a
//! stage of its own: a plan to each of its tasks, and a connection from each to every task below.
//!
//! ```text
//!   FinalPartitioned                 Final
//!     (by hash to all tasks)    ►      (all to one place)
//!       Partial                          Partial
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::StatisticsContext;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs};

/// Rows that come together in one place at most: adding them up there costs less than a stage does.
const GATHERED_ROWS_MAX: usize = 1 << 17;

/// The last step of an aggregation over all its input, if this has few groups and small states.
/// `pieces` are the partitions of all tasks, each of which may know every group.
pub fn gathered(last: &AggregateExec, pieces: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else { return Ok(None) };
    let two_steps =
        *last.mode() == AggregateMode::FinalPartitioned && *first.mode() == AggregateMode::Partial;
    if !two_steps || !first.group_expr().is_single() || !has_small_states(first) {
        return Ok(None);
    }
    match groups_of(first)? {
        Some(groups) if groups.saturating_mul(pieces) <= GATHERED_ROWS_MAX => {}
        _ => return Ok(None),
    }
    let whole = AggregateExec::try_new(
        AggregateMode::Final,
        last.group_expr().clone(),
        last.aggr_expr().to_vec(),
        last.filter_expr().to_vec(),
        Arc::clone(last.input()),
        last.input_schema(),
    )?;
    Ok(Some(Arc::new(whole.with_limit_options(last.limit_options()))))
}

/// Whether a group's state is about as large as a row: not a set of all its values.
fn has_small_states(first: &AggregateExec) -> bool {
    let schema = first.schema();
    let states = schema.fields().iter().skip(first.group_expr().num_group_exprs());
    states.map(|state| state.data_type()).all(|state| {
        state.is_primitive()
            || matches!(
                state,
                DataType::Boolean | DataType::Utf8 | DataType::Utf8View | DataType::Null
            )
    })
}

/// At most about how many groups `first` makes, as far as statistics say.
fn groups_of(first: &AggregateExec) -> Result<Option<usize>> {
    let mut groups = 1_usize;
    for (expression, _) in first.group_expr().expr() {
        match values_of(expression, first.input())? {
            Some(values) => groups = groups.saturating_mul(values),
            None => return Ok(None),
        }
    }
    Ok(Some(groups))
}

/// At most about how many values `expression` takes over the rows of `input`.
fn values_of(
    expression: &Arc<dyn PhysicalExpr>,
    input: &Arc<dyn ExecutionPlan>,
) -> Result<Option<usize>> {
    if let Some(projection) = input.downcast_ref::<ProjectionExec>()
        && let Some(column) = expression.downcast_ref::<Column>()
        && let Some(projected) = projection.expr().get(column.index())
    {
        return values_of(&projected.expr, projection.input());
    }
    let statistics = StatisticsContext::new().compute(&**input, &StatisticsArgs::new())?;
    Ok(values_over(expression, &statistics))
}

/// At most about how many values a column has, NULL included: as many as are known to be there, or as
/// lie between the least and the greatest.
fn values_in(column: &ColumnStatistics) -> Option<usize> {
    if let Some(distinct) = column.distinct_count.get_value() {
        return Some(distinct.saturating_add(1));
    }
    let whole = |value: &ScalarValue| match value {
        ScalarValue::Date32(Some(day)) => Some(i128::from(*day)),
        ScalarValue::Boolean(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int8(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int16(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int32(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int64(Some(value)) => Some(i128::from(*value)),
        ScalarValue::UInt8(Some(value)) => Some(i128::from(*value)),
        ScalarValue::UInt16(Some(value)) => Some(i128::from(*value)),
        ScalarValue::UInt32(Some(value)) => Some(i128::from(*value)),
        ScalarValue::UInt64(Some(value)) => Some(i128::from(*value)),
        _ => None,
    };
    let (least, greatest) = (column.min_value.get_value()?, column.max_value.get_value()?);
    if least == greatest {
        return Some(2);
    }
    let values = whole(greatest)?.checked_sub(whole(least)?)?.checked_add(2)?;
    usize::try_from(values).ok()
}

/// Like [`values_of`], over columns with these statistics. A value of an expression of several columns
/// belongs to at least one combination of theirs.
fn values_over(expression: &Arc<dyn PhysicalExpr>, statistics: &Statistics) -> Option<usize> {
    let of_time = part_of_time(expression, statistics);
    let mut columns = Vec::new();
    let walked = expression.apply(|node| {
        if let Some(column) = node.downcast_ref::<Column>()
            && !columns.contains(&column.index())
        {
            columns.push(column.index());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok()?;
    // Functions without columns may give another value for each row.
    if columns.is_empty() {
        return expression.is::<Literal>().then_some(1);
    }
    let values = columns.iter().map(|at| statistics.column_statistics.get(*at).and_then(values_in));
    let combined = values.into_iter().try_fold(1_usize, |all, of| Some(all.saturating_mul(of?)));
    match (combined, of_time) {
        (Some(combined), Some(of_time)) => Some(combined.min(of_time)),
        (combined, of_time) => combined.or(of_time),
    }
}

/// How many values a part of a date can take.
fn part_of_time(expression: &Arc<dyn PhysicalExpr>, statistics: &Statistics) -> Option<usize> {
    let call = expression.downcast_ref::<ScalarFunctionExpr>()?;
    let [part, time] = call.args() else { return None };
    if call.fun().name() != "date_part" {
        return None;
    }
    let part = part.downcast_ref::<Literal>()?.value().try_as_str().flatten()?;
    let values = match part.to_ascii_lowercase().as_str() {
        "year" => years(statistics.column_statistics.get(time.downcast_ref::<Column>()?.index())?)?,
        "quarter" => 4,
        "month" => 12,
        "week" => 53,
        "day" => 31,
        "dow" | "isodow" => 7,
        "doy" => 366,
        "hour" => 24,
        "minute" => 60,
        _ => return None,
    };
    Some(values + 1)
}

/// The years between the first and the last day of a column.
fn years(column: &ColumnStatistics) -> Option<usize> {
    let day = |value: Option<&ScalarValue>| match value? {
        ScalarValue::Date32(Some(day)) => Some(i64::from(*day)),
        _ => None,
    };
    let first = day(column.min_value.get_value())?;
    let last = day(column.max_value.get_value())?;
    usize::try_from(last.checked_sub(first)? / 365 + 1).ok()
}

#[cfg(test)]
mod tests {
    use datafusion::common::stats::Precision;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    fn over(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
        let known = |distinct| {
            ColumnStatistics::new_unknown().with_distinct_count(Precision::Inexact(distinct))
        };
        let day = |day| Precision::Inexact(ScalarValue::Date32(Some(day)));
        let days = ColumnStatistics::new_unknown().with_min_value(day(0)).with_max_value(day(800));
        let column_statistics = vec![known(9), known(4), ColumnStatistics::new_unknown(), days];
        let rows = Precision::Absent;
        values_over(
            expression,
            &Statistics { num_rows: rows, total_byte_size: rows, column_statistics },
        )
    }

    #[test]
    fn values_are_bounded_by_those_of_the_columns() {
        use datafusion::arrow::datatypes::{Field, Schema};
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![
            field("a"),
            field("b"),
            field("unknown"),
            Field::new("day", DataType::Date32, true),
        ]);
        let column = |name: &str| col(name, &schema).unwrap();
        let sum = |left, right| binary(left, Operator::Plus, right, &schema).unwrap();
        let part = |part: &str, of| {
            let arguments = vec![lit(part), of];
            let options = Arc::new(Default::default());
            let function = datafusion::functions::datetime::date_part();
            let call = ScalarFunctionExpr::try_new(function, arguments, &schema, options);
            Arc::new(call.unwrap()) as Arc<dyn PhysicalExpr>
        };
        for (expression, expected) in [
            (column("a"), Some(10)),
            (sum(column("a"), column("b")), Some(50)),
            (sum(column("a"), column("a")), Some(10)),
            (sum(column("a"), column("unknown")), None),
            (lit(1_i64), Some(1)),
            (column("day"), Some(802)),
            (part("year", column("day")), Some(4)),
            (part("MONTH", column("day")), Some(13)),
            (part("epoch", column("day")), Some(802)),
        ] {
            assert_eq!(over(&expression), expected, "{expression}");
        }
    }
}
