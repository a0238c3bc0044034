//! `toStartOfInterval`: a time rounded down to whole intervals.

use arrow::array::{ArrayRef, AsArray, TimestampSecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampSecondType,
};
use chrono::{Datelike, NaiveDate};
use datafusion::common::{Result, exec_err};

use super::civil::{seconds, time_of};
use super::zones::from_wall;
use crate::scalar::{Arity, Typed};

pub(super) const TO_START_OF_INTERVAL: Typed = Typed {
    name: "toStartOfInterval",
    arity: Arity::Exactly(2),
    returns: |types, _| {
        let zone = match types.first() {
            Some(DataType::Timestamp(_, zone)) => zone.clone(),
            _ => None,
        };
        Ok(DataType::Timestamp(TimeUnit::Second, zone))
    },
    kernel: to_start_of_interval,
};

const DAY: i64 = 86_400;

fn to_start_of_interval(arguments: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let times = seconds(&arguments[0])?;
    let intervals = cast(&arguments[1], &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let starts: TimestampSecondArray = times
        .as_primitive::<TimestampSecondType>()
        .iter()
        .zip(intervals.as_primitive::<IntervalMonthDayNanoType>().iter())
        .map(|(time, interval)| match (time, interval) {
            (Some(time), Some(interval)) => start(time, interval),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    match data_type {
        DataType::Timestamp(_, zone) => from_wall(starts, zone.as_ref()),
        other => exec_err!("toStartOfInterval gives times, not {other}"),
    }
}

/// Months count from the epoch's, weeks from a Monday, everything else from the epoch.
fn start(time: i64, interval: IntervalMonthDayNano) -> Result<Option<i64>> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    match (months, days, nanoseconds) {
        (months, 0, 0) if months > 0 => Ok(time_of(time).and_then(|time| {
            let month = i64::from(time.year()) * 12 + i64::from(time.month0());
            let epoch = 1970 * 12;
            let first = (month - epoch).div_euclid(i64::from(months)) * i64::from(months) + epoch;
            let (year, month0) = (first.div_euclid(12), first.rem_euclid(12));
            let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month0 as u32 + 1, 1)?;
            Some(i64::from(date.to_epoch_days()) * DAY)
        })),
        (0, days, 0) if days > 0 => {
            let shift = if days % 7 == 0 { 3 * DAY } else { 0 };
            let length = i64::from(days) * DAY;
            Ok(Some((time + shift).div_euclid(length) * length - shift))
        }
        (0, 0, nanoseconds) if nanoseconds >= 1_000_000_000 => {
            let length = nanoseconds / 1_000_000_000;
            Ok(Some(time.div_euclid(length) * length))
        }
        _ => exec_err!("toStartOfInterval takes a positive interval of one unit, from a second up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_intervals() {
        let second = 1_000_000_000;
        for (months, days, nanoseconds, expected) in [
            (0, 0, 300 * second, 1_715_942_700),
            (0, 0, 3_600 * second, 1_715_940_000),
            (0, 1, 0, 1_715_904_000),
            (0, 7, 0, 1_715_558_400),
            (1, 0, 0, 1_714_521_600),
            (12, 0, 0, 1_704_067_200),
        ] {
            let interval = IntervalMonthDayNano { months, days, nanoseconds };
            // 2024-05-17 10:47:33
            assert_eq!(start(1_715_942_853, interval).expect("a start"), Some(expected));
        }
    }
}
