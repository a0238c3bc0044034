//! Times as people and machines write them, without a pattern.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use regex::{Captures, Regex};

/// A time that was read, and the offset from UTC in seconds that stood behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) wall: NaiveDateTime,
    pub(super) offset: Option<i64>,
}

macro_rules! pattern {
    ($text:expr) => {{
        static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
        PATTERN.as_ref()
    }};
}

/// Reads a date, a time and a zone in any of the usual spellings. `us`: the month is before the day
/// where both are numbers. Years have four digits.
pub(super) fn read(text: &str, us: bool) -> Option<Found> {
    let text = text.trim();
    if let Some(found) = number(text) {
        return Some(found);
    }
    let mut rest = text.to_owned();
    let time = take(
        &mut rest,
        pattern!(
            r"(?i)(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*(am|pm)?\s*(z|utc|gmt|[+-]\d{2}:?\d{2}|[+-]\d{2})?(?:$|\s)"
        )?,
        |found| Some((clock(found)?, offset(found.get(6).map_or("", |zone| zone.as_str())))),
    );
    let (time, offset) = match time {
        Some(found) => found?,
        None => (NaiveTime::MIN, None),
    };
    let date = date(&mut rest, us)?;
    let is_rest =
        pattern!(r"(?i)^[\s,T]*(?:mon|tue|wed|thu|fri|sat|sun)?[a-z]*[\s,.T]*(?:z|utc|gmt)?$")?;
    is_rest.is_match(&rest).then_some(Found { wall: date.and_time(time), offset })
}

/// Takes the first match out of the text.
fn take<T>(rest: &mut String, pattern: &Regex, read: impl Fn(&Captures<'_>) -> T) -> Option<T> {
    let found = pattern.captures(rest)?;
    let whole = found.get(0)?.range();
    let value = read(&found);
    rest.replace_range(whole, " ");
    Some(value)
}

fn part<T: std::str::FromStr>(found: &Captures<'_>, group: usize) -> Option<T> {
    found.get(group)?.as_str().parse().ok()
}

fn clock(found: &Captures<'_>) -> Option<NaiveTime> {
    let hour: u32 = part(found, 1)?;
    let half = found.get(5).map(|half| half.as_str().to_lowercase());
    let hour = match half.as_deref() {
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
        None => hour,
    };
    let digits = found.get(4).map_or("", |digits| digits.as_str());
    let nanos = format!("{digits:0<9}").parse().ok()?;
    NaiveTime::from_hms_nano_opt(hour, part(found, 2)?, part(found, 3).unwrap_or(0), nanos)
}

fn offset(zone: &str) -> Option<i64> {
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    match (zone.chars().next()?, digits.len()) {
        (sign @ ('+' | '-'), 2 | 4) => {
            let hours: i64 = digits[..2].parse().ok()?;
            let minutes: i64 = digits.get(2..).unwrap_or_default().parse().unwrap_or(0);
            let seconds = hours * 3_600 + minutes * 60;
            Some(if sign == '-' { -seconds } else { seconds })
        }
        _ => Some(0),
    }
}

/// Digits alone: seconds and parts of seconds since 1970, or a date and a time written together.
fn number(text: &str) -> Option<Found> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let value: i64 = whole.parse().ok()?;
    let date = |from: i64| {
        NaiveDate::from_ymd_opt(
            (from / 10_000) as i32,
            (from / 100 % 100) as u32,
            (from % 100) as u32,
        )
    };
    let at = |seconds: i64, nanos: u32| {
        let wall = DateTime::from_timestamp(seconds, nanos)?.naive_utc();
        Some(Found { wall, offset: Some(0) })
    };
    match whole.len() {
        8 if fraction.is_empty() => {
            Some(Found { wall: date(value)?.and_time(NaiveTime::MIN), offset: None })
        }
        14 => {
            let clock = value % 1_000_000;
            let parts = [clock / 10_000, clock / 100 % 100, clock % 100].map(|part| part as u32);
            let time = NaiveTime::from_hms_opt(parts[0], parts[1], parts[2])?;
            Some(Found { wall: date(value / 1_000_000)?.and_time(time), offset: None })
        }
        9 | 10 => at(value, format!("{fraction:0<9}").get(..9)?.parse().ok()?),
        13 => at(value.div_euclid(1_000), (value % 1_000) as u32 * 1_000_000),
        16 => at(value.div_euclid(1_000_000), (value % 1_000_000) as u32 * 1_000),
        19 => at(value.div_euclid(1_000_000_000), (value % 1_000_000_000) as u32),
        _ => None,
    }
}

fn month(name: &str) -> Option<u32> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = name.get(..3)?.to_ascii_lowercase();
    Some(NAMES.iter().position(|known| *known == start)? as u32 + 1)
}

/// Takes the date out of the text.
fn date(rest: &mut String, us: bool) -> Option<NaiveDate> {
    let year_first = |found: &Captures<'_>| {
        NaiveDate::from_ymd_opt(part(found, 1)?, part(found, 2)?, part(found, 3)?)
    };
    let year_last = |found: &Captures<'_>| {
        let (first, second): (u32, u32) = (part(found, 1)?, part(found, 2)?);
        let (day, month) = if us { (second, first) } else { (first, second) };
        NaiveDate::from_ymd_opt(part(found, 3)?, month, day)
    };
    let day_and_name = |found: &Captures<'_>| {
        NaiveDate::from_ymd_opt(part(found, 3)?, month(found.get(2)?.as_str())?, part(found, 1)?)
    };
    let name_and_day = |found: &Captures<'_>| {
        NaiveDate::from_ymd_opt(part(found, 3)?, month(found.get(1)?.as_str())?, part(found, 2)?)
    };
    take(rest, pattern!(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})T?")?, year_first)
        .or_else(|| take(rest, pattern!(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")?, year_last))
        .or_else(|| {
            take(rest, pattern!(r"(\d{1,2})[\s-]+([A-Za-z]{3,9})[\s,-]+(\d{4})")?, day_and_name)
        })
        .or_else(|| take(rest, pattern!(r"([A-Za-z]{3,9})\s+(\d{1,2}),?\s+(\d{4})")?, name_and_day))
        .or_else(|| take(rest, pattern!(r"\b(\d{4})(\d{2})(\d{2})(?:T|\s|$)")?, year_first))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, us, expected) in [
            ("2024-01-15T10:30:00Z", false, "2024-01-15 10:30:00"),
            ("2024-01-15 10:30", false, "2024-01-15 10:30:00"),
            ("2024-01-15", false, "2024-01-15 00:00:00"),
            ("23/10/2020 12:12:57", false, "2020-10-23 12:12:57"),
            ("10/23/2020 12:12:57", true, "2020-10-23 12:12:57"),
            ("Sat, 18 Aug 2018 07:22:16 GMT", false, "2018-08-18 07:22:16"),
            ("18 Aug 2018 7:22 pm", false, "2018-08-18 19:22:00"),
            ("Aug 18, 2018 07:22:16", false, "2018-08-18 07:22:16"),
            ("2024-01-15T10:30:00.250+02:00", false, "2024-01-15 10:30:00.250"),
            ("20240115", false, "2024-01-15 00:00:00"),
            ("20240115103000", false, "2024-01-15 10:30:00"),
            ("20240115T103000", false, ""),
            ("1705314600", false, "2024-01-15 10:30:00"),
            ("1705314600.5", false, "2024-01-15 10:30:00.500"),
            ("1705314600123", false, "2024-01-15 10:30:00.123"),
            ("x", false, ""),
            ("2024-13-01", false, ""),
            ("2024-01-15 and more", false, ""),
        ] {
            let found = read(text, us).map(|found| found.wall.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(read("2024-01-15 10:30:00+0200", false).expect("a time").offset, Some(7_200));
    }
}
