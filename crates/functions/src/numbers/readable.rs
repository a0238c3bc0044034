//! Numbers as people read them, and back; a bar of blocks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::{floats, texts};
use crate::scalar::{Arity, ONE, Scalar, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("formatReadableTimeDelta", ONE, gives::text, |arguments| {
            let texts = floats(&arguments[0])?;
            let texts: StringArray = texts.iter().map(|seconds| seconds.map(delta)).collect();
            Ok(Arc::new(texts))
        }),
        scalar("parseReadableSize", ONE, gives::number, |arguments| {
            let sizes = parsed(&arguments[0], "parseReadableSize", size)?;
            Ok(arrow::compute::cast(&sizes, &arrow::datatypes::DataType::UInt64)?)
        }),
        scalar("parseTimeDelta", ONE, gives::float, |arguments| {
            Ok(Arc::new(parsed(&arguments[0], "parseTimeDelta", time_delta)?))
        }),
        scalar("bar", Arity::Between(3, 4), gives::text, bar),
    ]
}

fn parsed(values: &ArrayRef, name: &str, parse: fn(&str) -> Option<f64>) -> Result<Float64Array> {
    let values = texts(values)?;
    let mut numbers = Vec::with_capacity(values.len());
    for text in values.iter() {
        match text.map(|text| (text, parse(text))) {
            None => numbers.push(None),
            Some((_, Some(number))) => numbers.push(Some(number)),
            Some((text, None)) => return exec_err!("{name} cannot read '{text}'"),
        }
    }
    Ok(Float64Array::from(numbers))
}

/// Years have 365 days and months 30.5.
const UNITS: [(&str, f64); 6] = [
    ("year", 31_536_000.0),
    ("month", 2_635_200.0),
    ("day", 86_400.0),
    ("hour", 3_600.0),
    ("minute", 60.0),
    ("second", 1.0),
];

fn delta(seconds: f64) -> String {
    let mut rest = seconds.abs().trunc();
    let mut parts: Vec<String> = Vec::new();
    for (unit, length) in UNITS {
        let count = (rest / length).floor();
        rest -= count * length;
        if count > 0.0 {
            parts.push(format!("{count} {unit}{}", if count == 1.0 { "" } else { "s" }));
        }
    }
    let sign = if seconds < 0.0 { "- " } else { "" };
    match parts.pop() {
        None => "0 seconds".to_owned(),
        Some(last) if parts.is_empty() => format!("{sign}{last}"),
        Some(last) => format!("{sign}{} and {last}", parts.join(", ")),
    }
}

/// A number and its unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

fn size(text: &str) -> Option<f64> {
    let (number, unit) = number_and_unit(text)?;
    let lower = unit.to_ascii_lowercase();
    let (prefix, step) = match lower.strip_suffix("ib") {
        Some(prefix) => (prefix, 1024_f64),
        None => (lower.strip_suffix('b')?, 1000.0),
    };
    let power = ["", "k", "m", "g", "t", "p", "e"].iter().position(|known| *known == prefix)?;
    Some((number * step.powi(power as i32)).ceil())
}

/// Numbers with units, one behind the other: `1h 30min`, `2 days, 3 hours`.
fn time_delta(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || ",;-+:".contains(c));
        rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        seconds += number * unit_seconds(unit)?;
        rest = rest[letters..].trim_start();
    }
    Some(seconds)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit.to_lowercase().as_str() {
        "years" | "year" | "yr" | "y" => 31_536_000.0,
        "months" | "month" | "mo" => 2_635_200.0,
        "weeks" | "week" | "w" => 604_800.0,
        "days" | "day" | "d" => 86_400.0,
        "hours" | "hour" | "hr" | "h" => 3_600.0,
        "minutes" | "minute" | "min" | "m" => 60.0,
        "seconds" | "second" | "sec" | "s" => 1.0,
        "milliseconds" | "millisecond" | "millisec" | "ms" => 1e-3,
        "microseconds" | "microsecond" | "microsec" | "us" | "\u{b5}s" => 1e-6,
        "nanoseconds" | "nanosecond" | "nanosec" | "ns" => 1e-9,
        _ => return None,
    })
}

/// `bar(x, min, max, width)`: a line of blocks, full at max.
fn bar(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers = arguments.iter().map(floats).collect::<Result<Vec<Float64Array>>>()?;
    let row = |row: usize| {
        if numbers.iter().any(|numbers| numbers.is_null(row)) {
            return None;
        }
        let (x, low, high) = (numbers[0].value(row), numbers[1].value(row), numbers[2].value(row));
        let width = numbers.get(3).map_or(80.0, |widths| widths.value(row)).clamp(0.0, 1000.0);
        let share = ((x - low) / (high - low)).clamp(0.0, 1.0);
        let eighths = (share * width * 8.0) as usize;
        let mut text = "█".repeat(eighths / 8);
        text.extend(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied());
        Some(text)
    };
    Ok(Arc::new((0..numbers[0].len()).map(row).collect::<StringArray>()))
}
