//! The calendar: days and times as one number, `toYYYYMM` and its like.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampSecondType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::Result;

use super::zones::wall;
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "toYYYYMM",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| of_date(&arguments[0], |date| year(date) * 100 + date.month()),
        },
        Scalar {
            name: "toYYYYMMDD",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| {
                of_date(&arguments[0], |date| (year(date) * 100 + date.month()) * 100 + date.day())
            },
        },
        Scalar {
            name: "toYYYYMMDDhhmmss",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| of_time(&arguments[0]),
        },
    ]
}

/// Years before 0 are no numbers of this kind.
fn year(date: NaiveDate) -> u32 {
    date.year().max(0) as u32
}

/// The day that is `days` after the epoch.
pub(super) fn date_of(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(days)
}

/// The time that is `seconds` after the epoch.
pub(super) fn time_of(seconds: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(seconds, 0).map(|time| time.naive_utc())
}

fn of_date(values: &ArrayRef, number: fn(NaiveDate) -> u32) -> Result<ArrayRef> {
    let days = cast(&wall(values)?, &DataType::Date32)?;
    let days = days.as_primitive::<Date32Type>();
    // Neighbours often share their day, above all in sorted data.
    let mut last: Option<(i32, Option<u32>)> = None;
    let numbers: UInt32Array = days
        .iter()
        .map(|day| {
            let day = day?;
            match last {
                Some((known, number)) if known == day => number,
                _ => {
                    let found = date_of(day).map(number);
                    last = Some((day, found));
                    found
                }
            }
        })
        .collect();
    Ok(Arc::new(numbers))
}

fn of_time(values: &ArrayRef) -> Result<ArrayRef> {
    let seconds = seconds(values)?;
    let numbers: UInt64Array = seconds
        .as_primitive::<TimestampSecondType>()
        .iter()
        .map(|seconds| seconds.and_then(time_of).map(number_of_time))
        .collect();
    Ok(Arc::new(numbers))
}

fn number_of_time(time: NaiveDateTime) -> u64 {
    let date = time.date();
    let day = u64::from((year(date) * 100 + date.month()) * 100 + date.day());
    let clock = time.hour() * 10_000 + time.minute() * 100 + time.second();
    day * 1_000_000 + u64::from(clock)
}

/// Whether rows count from a day or a time.
pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// The seconds since the epoch of dates, times or their texts, as the clocks of their zone show them.
pub(super) fn seconds(values: &ArrayRef) -> Result<ArrayRef> {
    let seconds = cast(&wall(values)?, &DataType::Timestamp(TimeUnit::Second, None))?;
    debug_assert_eq!(seconds.len(), values.len());
    Ok(seconds)
}
