//! `INTERVAL (expression) UNIT`: an interval whose length is computed.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit,
};
use datafusion::common::{Result, exec_err};

use crate::scalar::{Arity, Scalar};

pub(super) const TO_INTERVAL: Scalar = Scalar {
    name: "toInterval",
    arity: Arity::Exactly(2),
    returns: |_| Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
    kernel: to_interval,
};

fn to_interval(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers = cast(&arguments[0], &DataType::Int64)?;
    let units = cast(&arguments[1], &DataType::Utf8)?;
    let units = units.as_string::<i32>();
    let intervals: IntervalMonthDayNanoArray = numbers
        .as_primitive::<Int64Type>()
        .iter()
        .zip(units.iter())
        .map(|(number, unit)| match (number, unit) {
            (Some(number), Some(unit)) => interval(number, unit).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(intervals))
}

/// How long intervals are, to compare them.
pub const INTERVAL_LENGTH: &str = "__granary_interval_length";

/// In nanoseconds, of which a month has 30 days' and a day 24 hours'.
pub(super) const LENGTH: Scalar = Scalar {
    name: INTERVAL_LENGTH,
    arity: Arity::Exactly(1),
    returns: |_| Ok(DataType::Decimal128(38, 0)),
    kernel: |arguments| {
        let intervals = cast(&arguments[0], &DataType::Interval(IntervalUnit::MonthDayNano))?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let lengths = intervals.unary::<_, Decimal128Type>(length);
        Ok(Arc::new(lengths.with_precision_and_scale(38, 0)?))
    },
};

fn length(interval: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * DAY + i128::from(interval.nanoseconds)
}

fn interval(number: i64, unit: &str) -> Result<IntervalMonthDayNano> {
    const SECOND: i64 = 1_000_000_000;
    let (months, days, nanoseconds) = match unit.to_ascii_lowercase().trim_end_matches('s') {
        "year" => (12, 0, 0),
        "quarter" => (3, 0, 0),
        "month" => (1, 0, 0),
        "week" => (0, 7, 0),
        "day" => (0, 1, 0),
        "hour" => (0, 0, 3_600 * SECOND),
        "minute" => (0, 0, 60 * SECOND),
        "second" => (0, 0, SECOND),
        "millisecond" => (0, 0, SECOND / 1_000),
        "microsecond" => (0, 0, 1_000),
        "nanosecond" => (0, 0, 1),
        other => return exec_err!("'{other}' is not a unit of time"),
    };
    let whole = |factor: i64| number.checked_mul(factor).and_then(|n| i32::try_from(n).ok());
    match (whole(months), whole(days), number.checked_mul(nanoseconds)) {
        (Some(months), Some(days), Some(nanoseconds)) => {
            Ok(IntervalMonthDayNano { months, days, nanoseconds })
        }
        _ => exec_err!("an interval of {number} {unit} is too long"),
    }
}
