//! `dateDiff`: how many borders of a unit lie between two times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampSecondType};
use chrono::{Datelike, NaiveDateTime};
use datafusion::common::{Result, exec_err};

use super::civil::{seconds, time_of};
use crate::functions::scalar::{Arity, Scalar};

pub(super) const DATE_DIFF: Scalar = Scalar {
    name: "date_diff",
    summary: "date_diff(unit, from, to): the borders of the unit between two dates or times",
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
    let Some(position) = position_in(unit) else {
        return exec_err!("dateDiff: '{unit}' is not a unit of time");
    };
    let (from, to) = (seconds(&arguments[1])?, seconds(&arguments[2])?);
    let from = from.as_primitive::<TimestampSecondType>();
    let to = to.as_primitive::<TimestampSecondType>();
    let place = |seconds: i64| time_of(seconds).map(|time| position(seconds, time));
    let differences: Int64Array =
        from.iter().zip(to.iter()).map(|(from, to)| Some(place(to?)? - place(from?)?)).collect();
    Ok(Arc::new(differences))
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
