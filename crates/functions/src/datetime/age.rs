//! `age`: how many whole units lie between two times, or years, months, days and the rest.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
    TimestampSecondType,
};
use chrono::{Datelike, NaiveDateTime};
use datafusion::common::{Result, exec_err};

use super::civil::{seconds, time_of};
use crate::rows::texts;
use crate::scalar::{Arity, Scalar};

pub(super) const AGE: Scalar = Scalar {
    name: "age",
    arity: Arity::Between(2, 3),
    returns: |types| match types.len() {
        2 => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
        _ => Ok(DataType::Int64),
    },
    kernel: |arguments| match arguments {
        [to, from] => apart(from, to),
        _ => age(arguments),
    },
};

/// `age(to, from)`, as PostgreSQL has it.
fn apart(from: &ArrayRef, to: &ArrayRef) -> Result<ArrayRef> {
    let microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
    let (from, to) = (cast(from, &microseconds)?, cast(to, &microseconds)?);
    let (from, to) = (
        from.as_primitive::<TimestampMicrosecondType>(),
        to.as_primitive::<TimestampMicrosecondType>(),
    );
    let time = |ticks: Option<i64>| {
        chrono::DateTime::from_timestamp_micros(ticks?).map(|time| time.naive_utc())
    };
    let pairs = from.iter().zip(to.iter());
    let ages: IntervalMonthDayNanoArray = pairs
        .map(|(from, to)| {
            let (from, to) = (time(from)?, time(to)?);
            Some(match from <= to {
                true => by_fields(from, to),
                false => {
                    let other = by_fields(to, from);
                    let (months, days) = (-other.months, -other.days);
                    IntervalMonthDayNano::new(months, days, -other.nanoseconds)
                }
            })
        })
        .collect();
    Ok(Arc::new(ages))
}

/// Each field of the later time less that of the earlier one; a day that is missing is lent by the
/// earlier time's month.
fn by_fields(from: NaiveDateTime, to: NaiveDateTime) -> IntervalMonthDayNano {
    const DAY: i64 = 86_400_000_000_000;
    let month = |time: NaiveDateTime| time.year() * 12 + time.month0() as i32;
    let mut months = month(to) - month(from);
    let mut days = to.day() as i32 - from.day() as i32;
    let mut rest = (to.time() - from.time()).num_nanoseconds().unwrap_or_default();
    if rest < 0 {
        rest += DAY;
        days -= 1;
    }
    if days < 0 {
        days += i32::from(from.num_days_in_month());
        months -= 1;
    }
    IntervalMonthDayNano::new(months, days, rest)
}

fn age(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let units = texts(&arguments[0])?;
    let Some(unit) = units.iter().next().flatten() else {
        return Ok(Arc::new(Int64Array::new_null(arguments[1].len())));
    };
    let lower = unit.to_ascii_lowercase();
    let (seconds_each, months_each) = match lower.trim_end_matches('s') {
        "second" => (1, 0),
        "minute" => (60, 0),
        "hour" => (3_600, 0),
        "day" => (86_400, 0),
        "week" => (604_800, 0),
        "month" => (0, 1),
        "quarter" => (0, 3),
        "year" => (0, 12),
        _ => return exec_err!("age: '{unit}' is not a unit of time"),
    };
    let (from, to) = (seconds(&arguments[1])?, seconds(&arguments[2])?);
    let (from, to) =
        (from.as_primitive::<TimestampSecondType>(), to.as_primitive::<TimestampSecondType>());
    let ages: Int64Array = from
        .iter()
        .zip(to.iter())
        .map(|(from, to)| {
            let (from, to) = (from?, to?);
            Some(match months_each {
                0 => (to - from) / seconds_each,
                months => whole_months(time_of(from)?, time_of(to)?) / months,
            })
        })
        .collect();
    Ok(Arc::new(ages))
}

fn whole_months(from: NaiveDateTime, to: NaiveDateTime) -> i64 {
    if to < from {
        return -whole_months(to, from);
    }
    let months = |time: NaiveDateTime| i64::from(time.year()) * 12 + i64::from(time.month0());
    let is_begun = (to.day(), to.time()) < (from.day(), from.time());
    months(to) - months(from) - i64::from(is_begun)
}
