//! Comparisons with intervals, and of times with numbers.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, lit};
use granary_functions::{INTERVAL_LENGTH, call};
use sqlparser::ast::BinaryOperator;

/// The comparison that is meant, where it is one of intervals, of times of day, of differences or of a
/// time with a number.
pub(super) fn compared(
    raw: &RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Result<Option<Expr>> {
    let of_lengths = compared_lengths(raw, left, right)?;
    let found = of_lengths.or_else(|| compared_duration(raw, left, right));
    Ok(found.or_else(|| compared_instants(raw, left, right)))
}

/// A whole number beside a time is one of seconds since 1970.
fn compared_instants(raw: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let operator = comparison(&raw.op)?;
    let instant = |seconds: &Expr, zone: &Option<Arc<str>>| {
        let seconds = cast(seconds.clone(), DataType::Int64);
        cast(seconds, DataType::Timestamp(TimeUnit::Second, zone.clone()))
    };
    match (left, right) {
        (DataType::Timestamp(_, zone), number) if number.is_integer() => {
            Some(binary_expr(raw.left.clone(), operator, instant(&raw.right, zone)))
        }
        (number, DataType::Timestamp(_, zone)) if number.is_integer() => {
            Some(binary_expr(instant(&raw.left, zone), operator, raw.right.clone()))
        }
        _ => None,
    }
}

fn comparison(operator: &BinaryOperator) -> Option<Operator> {
    Some(match operator {
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        _ => return None,
    })
}

/// Intervals compare by their lengths: a day has 24 hours, a month 30 days. Times of day compare in
/// the finer of their units.
fn compared_lengths(
    raw: &RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Result<Option<Expr>> {
    let Some(operator) = comparison(&raw.op) else { return Ok(None) };
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Time64(_));
    Ok(match (left, right) {
        (DataType::Interval(_), DataType::Interval(_)) => {
            let length = |interval: &Expr| call(INTERVAL_LENGTH, vec![interval.clone()]);
            Some(binary_expr(length(&raw.left)?, operator, length(&raw.right)?))
        }
        (one, other) if is_time(one) && is_time(other) && one != other => {
            let fine = |time: &Expr| cast(time.clone(), DataType::Time64(TimeUnit::Nanosecond));
            Some(binary_expr(fine(&raw.left), operator, fine(&raw.right)))
        }
        _ => None,
    })
}

/// `a - b > INTERVAL 1 HOUR`: the difference is in seconds, so the interval becomes seconds too.
fn compared_duration(raw: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let operator = comparison(&raw.op)?;
    if left.is_integer() {
        let seconds = interval_seconds(&raw.right)?;
        return Some(binary_expr(raw.left.clone(), operator, lit(seconds)));
    }
    if right.is_integer() {
        let seconds = interval_seconds(&raw.left)?;
        return Some(binary_expr(lit(seconds), operator, raw.right.clone()));
    }
    None
}

/// The length of an interval without months.
fn interval_seconds(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _)
            if interval.months == 0 =>
        {
            Some(i64::from(interval.days) * 86_400 + interval.nanoseconds / 1_000_000_000)
        }
        _ => None,
    }
}
