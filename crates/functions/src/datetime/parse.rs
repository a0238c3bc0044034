//! Texts as times: by a pattern, and as they are usually written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMillisecondArray, TimestampSecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{NaiveDate, NaiveDateTime};
use datafusion::common::{Result, ScalarValue, exec_err};

use super::best_effort::{Found, read};
use super::zones::from_wall;
use crate::rows::texts;
use crate::scalar::{Arity, Typed};

/// What a text that is no time becomes.
const ERROR: u8 = 0;
const NULL: u8 = 1;
const ZERO: u8 = 2;

/// The three functions of a kind: as it is, `-OrNull` and `-OrZero`.
macro_rules! kinds {
    ($arity:expr, $read:ident, $unit:ident, $($name:literal, $or_null:literal, $or_zero:literal);+) => {
        vec![$(
            Typed { name: $name, arity: $arity, returns: $unit, kernel: |a, t| $read::<ERROR>(a, t, $name) },
            Typed { name: $or_null, arity: $arity, returns: $unit, kernel: |a, t| $read::<NULL>(a, t, $or_null) },
            Typed { name: $or_zero, arity: $arity, returns: $unit, kernel: |a, t| $read::<ZERO>(a, t, $or_zero) },
        )+]
    };
}

pub(super) fn typed() -> Vec<Typed> {
    const ONE_OR_TWO: Arity = Arity::Between(1, 2);
    const UP_TO_THREE: Arity = Arity::Between(1, 3);
    let mut all: Vec<Typed> = kinds!(
        ONE_OR_TWO,
        usual,
        seconds,
        "parseDateTimeBestEffort",
        "parseDateTimeBestEffortOrNull",
        "parseDateTimeBestEffortOrZero"
    );
    let us: Vec<Typed> = kinds!(
        ONE_OR_TWO,
        usual_us,
        seconds,
        "parseDateTimeBestEffortUS",
        "parseDateTimeBestEffortUSOrNull",
        "parseDateTimeBestEffortUSOrZero"
    );
    let fine: Vec<Typed> = kinds!(
        UP_TO_THREE,
        usual,
        milliseconds,
        "parseDateTime64BestEffort",
        "parseDateTime64BestEffortOrNull",
        "parseDateTime64BestEffortOrZero"
    );
    let by_pattern: Vec<Typed> = kinds!(
        UP_TO_THREE,
        mysql,
        seconds,
        "parseDateTime",
        "parseDateTimeOrNull",
        "parseDateTimeOrZero"
    );
    let joda: Vec<Typed> = kinds!(
        UP_TO_THREE,
        joda,
        seconds,
        "parseDateTimeInJodaSyntax",
        "parseDateTimeInJodaSyntaxOrNull",
        "parseDateTimeInJodaSyntaxOrZero"
    );
    all.extend([us, fine, by_pattern, joda].into_iter().flatten());
    all
}

/// The zone stands last, if it is there.
fn zone(values: &[Option<&ScalarValue>]) -> Option<Arc<str>> {
    let text = values.last().copied().flatten()?.try_as_str().flatten()?;
    text.parse::<chrono_tz::Tz>().is_ok().then(|| Arc::from(text))
}

fn seconds(_: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Second, zone(values)))
}

fn milliseconds(_: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Millisecond, zone(values)))
}

fn usual<const MISSING: u8>(
    arguments: &[ArrayRef],
    data_type: &DataType,
    name: &str,
) -> Result<ArrayRef> {
    guessed::<MISSING>(arguments, data_type, name, false)
}

fn usual_us<const MISSING: u8>(
    arguments: &[ArrayRef],
    data_type: &DataType,
    name: &str,
) -> Result<ArrayRef> {
    guessed::<MISSING>(arguments, data_type, name, true)
}

/// Times in whatever form they are written; `month_first`: as in the United States.
fn guessed<const MISSING: u8>(
    arguments: &[ArrayRef],
    data_type: &DataType,
    name: &str,
    month_first: bool,
) -> Result<ArrayRef> {
    let rows = texts(&arguments[0])?;
    let found = rows.iter().map(|text| text.map(|text| (text, read(text, month_first))));
    times::<MISSING>(found, data_type, name)
}

fn mysql<const MISSING: u8>(
    arguments: &[ArrayRef],
    data_type: &DataType,
    name: &str,
) -> Result<ArrayRef> {
    patterned::<MISSING>(arguments, data_type, name, "%Y-%m-%d %H:%i:%S", |pattern| {
        pattern.to_owned()
    })
}

fn joda<const MISSING: u8>(
    arguments: &[ArrayRef],
    data_type: &DataType,
    name: &str,
) -> Result<ArrayRef> {
    patterned::<MISSING>(arguments, data_type, name, "yyyy-MM-dd HH:mm:ss", from_joda)
}

fn patterned<const MISSING: u8>(
    arguments: &[ArrayRef],
    data_type: &DataType,
    name: &str,
    usual: &str,
    as_mysql: fn(&str) -> String,
) -> Result<ArrayRef> {
    let rows = texts(&arguments[0])?;
    let patterns = arguments.get(1).map(texts).transpose()?;
    let pattern_of = |row: usize| patterns.as_ref().map_or(usual, |patterns| patterns.value(row));
    let found = rows
        .iter()
        .enumerate()
        .map(|(row, text)| text.map(|text| (text, by_pattern(text, &as_mysql(pattern_of(row))))));
    times::<MISSING>(found, data_type, name)
}

/// The instants of what was read; `name` is for the error.
fn times<'t, const MISSING: u8>(
    rows: impl Iterator<Item = Option<(&'t str, Option<Found>)>>,
    data_type: &DataType,
    name: &str,
) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return exec_err!("{name} gives times, not {data_type}");
    };
    let mut walls = Vec::new();
    // An offset in the text goes before the zone.
    let mut offsets: Vec<Option<i64>> = Vec::new();
    for row in rows {
        let found = match row {
            None => None,
            Some((_, Some(found))) => Some(found),
            Some((text, None)) if MISSING == ERROR => {
                return exec_err!("{name} cannot read '{text}'");
            }
            Some(_) if MISSING == NULL => None,
            Some(_) => Some(Found { wall: NaiveDateTime::default(), offset: Some(0) }),
        };
        walls.push(found.map(|found| found.wall.and_utc().timestamp_millis()));
        offsets.push(found.and_then(|found| found.offset));
    }
    let by_zone = from_wall(TimestampMillisecondArray::from(walls.clone()), zone.as_ref())?;
    let by_zone = arrow::compute::cast(&by_zone, &DataType::Int64)?;
    let by_zone: &arrow::array::Int64Array = arrow::array::AsArray::as_primitive(&by_zone);
    let instants: Vec<Option<i64>> = walls
        .iter()
        .zip(&offsets)
        .enumerate()
        .map(|(row, (wall, offset))| match offset {
            Some(offset) => wall.map(|wall| wall - offset * 1_000),
            None => by_zone.is_valid(row).then(|| by_zone.value(row)),
        })
        .collect();
    Ok(match unit {
        TimeUnit::Second => {
            let seconds = instants.into_iter().map(|at| at.map(|at| at.div_euclid(1_000)));
            Arc::new(seconds.collect::<TimestampSecondArray>().with_timezone_opt(zone.clone()))
        }
        _ => Arc::new(TimestampMillisecondArray::from(instants).with_timezone_opt(zone.clone())),
    })
}

/// What is read by a pattern.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    of_year: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    afternoon: Option<bool>,
    offset: Option<i64>,
}

/// Reads `text` by a pattern of MySQL's letters; missing parts are those of 2000-01-01.
fn by_pattern(text: &str, pattern: &str) -> Option<Found> {
    let mut parts = Parts::default();
    let mut rest = text;
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            rest = rest.strip_prefix(letter)?;
            continue;
        }
        let expanded = match letters.next()? {
            'T' => "%H:%i:%S",
            'R' => "%H:%i",
            'F' => "%Y-%m-%d",
            'D' => "%m/%d/%y",
            'r' => "%h:%i %p",
            letter => {
                rest = read_part(letter, rest, &mut parts)?;
                continue;
            }
        };
        for pair in expanded.split_inclusive(|c: char| c.is_ascii_alphabetic()) {
            let (before, letter) = pair.split_once('%')?;
            rest = read_part(letter.chars().next()?, rest.strip_prefix(before)?, &mut parts)?;
        }
    }
    if !rest.is_empty() {
        return None;
    }
    let year = parts.year.unwrap_or(if parts.month.or(parts.day).is_some() { 2000 } else { 1970 });
    let date = match parts.of_year {
        Some(day) => NaiveDate::from_yo_opt(year, day)?,
        None => NaiveDate::from_ymd_opt(year, parts.month.unwrap_or(1), parts.day.unwrap_or(1))?,
    };
    let hour = match parts.afternoon {
        Some(true) => parts.hour % 12 + 12,
        Some(false) => parts.hour % 12,
        None => parts.hour,
    };
    Some(Found { wall: date.and_hms_opt(hour, parts.minute, parts.second)?, offset: parts.offset })
}

/// The number of at most `most` digits that the text begins with.
fn digits(text: &str, most: usize) -> Option<(u32, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    Some((text[..length].parse().ok()?, &text[length..]))
}

/// The name of an array that the text begins with, as its place, in full or its first three letters.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<(u32, &'t str)> {
    let begins =
        |part: &str| text.get(..part.len()).is_some_and(|start| start.eq_ignore_ascii_case(part));
    names.iter().zip(0..).find_map(|(name, place)| {
        if begins(name) {
            Some((place, &text[name.len()..]))
        } else if begins(&name[..3]) {
            Some((place, &text[3..]))
        } else {
            None
        }
    })
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn read_part<'t>(letter: char, text: &'t str, parts: &mut Parts) -> Option<&'t str> {
    let number = |most: usize| digits(text, most);
    let (value, rest) = match letter {
        'Y' => number(4)?,
        'y' | 'm' | 'd' | 'H' | 'k' | 'h' | 'I' | 'l' | 'i' | 'S' | 's' => number(2)?,
        'e' | 'c' => digits(text.trim_start(), 2)?,
        'j' => number(3)?,
        'f' => number(6)?,
        'M' | 'b' => name(text, &MONTHS)?,
        'W' | 'a' => name(text, &WEEKDAYS)?,
        'p' => match text.get(..2)?.to_ascii_uppercase().as_str() {
            "AM" => (0, &text[2..]),
            "PM" => (1, &text[2..]),
            _ => return None,
        },
        'z' => {
            let sign = if text.starts_with('-') { -1 } else { 1 };
            let (value, rest) = digits(text.strip_prefix(['+', '-'])?, 4)?;
            parts.offset =
                Some(sign * (i64::from(value / 100) * 3_600 + i64::from(value % 100) * 60));
            return Some(rest);
        }
        'n' => return text.strip_prefix('\n'),
        't' => return text.strip_prefix('\t'),
        '%' => return text.strip_prefix('%'),
        _ => return None,
    };
    match letter {
        'Y' => parts.year = Some(value as i32),
        'y' => parts.year = Some(value as i32 + if value < 70 { 2000 } else { 1900 }),
        'm' | 'c' => parts.month = Some(value),
        'M' | 'b' => parts.month = Some(value + 1),
        'd' | 'e' => parts.day = Some(value),
        'j' => parts.of_year = Some(value),
        'H' | 'k' | 'h' | 'I' | 'l' => parts.hour = value,
        'i' => parts.minute = value,
        'S' | 's' => parts.second = value,
        'p' => parts.afternoon = Some(value == 1),
        _ => {}
    }
    Some(rest)
}

/// The pattern of Joda's letters in MySQL's.
pub(super) fn from_joda(pattern: &str) -> String {
    let mut mysql = String::with_capacity(pattern.len() * 2);
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            // Quoted text stands for itself, two quotes for one.
            if letters.next_if_eq(&'\'').is_some() {
                mysql.push('\'');
                continue;
            }
            mysql.extend(letters.by_ref().take_while(|c| *c != '\''));
            continue;
        }
        let mut count = 1;
        while letters.next_if_eq(&letter).is_some() {
            count += 1;
        }
        let mapped = match (letter, count) {
            ('y' | 'Y' | 'u', 2) => "%y",
            ('y' | 'Y' | 'u', _) => "%Y",
            ('M', 1 | 2) => "%m",
            ('M', 3) => "%b",
            ('M', _) => "%M",
            ('d', _) => "%d",
            ('D', _) => "%j",
            ('H', _) => "%H",
            ('h' | 'K', _) => "%h",
            ('m', _) => "%i",
            ('s', _) => "%S",
            ('S', _) => "%f",
            ('a', _) => "%p",
            ('E', 1..=3) => "%a",
            ('E', _) => "%W",
            ('Z', _) => "%z",
            ('%', _) => "%%",
            (other, count) => {
                mysql.extend(std::iter::repeat_n(other, count));
                continue;
            }
        };
        mysql.push_str(mapped);
    }
    mysql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (text, pattern, expected) in [
            ("2021-01-04+23:12:34", "%Y-%m-%d+%H:%i:%S", "2021-01-04 23:12:34"),
            ("04/Jan/21", "%d/%b/%y", "2021-01-04 00:00:00"),
            ("11:05 PM", "%h:%i %p", "1970-01-01 23:05:00"),
            ("2024-060", "%Y-%j", "2024-02-29 00:00:00"),
            ("2024-01-05 10:11:12", "%F %T", "2024-01-05 10:11:12"),
            ("2024-01-05x", "%Y-%m-%d", ""),
            ("x", "%Y", ""),
        ] {
            let found = by_pattern(text, pattern).map(|found| found.wall.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{text} {pattern}");
        }
        assert_eq!(from_joda("yyyy-MM-dd'T'HH:mm:ss"), "%Y-%m-%dT%H:%i:%S");
    }
}
