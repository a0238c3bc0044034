//! Times as texts: our one spelling, and `formatDateTime` with ClickHouse's pattern.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDateTime};
use datafusion::common::{Result, exec_err};

use super::civil::is_time;
use super::parse::from_joda;
use super::zones::wall;
use crate::gives;
use crate::scalar::{Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("formatDateTime", TWO, gives::text, |arguments| {
            format_date_time(arguments, |pattern| pattern.to_owned())
        }),
        scalar("formatDateTimeInJodaSyntax", TWO, gives::text, |arguments| {
            format_date_time(arguments, from_joda)
        }),
    ]
}

/// `YYYY-MM-DD HH:MM:SS` with as many digits of the second as the type has.
pub(crate) fn time_texts(values: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let ticks = cast(&wall(values)?, &DataType::Int64)?;
    let (per_second, digits) = match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    let mut texts = StringBuilder::with_capacity(ticks.len(), ticks.len() * 20);
    for tick in ticks.as_primitive::<Int64Type>().iter() {
        let Some(tick) = tick else {
            texts.append_null();
            continue;
        };
        let (seconds, fraction) = (tick.div_euclid(per_second), tick.rem_euclid(per_second));
        let Some(time) = DateTime::from_timestamp(seconds, 0) else {
            return exec_err!("time {tick} is out of range");
        };
        let mut text = time.naive_utc().format("%Y-%m-%d %H:%M:%S").to_string();
        if digits > 0 {
            let _ = write!(text, ".{fraction:0digits$}");
        }
        texts.append_value(text);
    }
    Ok(Arc::new(texts.finish()))
}

fn format_date_time(arguments: &[ArrayRef], as_mysql: fn(&str) -> String) -> Result<ArrayRef> {
    if !is_time(arguments[0].data_type()) {
        return exec_err!("formatDateTime takes a date or time as its first argument");
    }
    let nanos = cast(&wall(&arguments[0])?, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let micros = cast(&nanos, &DataType::Int64)?;
    let patterns = cast(&arguments[1], &DataType::Utf8)?;
    let patterns = patterns.as_string::<i32>();
    let texts: StringArray = micros
        .as_primitive::<Int64Type>()
        .iter()
        .zip(patterns.iter())
        .map(|(micros, pattern)| {
            match (micros.and_then(DateTime::from_timestamp_micros), pattern) {
                (Some(time), Some(pattern)) => {
                    formatted(time.naive_utc(), &as_mysql(pattern)).map(Some)
                }
                _ => Ok(None),
            }
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(texts))
}

/// `%-d`: a number without leading zeros.
fn unpadded(time: NaiveDateTime, letter: Option<char>) -> Result<String> {
    match letter.filter(|letter| "dmHIiMSjekly".contains(*letter)) {
        Some('i' | 'M') => Ok(time.format("%-M").to_string()),
        Some(letter) => Ok(time.format(&format!("%-{letter}")).to_string()),
        None => exec_err!("formatDateTime: '%-' stands before a number, as in '%-d'"),
    }
}

fn formatted(time: NaiveDateTime, pattern: &str) -> Result<String> {
    let mut text = String::with_capacity(pattern.len() * 2);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let Some(letter) = chars.next() else {
            return exec_err!("formatDateTime: the pattern ends with '%'");
        };
        if letter == '-' {
            text.push_str(&unpadded(time, chars.next())?);
            continue;
        }
        // ClickHouse's letters are chrono's, but for the minute, the fraction and a few.
        let plain = match letter {
            'i' => "%M",
            'c' => "%m",
            'f' => "%6f",
            'M' => "%B",
            'k' => "%H",
            'l' => "%I",
            'W' => "%A",
            's' => "%S",
            'h' => "%I",
            'r' => "%I:%M %p",
            'T' => "%H:%M:%S",
            'Q' => {
                let _ = write!(text, "{}", time.month0() / 3 + 1);
                continue;
            }
            'e' => {
                let _ = write!(text, "{}", time.day());
                continue;
            }
            'w' => {
                let _ = write!(text, "{}", time.weekday().num_days_from_sunday());
                continue;
            }
            'n' => {
                text.push('\n');
                continue;
            }
            't' => {
                text.push('\t');
                continue;
            }
            '%' => {
                text.push('%');
                continue;
            }
            'a' | 'b' | 'C' | 'd' | 'D' | 'F' | 'G' | 'g' | 'H' | 'I' | 'j' | 'm' | 'p' | 'R'
            | 'S' | 'u' | 'V' | 'y' | 'Y' => {
                let _ = write!(text, "{}", time.format(&format!("%{letter}")));
                continue;
            }
            other => return exec_err!("formatDateTime does not know '%{other}'"),
        };
        let _ = write!(text, "{}", time.format(plain));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let time = DateTime::from_timestamp(1_709_622_489, 0).expect("a time").naive_utc();
        for (pattern, expected) in [
            ("%Y-%m-%d %H:%i:%S", "2024-03-05 07:08:09"),
            ("%Y%m%d", "20240305"),
            ("%d/%m/%y %H", "05/03/24 07"),
            ("%T %Q %%", "07:08:09 1 %"),
            ("%-d.%-m.%Y %-H:%-i", "5.3.2024 7:8"),
        ] {
            assert_eq!(formatted(time, pattern).expect(pattern), expected);
        }
        assert!(formatted(time, "%!").is_err());
    }
}
