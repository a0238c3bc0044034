//! `to_char` with PostgreSQL's patterns, which Snowflake, Redshift and Oracle share, and such patterns
//! in the letters of the engine, for `to_date` and `to_timestamp`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use datafusion::common::{Result, exec_err};

use super::civil::is_time;
use super::zones::wall;
use crate::gives;
use crate::rows::texts;
use crate::scalar::{Scalar, TWO, scalar};

pub(super) const TO_CHAR: Scalar = scalar("to_char", TWO, gives::text, to_char);

/// A piece of a pattern, and the same in chrono's letters where it has them. Longer ones come first.
const PIECES: &[(&str, &str)] = &[
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("IYYY", "%G"),
    ("YYYY", "%Y"),
    ("MONTH", "%B"),
    ("DDD", "%j"),
    ("DAY", "%A"),
    ("MON", "%b"),
    ("A.M.", "%p"),
    ("P.M.", "%p"),
    ("SSSS", ""),
    ("HH", "%I"),
    ("MI", "%M"),
    ("MM", "%m"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("FF", "%6f"),
    ("SS", "%S"),
    ("DD", "%d"),
    ("DY", "%a"),
    ("ID", "%u"),
    ("IW", "%V"),
    ("WW", ""),
    ("YY", "%y"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("CC", "%C"),
    ("TZ", ""),
    ("Q", ""),
    ("D", ""),
    ("W", ""),
];

/// What a pattern is made of.
enum Part<'p> {
    /// The piece in capitals, as it was written, and chrono's letters.
    Piece(&'static str, &'p str, &'static str),
    /// Leave blanks and leading zeros out of the next piece.
    Fill,
    Text(char),
}

fn parts(pattern: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 1);
            parts.extend(rest[1..end].chars().map(Part::Text));
            rest = rest.get(end + 1..).unwrap_or("");
            continue;
        }
        let begins = |piece: &str| {
            rest.get(..piece.len()).is_some_and(|found| found.eq_ignore_ascii_case(piece))
        };
        if begins("FM") {
            parts.push(Part::Fill);
            rest = &rest[2..];
        } else if let Some((piece, letters)) = PIECES.iter().find(|(piece, _)| begins(piece)) {
            parts.push(Part::Piece(piece, &rest[..piece.len()], letters));
            rest = &rest[piece.len()..];
        } else {
            parts.push(Part::Text(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    parts
}

/// A pattern of PostgreSQL in the letters of MySQL, by which `parseDateTime` reads.
pub fn mysql_pattern(pattern: &str) -> String {
    let letters = parts(pattern).into_iter().map(|part| match part {
        Part::Piece(_, _, "%M") => "%i".to_owned(),
        Part::Piece(_, _, "%B") => "%M".to_owned(),
        Part::Piece(_, _, "%A") => "%W".to_owned(),
        Part::Piece(_, _, letters) => letters.to_owned(),
        Part::Fill => String::new(),
        Part::Text(text) => text.to_string(),
    });
    letters.collect()
}

fn to_char(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let patterns = texts(&arguments[1])?;
    if !is_time(arguments[0].data_type()) {
        return exec_err!("to_char takes a date or a time; toString gives other values as texts");
    }
    let micros = cast(&wall(&arguments[0])?, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let micros = cast(&micros, &DataType::Int64)?;
    let times = micros.as_primitive::<Int64Type>().iter();
    let shown = times.zip(patterns.iter()).map(|(micros, pattern)| {
        let time = DateTime::from_timestamp_micros(micros?)?.naive_utc();
        Some(written(time, pattern?))
    });
    Ok(Arc::new(shown.collect::<StringArray>()))
}

fn written(time: NaiveDateTime, pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() * 2);
    if pattern.contains('%') {
        // A pattern of C; one that chrono does not know stays as it is.
        return match write!(text, "{}", time.format(pattern)) {
            Ok(()) => text,
            Err(_) => pattern.to_owned(),
        };
    }
    let mut fill = false;
    for part in parts(pattern) {
        match part {
            Part::Text(letter) => text.push(letter),
            Part::Fill => fill = true,
            Part::Piece(piece, as_written, letters) => {
                text.push_str(&piece_text(time, piece, as_written, letters, fill));
                fill = false;
            }
        }
    }
    text
}

fn piece_text(
    time: NaiveDateTime,
    piece: &str,
    as_written: &str,
    letters: &str,
    fill: bool,
) -> String {
    let plain = match piece {
        "SSSS" => time.num_seconds_from_midnight().to_string(),
        "WW" => format!("{:02}", time.ordinal0() / 7 + 1),
        "W" => (time.day0() / 7 + 1).to_string(),
        "D" => (time.weekday().num_days_from_sunday() + 1).to_string(),
        "Q" => (time.month0() / 3 + 1).to_string(),
        "TZ" => "UTC".to_owned(),
        "CC" => format!("{:02}", (time.year() + 99) / 100),
        _ => time.format(letters).to_string(),
    };
    let is_word = matches!(piece, "MONTH" | "MON" | "DAY" | "DY" | "AM" | "PM" | "A.M." | "P.M.");
    if !is_word {
        let trimmed = plain.trim_start_matches('0');
        return match (fill, trimmed.is_empty()) {
            (true, false) => trimmed.to_owned(),
            _ => plain,
        };
    }
    let dotted = piece.contains('.');
    let plain = if dotted { format!("{}.M.", &plain[..1]) } else { plain };
    let mut letters = as_written.chars();
    let (first, second) = (letters.next(), letters.next());
    let upper = |letter: Option<char>| letter.is_some_and(|letter| letter.is_uppercase());
    let cased = match (upper(first), upper(second)) {
        (true, true) => plain.to_uppercase(),
        (true, false) if !dotted => plain,
        (true, false) => plain.to_uppercase(),
        (false, _) => plain.to_lowercase(),
    };
    match matches!(piece, "MONTH" | "DAY") && !fill {
        true => format!("{cased:<9}"),
        false => cased,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_postgresql() {
        let time = DateTime::from_timestamp(1_709_647_629, 0).expect("a time").naive_utc();
        for (pattern, expected) in [
            ("YYYY-MM-DD HH24:MI:SS", "2024-03-05 14:07:09"),
            ("Mon DD, YYYY HH12:MI AM", "Mar 05, 2024 02:07 PM"),
            ("Day, DD Month YYYY", "Tuesday  , 05 March     2024"),
            ("FMDay, FMDD FMMonth YYYY", "Tuesday, 5 March 2024"),
            ("DY dd MON yy pm", "TUE 05 MAR 24 pm"),
            ("Q WW IW D ID DDD", "1 10 10 3 2 065"),
            ("\"Year\" YYYY", "Year 2024"),
            ("%Y/%m", "2024/03"),
        ] {
            assert_eq!(written(time, pattern), expected, "{pattern}");
        }
        assert_eq!(mysql_pattern("DD/MM/YYYY HH24:MI"), "%d/%m/%Y %H:%i");
    }
}
