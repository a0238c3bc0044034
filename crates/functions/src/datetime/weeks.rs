//! Weeks by the modes of MySQL and ClickHouse: which day begins them and which week is the first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, UInt8Array, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type};
use chrono::{Datelike, NaiveDate, TimeDelta};
use datafusion::common::Result;

use super::civil::date_of;
use super::zones::{check_time, wall};
use crate::rows::integers;
use crate::scalar::{Arity, Scalar, scalar};

pub(super) fn all() -> Vec<Scalar> {
    let with_mode = Arity::Between(1, 2);
    let day = |_: &[DataType]| Ok(DataType::Date32);
    vec![
        scalar(
            "toWeek",
            with_mode,
            |_| Ok(DataType::UInt8),
            |arguments| {
                let weeks = each(arguments, "toWeek", |date, mode| week(date, mode).1)?;
                Ok(Arc::new(weeks.into_iter().map(|w| w.map(|w| w as u8)).collect::<UInt8Array>()))
            },
        ),
        scalar(
            "toYearWeek",
            with_mode,
            |_| Ok(DataType::UInt32),
            |arguments| {
                let weeks = each(arguments, "toYearWeek", |date, mode| {
                    let (year, week) = week(date, mode | 2);
                    i64::from(year) * 100 + week
                })?;
                Ok(Arc::new(
                    weeks.into_iter().map(|w| w.map(|w| w as u32)).collect::<UInt32Array>(),
                ))
            },
        ),
        scalar("toStartOfWeek", with_mode, day, |arguments| {
            days(each(arguments, "toStartOfWeek", |date, mode| {
                i64::from(date.to_epoch_days()) - i64::from(place(date, mode))
            })?)
        }),
        scalar("toLastDayOfWeek", with_mode, day, |arguments| {
            days(each(arguments, "toLastDayOfWeek", |date, mode| {
                i64::from(date.to_epoch_days()) - i64::from(place(date, mode)) + 6
            })?)
        }),
        scalar(
            "toDayOfWeek",
            with_mode,
            |_| Ok(DataType::UInt8),
            |arguments| {
                let days = each(arguments, "toDayOfWeek", |date, mode| {
                    let (monday, sunday) = (
                        date.weekday().num_days_from_monday(),
                        date.weekday().num_days_from_sunday(),
                    );
                    i64::from(match mode & 3 {
                        0 => monday + 1,
                        1 => monday,
                        2 => sunday,
                        _ => sunday + 1,
                    })
                })?;
                Ok(Arc::new(days.into_iter().map(|d| d.map(|d| d as u8)).collect::<UInt8Array>()))
            },
        ),
    ]
}

/// A number for each date, by the mode that stands behind it, else 0.
fn each(
    arguments: &[ArrayRef],
    name: &str,
    of: fn(NaiveDate, i64) -> i64,
) -> Result<Vec<Option<i64>>> {
    if !matches!(arguments[0].data_type(), DataType::Utf8 | DataType::Utf8View | DataType::Null) {
        check_time(&arguments[0], name)?;
    }
    let dates = cast(&wall(&arguments[0])?, &DataType::Date32)?;
    let modes = arguments.get(1).map(integers).transpose()?;
    let mode = |row: usize| modes.as_ref().map_or(0, |modes| modes.value(row));
    let rows = dates.as_primitive::<Date32Type>().iter().enumerate();
    Ok(rows.map(|(row, day)| Some(of(date_of(day?)?, mode(row)))).collect())
}

fn days(days: Vec<Option<i64>>) -> Result<ArrayRef> {
    let days = days.into_iter().map(|day| day.and_then(|day| i32::try_from(day).ok()));
    Ok(Arc::new(days.collect::<Date32Array>()))
}

/// The place of a day in its week, from 0. Weeks begin on Monday where the mode is odd, else on Sunday.
fn place(date: NaiveDate, mode: i64) -> u32 {
    match mode & 1 {
        1 => date.weekday().num_days_from_monday(),
        _ => date.weekday().num_days_from_sunday(),
    }
}

/// Year and week where the first week is the one with 1 January.
fn week_of_new_year(date: NaiveDate, mode: i64) -> Option<(i32, i64)> {
    let begin = date - TimeDelta::days(i64::from(place(date, mode)));
    let year = (begin + TimeDelta::days(6)).year();
    let new_year = NaiveDate::from_yo_opt(year, 1)?;
    let first = new_year - TimeDelta::days(i64::from(place(new_year, mode)));
    Some((year, (begin - first).num_days() / 7 + 1))
}

/// Year and week, as MySQL computes them, and by ClickHouse's modes 8 and 9.
fn week(date: NaiveDate, mode: i64) -> (i32, i64) {
    if mode & 8 != 0 {
        return week_of_new_year(date, mode).unwrap_or((date.year(), 0));
    }
    let monday_first = mode & 1 != 0;
    let mut by_year = mode & 2 != 0;
    // Without Monday the bit means the opposite.
    let whole_first = (mode & 4 != 0) == monday_first;
    let days_of = |year: i32| {
        if NaiveDate::from_ymd_opt(year, 2, 29).is_some() { 366 } else { 365 }
    };
    let mut year = date.year();
    let of_year = i64::from(date.ordinal0());
    let Some(first) = NaiveDate::from_yo_opt(year, 1) else { return (year, 0) };
    let mut weekday = i64::from(place(first, i64::from(monday_first)));
    let mut days_before = 0;
    let begins_late =
        |weekday: i64| (whole_first && weekday != 0) || (!whole_first && weekday >= 4);
    if date.month() == 1 && i64::from(date.day()) <= 7 - weekday {
        if !by_year && begins_late(weekday) {
            return (year, 0);
        }
        by_year = true;
        year -= 1;
        days_before = days_of(year);
        weekday = (weekday + 53 * 7 - days_before).rem_euclid(7);
    }
    let day = of_year + days_before;
    let days = match begins_late(weekday) {
        true => day - (7 - weekday),
        false => day + weekday,
    };
    if by_year && days >= 52 * 7 {
        let next = (weekday + days_of(year)).rem_euclid(7);
        if !begins_late(next) {
            return (year + 1, 1);
        }
    }
    (year, days / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_by_mode() {
        // 2016-12-27 is the example of ClickHouse's manual.
        for (date, mode, expected) in [
            ((2016, 12, 27), 0, (2016, 52)),
            ((2016, 12, 27), 1, (2016, 52)),
            ((2016, 12, 27), 9, (2017, 1)),
            ((2016, 12, 24), 8, (2016, 52)),
            ((2016, 1, 1), 9, (2016, 1)),
            ((2024, 1, 1), 3, (2024, 1)),
            ((2021, 1, 1), 3, (2020, 53)),
            ((2021, 1, 1), 0, (2021, 0)),
            ((2023, 1, 1), 0, (2023, 1)),
            ((2024, 12, 30), 3, (2025, 1)),
        ] {
            let (year, month, day) = date;
            let date = NaiveDate::from_ymd_opt(year, month, day).expect("a date");
            assert_eq!(week(date, mode), expected, "{date} {mode}");
        }
    }
}
