//! Dates and times beside numbers, intervals and each other.

use std::mem::take;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, lit};
use sqlparser::ast::BinaryOperator;

use granary_functions::{OF_TICKS, TICKS, call, zero_value};

/// Dates and times with numbers: days on dates, seconds on times; differences are numbers.
pub(super) fn arithmetic(
    raw: &mut RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Option<Expr> {
    let operator = match raw.op {
        BinaryOperator::Plus => Operator::Plus,
        _ => Operator::Minus,
    };
    // Of a number with a fraction the whole days or seconds count.
    match (left, right) {
        (number, DataType::Date32 | DataType::Timestamp(..))
            if number.is_numeric() && operator == Operator::Plus =>
        {
            std::mem::swap(&mut raw.left, &mut raw.right);
            arithmetic(raw, right, left)
        }
        (DataType::Date32, number) if number.is_numeric() => {
            let days = cast(take(&mut raw.left), DataType::Int32);
            let moved = binary_expr(days, operator, cast(take(&mut raw.right), DataType::Int32));
            Some(cast(cast(moved, DataType::Int32), DataType::Date32))
        }
        (time @ DataType::Timestamp(unit, _), number) if number.is_numeric() => {
            let ticks = ticks_of(take(&mut raw.left), unit)?;
            let seconds = cast(take(&mut raw.right), DataType::Int64);
            let change = match ticks_per_second(unit) {
                1 => seconds,
                factor => binary_expr(seconds, Operator::Multiply, lit(factor)),
            };
            let moved = binary_expr(ticks, operator, change);
            match unit {
                TimeUnit::Second => Some(cast(moved, time.clone())),
                _ => call(OF_TICKS, vec![moved, lit(zero_value(time)?)]).ok(),
            }
        }
        (DataType::Date32, DataType::Interval(_)) if has_hours(&raw.right) => {
            let midnight = cast(take(&mut raw.left), DataType::Timestamp(TimeUnit::Second, None));
            Some(binary_expr(midnight, operator, take(&mut raw.right)))
        }
        (DataType::Interval(_), DataType::Date32)
            if operator == Operator::Plus && has_hours(&raw.left) =>
        {
            let midnight = cast(take(&mut raw.right), DataType::Timestamp(TimeUnit::Second, None));
            Some(binary_expr(midnight, operator, take(&mut raw.left)))
        }
        (DataType::Date32, DataType::Date32) if operator == Operator::Minus => {
            let days =
                |operand: &mut Expr| cast(cast(take(operand), DataType::Int32), DataType::Int64);
            Some(binary_expr(days(&mut raw.left), operator, days(&mut raw.right)))
        }
        (DataType::Timestamp(one, _), DataType::Timestamp(other, _))
            if operator == Operator::Minus =>
        {
            let unit = one.max(other);
            let (first, second) = (ticks_in(&mut raw.left, unit)?, ticks_in(&mut raw.right, unit)?);
            let ticks = binary_expr(first, operator, second);
            Some(match ticks_per_second(unit) {
                1 => ticks,
                // With the fraction of the finer one.
                factor => {
                    let seconds = cast(ticks, DataType::Float64);
                    binary_expr(seconds, Operator::Divide, lit(factor as f64))
                }
            })
        }
        _ => None,
    }
}

/// Whether an interval is written in parts of a day, so that a date becomes a time.
fn has_hours(interval: &Expr) -> bool {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
            interval.nanoseconds != 0
        }
        Expr::ScalarFunction(call) => call.args.last().is_some_and(|unit| {
            matches!(unit, Expr::Literal(unit, _) if unit.try_as_str().flatten().is_some_and(|unit| {
                ["hour", "minute", "second"].contains(&unit.trim_end_matches('s'))
            }))
        }),
        _ => false,
    }
}

/// The ticks of a time in its own unit.
fn ticks_of(time: Expr, unit: &TimeUnit) -> Option<Expr> {
    match unit {
        TimeUnit::Second => Some(cast(time, DataType::Int64)),
        _ => call(TICKS, vec![time]).ok(),
    }
}

fn ticks_in(time: &mut Expr, unit: &TimeUnit) -> Option<Expr> {
    ticks_of(cast(take(time), DataType::Timestamp(*unit, None)), unit)
}

fn ticks_per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
