//! `age`: how many whole units lie between two times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, TimestampSecondType};
use chrono::{Datelike, NaiveDateTime};
use datafusion::common::{Result, exec_err};

use super::civil::{seconds, time_of};
use crate::rows::texts;
use crate::scalar::{Arity, Scalar};

pub(super) const AGE: Scalar =
    Scalar { name: "age", arity: Arity::Exactly(3), returns: |_| Ok(DataType::Int64), kernel: age };

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
