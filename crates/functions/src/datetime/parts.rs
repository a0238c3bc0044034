//! Dates and times from their parts, with one part changed, and names of parts.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, ListBuilder, StringArray,
    TimestampMicrosecondArray, TimestampSecondArray, TimestampSecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampSecondType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::{Result, exec_err};

use super::civil::{seconds, time_of};
use super::zones::{check_time, wall};
use crate::gives;
use crate::rows::{integers, texts};
use crate::scalar::{Arity, Scalar, TWO, scalar};

const SECONDS: fn(&[DataType]) -> Result<DataType> =
    |_| Ok(DataType::Timestamp(TimeUnit::Second, None));

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("makeDate", Arity::Between(2, 3), |_| Ok(DataType::Date32), make_date),
        scalar("makeDateTime", Arity::Exactly(6), SECONDS, make_date_time),
        scalar("dateName", TWO, gives::text, date_name),
        scalar("timeSlots", Arity::Between(2, 3), |_| Ok(gives::list(SECONDS(&[])?)), slots),
        scalar("changeYear", TWO, gives::same, |arguments| {
            changed(arguments, |time, year| time.with_year(year))
        }),
        scalar("changeMonth", TWO, gives::same, |arguments| {
            changed(arguments, |time, month| time.with_month(u32::try_from(month).ok()?))
        }),
        scalar("changeDay", TWO, gives::same, |arguments| {
            changed(arguments, |time, day| time.with_day(u32::try_from(day).ok()?))
        }),
        scalar("changeHour", TWO, gives::same, |arguments| {
            changed(arguments, |time, hour| time.with_hour(u32::try_from(hour).ok()?))
        }),
        scalar("changeMinute", TWO, gives::same, |arguments| {
            changed(arguments, |time, minute| time.with_minute(u32::try_from(minute).ok()?))
        }),
        scalar("changeSecond", TWO, gives::same, |arguments| {
            changed(arguments, |time, second| time.with_second(u32::try_from(second).ok()?))
        }),
    ]
}

fn numbers(arguments: &[ArrayRef]) -> Result<Vec<Int64Array>> {
    arguments.iter().map(integers).collect()
}

/// Year and day of the year, or year, month and day. What is no date is the first of 1970.
fn make_date(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let parts = numbers(arguments)?;
    let day = |row: usize| {
        let part = |at: usize| parts[at].value(row);
        let (year, first) = (i32::try_from(part(0)).ok()?, u32::try_from(part(1)).ok()?);
        let date = match parts.len() {
            2 => NaiveDate::from_yo_opt(year, first),
            _ => NaiveDate::from_ymd_opt(year, first, u32::try_from(part(2)).ok()?),
        };
        date.map(|date| date.to_epoch_days())
    };
    let is_there = |row: usize| parts.iter().all(|part| part.is_valid(row));
    let rows = (0..arguments[0].len()).map(|row| is_there(row).then(|| day(row).unwrap_or(0)));
    Ok(Arc::new(rows.collect::<Date32Array>()))
}

fn make_date_time(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let parts = numbers(arguments)?;
    let time = |row: usize| {
        let part = |at: usize| u32::try_from(parts[at].value(row)).ok();
        let date = NaiveDate::from_ymd_opt(i32::try_from(part(0)?).ok()?, part(1)?, part(2)?)?;
        let time = date.and_hms_opt(part(3)?, part(4)?, part(5)?)?;
        Some(time.and_utc().timestamp())
    };
    let is_there = |row: usize| parts.iter().all(|part| part.is_valid(row));
    let rows = (0..arguments[0].len()).map(|row| is_there(row).then(|| time(row).unwrap_or(0)));
    Ok(Arc::new(rows.collect::<TimestampSecondArray>()))
}

fn date_name(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    check_time(&arguments[1], "dateName")?;
    let units = texts(&arguments[0])?;
    let times = seconds(&arguments[1])?;
    let mut names = Vec::with_capacity(times.len());
    for (unit, time) in units.iter().zip(times.as_primitive::<TimestampSecondType>().iter()) {
        names.push(match (unit, time.and_then(time_of)) {
            (Some(unit), Some(time)) => Some(part_name(unit, time)?),
            _ => None,
        });
    }
    Ok(Arc::new(StringArray::from(names)))
}

fn part_name(unit: &str, time: NaiveDateTime) -> Result<String> {
    Ok(match unit.to_ascii_lowercase().as_str() {
        "year" | "yyyy" => time.year().to_string(),
        "quarter" | "qq" => (time.month0() / 3 + 1).to_string(),
        "month" | "mm" => time.format("%B").to_string(),
        "dayofyear" | "dy" => time.ordinal().to_string(),
        "day" | "dd" => time.day().to_string(),
        "week" | "ww" => time.iso_week().week().to_string(),
        "weekday" | "dw" => time.format("%A").to_string(),
        "hour" | "hh" => time.hour().to_string(),
        "minute" | "mi" => time.minute().to_string(),
        "second" | "ss" => time.second().to_string(),
        _ => return exec_err!("dateName: '{unit}' is not a part of a date or time"),
    })
}

/// The slots that a stretch of time touches.
fn slots(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let starts = seconds(&arguments[0])?;
    let starts = starts.as_primitive::<TimestampSecondType>();
    let lengths = integers(&arguments[1])?;
    let sizes = arguments.get(2).map(integers).transpose()?;
    let mut all = ListBuilder::new(TimestampSecondBuilder::new());
    for row in 0..starts.len() {
        let size = sizes.as_ref().map_or(1_800, |sizes| sizes.value(row));
        if size <= 0 {
            return exec_err!("timeSlots takes a positive size");
        }
        let is_there = starts.is_valid(row) && lengths.is_valid(row);
        if is_there {
            let (first, last) = (starts.value(row), starts.value(row) + lengths.value(row));
            let places = first.div_euclid(size)..=last.div_euclid(size);
            places.for_each(|place| all.values().append_value(place * size));
        }
        all.append(is_there);
    }
    Ok(Arc::new(all.finish()))
}

/// The time with another part, in its own type; without such a time NULL.
fn changed(
    arguments: &[ArrayRef],
    change: fn(NaiveDateTime, i32) -> Option<NaiveDateTime>,
) -> Result<ArrayRef> {
    check_time(&arguments[0], "a change of a part")?;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times = cast(&wall(&arguments[0])?, &micros)?;
    let parts = integers(&arguments[1])?;
    let row = |(time, part): (Option<i64>, Option<i64>)| {
        let naive = DateTime::from_timestamp_micros(time?)?.naive_utc();
        let changed = change(naive, i32::try_from(part?).ok()?);
        // ClickHouse has the first of 1970 for what is no time.
        Some(changed.map_or(0, |time| time.and_utc().timestamp_micros()))
    };
    let rows = times.as_primitive::<TimestampMicrosecondType>().iter().zip(parts.iter());
    let walls: TimestampMicrosecondArray = rows.map(row).collect();
    let zone = match arguments[0].data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let instants = super::zones::from_wall(walls, zone.as_ref())?;
    Ok(cast(&instants, arguments[0].data_type())?)
}
