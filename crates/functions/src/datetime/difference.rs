//! `dateDiff`: how many borders of a unit lie between two times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampSecondType};
use chrono::{Datelike, NaiveDateTime};
use datafusion::common::{Result, exec_err};

use super::civil::{seconds, time_of};
use super::zones::wall;
use crate::scalar::{Arity, Scalar};

pub(super) const DATE_DIFF: Scalar = Scalar {
    name: "date_diff",
    arity: Arity::Exactly(3),
    returns: |_| Ok(DataType::Int64),
    kernel: date_diff,
};

fn date_diff(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let units = cast(&arguments[0], &DataType::Utf8)?;
    let units = units.as_string::<i32>();
    let Some(unit) = units.iter().next().flatten() else {
        return Ok(Arc::new(Int64Array::new_null(arguments[1].len())));
    };
    if let Some(ticks) = fine_unit(unit) {
        return ticks_between(&arguments[1], &arguments[2], ticks);
    }
    let Some(position) = position_in(unit) else {
        return exec_err!("dateDiff: '{unit}' is not a unit of time");
    };
    // Units below a day are the same in every zone.
    let by_instant =
        ["second", "minute", "hour"].contains(&unit.to_ascii_lowercase().trim_end_matches('s'));
    let at = |values: &ArrayRef| match by_instant {
        true => Ok(cast(values, &DataType::Timestamp(TimeUnit::Second, None))?),
        false => seconds(values),
    };
    let (from, to) = (at(&arguments[1])?, at(&arguments[2])?);
    let from = from.as_primitive::<TimestampSecondType>();
    let to = to.as_primitive::<TimestampSecondType>();
    let place = |seconds: i64| time_of(seconds).map(|time| position(seconds, time));
    let differences: Int64Array =
        from.iter().zip(to.iter()).map(|(from, to)| Some(place(to?)? - place(from?)?)).collect();
    Ok(Arc::new(differences))
}

/// Units below a second.
fn fine_unit(unit: &str) -> Option<TimeUnit> {
    Some(match unit.to_ascii_lowercase().trim_end_matches('s') {
        "millisecond" | "m" if unit.eq_ignore_ascii_case("ms") => TimeUnit::Millisecond,
        "millisecond" => TimeUnit::Millisecond,
        "microsecond" | "u" => TimeUnit::Microsecond,
        "nanosecond" | "n" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

fn ticks_between(from: &ArrayRef, to: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let ticks = |values: &ArrayRef| {
        let times = cast(&wall(values)?, &DataType::Timestamp(unit, None))?;
        cast(&times, &DataType::Int64)
    };
    let (from, to) = (ticks(from)?, ticks(to)?);
    let pairs = from.as_primitive::<Int64Type>().iter().zip(to.as_primitive::<Int64Type>().iter());
    Ok(Arc::new(pairs.map(|(from, to)| Some(to? - from?)).collect::<Int64Array>()))
}

/// Counts the borders of a unit up to a time.
fn position_in(unit: &str) -> Option<fn(i64, NaiveDateTime) -> i64> {
    let lower = unit.to_ascii_lowercase();
    Some(match lower.trim_end_matches('s') {
        "second" | "" => |seconds, _| seconds,
        "minute" | "mi" => |seconds, _| seconds.div_euclid(60),
        "hour" | "h" | "hh" => |seconds, _| seconds.div_euclid(3_600),
        "day" | "d" | "dd" => |seconds, _| seconds.div_euclid(86_400),
        // The epoch was a Thursday; weeks begin on Monday.
        "week" | "w" => |seconds, _| (seconds.div_euclid(86_400) + 3).div_euclid(7),
        "month" | "m" | "mm" => |_, time| months(time),
        "quarter" | "q" => |_, time| months(time).div_euclid(3),
        "year" | "y" | "yy" | "yyyy" => |_, time| i64::from(time.year()),
        _ => return None,
    })
}

fn months(time: NaiveDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn borders_are_counted() {
        for (unit, from, to, expected) in [
            ("day", "2024-02-28", "2024-03-01", 2),
            ("hour", "2024-01-01 00:00:00", "2024-01-02 03:00:00", 27),
            ("second", "2024-01-01 00:01:00", "2024-01-01 00:00:00", -60),
            ("month", "2024-01-31", "2024-02-01", 1),
            ("quarter", "2024-03-31", "2024-04-01", 1),
            ("year", "2020-01-01", "2024-01-01", 4),
            ("week", "2024-01-07", "2024-01-08", 1),
        ] {
            let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
            let got = date_diff(&[text(unit), text(from), text(to)]).expect(unit);
            let got = got.as_primitive::<arrow::datatypes::Int64Type>().value(0);
            assert_eq!(got, expected, "{unit} {from} {to}");
        }
    }
}
