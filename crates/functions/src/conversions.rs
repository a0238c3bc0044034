//! Conversions that Arrow does in another way: digits behind a decimal's last are cut off and not rounded,
//! a number beside a time is one of seconds and not of ticks, and times may be written without seconds.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, StringArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int64Type, TimeUnit, i256,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::common::{Result, exec_err, internal_err};

use crate::rows::texts;
use crate::scalar::{ONE, Scalar, TWO, Typed, scalar};

/// The value of the first argument in the type of the second.
pub const CONVERTED: &str = "__granary_converted";
/// The same; NULL where the value is none of the type.
pub const CONVERTED_OR_NULL: &str = "__granary_convertedOrNull";

/// A time as the number of its ticks.
pub const TICKS: &str = "__granary_ticks";
/// The number of ticks of the first argument as a time of the type of the second.
pub const OF_TICKS: &str = "__granary_of_ticks";

pub(super) fn all() -> Vec<Scalar> {
    vec![scalar(
        TICKS,
        ONE,
        |_| Ok(DataType::Int64),
        |arguments| Ok(cast(&arguments[0], &DataType::Int64)?),
    )]
}

pub(super) fn typed() -> Vec<Typed> {
    vec![
        Typed {
            name: CONVERTED,
            arity: TWO,
            returns: |types, _| second(types),
            kernel: |arguments, wanted| converted(&arguments[0], wanted, true),
        },
        Typed {
            name: CONVERTED_OR_NULL,
            arity: TWO,
            returns: |types, _| second(types),
            kernel: |arguments, wanted| converted(&arguments[0], wanted, false),
        },
        Typed {
            name: OF_TICKS,
            arity: TWO,
            returns: |types, _| second(types),
            kernel: |arguments, wanted| Ok(cast(&cast(&arguments[0], &DataType::Int64)?, wanted)?),
        },
    ]
}

fn second(types: &[DataType]) -> Result<DataType> {
    match types {
        [_, wanted] => Ok(wanted.clone()),
        _ => internal_err!("a value and a type were expected"),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether Arrow converts such values in another way than [`converted`].
pub fn is_converted(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(unit, _), to) if to.is_numeric() => *unit != TimeUnit::Second,
        (from, DataType::Decimal128(_, to) | DataType::Decimal256(_, to)) => match from {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => scale > to,
            other => is_text(other) || other.is_floating(),
        },
        (from, DataType::Timestamp(unit, zone)) => {
            (is_text(from) && zone.is_none()) || (from.is_numeric() && *unit != TimeUnit::Second)
        }
        _ => false,
    }
}

/// The values in a type for which [`is_converted`] holds.
///
/// # Errors
/// For the first value that is none of the type; when not `strict`, it is NULL instead.
pub fn converted(values: &ArrayRef, wanted: &DataType, strict: bool) -> Result<ArrayRef> {
    let made = match (values.data_type(), wanted) {
        (DataType::Timestamp(unit, _), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            let digits = digits_of(*unit);
            let ticks = cast(values, &DataType::Int64)?;
            let seconds: PrimitiveArray<Decimal128Type> =
                ticks.as_primitive::<Int64Type>().unary(i128::from);
            let seconds =
                seconds.with_precision_and_scale(Decimal128Type::MAX_PRECISION, digits)?;
            Arc::new(seconds) as ArrayRef
        }
        (DataType::Timestamp(unit, _), to) if to.is_floating() => {
            let ticks = cast(&cast(values, &DataType::Int64)?, &DataType::Float64)?;
            let per_second = 10_f64.powi(i32::from(digits_of(*unit)));
            let ticks = ticks.as_primitive::<Float64Type>();
            Arc::new(ticks.unary::<_, Float64Type>(|ticks| ticks / per_second))
        }
        (DataType::Timestamp(_, zone), _) => {
            let seconds = cast(values, &DataType::Timestamp(TimeUnit::Second, zone.clone()))?;
            cast(&seconds, &DataType::Int64)?
        }
        (from, DataType::Timestamp(..)) if is_text(from) => return times(values, wanted, strict),
        (_, DataType::Timestamp(unit, _)) => return of_seconds(values, *unit, wanted, strict),
        _ => Arc::clone(values),
    };
    match wanted {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
            plainly(&cut(&made, *scale)?, wanted, strict)
        }
        _ => plainly(&made, wanted, strict),
    }
}

fn plainly(values: &ArrayRef, wanted: &DataType, strict: bool) -> Result<ArrayRef> {
    let options = CastOptions { safe: !strict, ..CastOptions::default() };
    Ok(cast_with_options(values, wanted, &options)?)
}

/// Digits of the fraction of a second.
fn digits_of(unit: TimeUnit) -> i8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The values without what is behind the digit of this scale.
fn cut(values: &ArrayRef, scale: i8) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Decimal128(precision, own) if *own > scale => {
            let unit = 10_i128.pow(u32::from((*own - scale).unsigned_abs()));
            let cut = values.as_primitive::<Decimal128Type>();
            let cut = cut.unary::<_, Decimal128Type>(|value| value - value % unit);
            Arc::new(cut.with_precision_and_scale(*precision, *own)?)
        }
        DataType::Decimal256(precision, own) if *own > scale => {
            let unit = i256::from_i128(10).wrapping_pow(u32::from((*own - scale).unsigned_abs()));
            let cut = values.as_primitive::<Decimal256Type>();
            let cut = cut.unary::<_, Decimal256Type>(|value| value - value % unit);
            Arc::new(cut.with_precision_and_scale(*precision, *own)?)
        }
        of if of.is_floating() => {
            let factor = 10_f64.powi(i32::from(scale));
            let values = cast(values, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|value| (value * factor).trunc() / factor))
        }
        of if is_text(of) => {
            let written = texts(values)?;
            let kept = usize::try_from(scale).unwrap_or(0);
            match written.iter().flatten().all(|text| shortened(text, kept).is_none()) {
                true => Arc::new(written),
                false => {
                    let cut = written.iter().map(|text| {
                        text.map(|text| {
                            shortened(text, kept).map_or(Cow::Borrowed(text), Cow::Owned)
                        })
                    });
                    Arc::new(cut.collect::<StringArray>())
                }
            }
        }
        _ => Arc::clone(values),
    })
}

/// A number that is written with more digits behind the point, or with an exponent, as it is to be read;
/// `None` when it is good as it stands, or is no number.
fn shortened(text: &str, kept: usize) -> Option<String> {
    let text = text.trim();
    if let Some(at) = text.find(['e', 'E']) {
        let exponent: i32 = text[at + 1..].parse().ok().filter(|power: &i32| power.abs() <= 100)?;
        let (sign, digits) = match text[..at].strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text[..at].strip_prefix('+').unwrap_or(&text[..at])),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let point = i32::try_from(whole.len()).ok()? + exponent;
        let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
        let all = format!("{}{all}{}", zeros(-point), zeros(point - all.len() as i32));
        let (whole, fraction) = all.split_at(usize::try_from(point).unwrap_or(0));
        let fraction = &fraction[..fraction.len().min(kept)];
        let whole = if whole.is_empty() { "0" } else { whole };
        return Some(match fraction {
            "" => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{fraction}"),
        });
    }
    let (whole, fraction) = text.split_once('.')?;
    let is_long = fraction.len() > kept && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_long.then(|| match kept {
        0 => whole.to_owned(),
        _ => format!("{whole}.{}", &fraction[..kept]),
    })
}

/// Times from numbers of seconds.
fn of_seconds(
    values: &ArrayRef,
    unit: TimeUnit,
    wanted: &DataType,
    strict: bool,
) -> Result<ArrayRef> {
    let digits = digits_of(unit);
    let per_second = 10_i64.pow(u32::from(digits.unsigned_abs()));
    let ticks: Vec<Option<i64>> = match values.data_type() {
        of if of.is_floating() => {
            let values = cast(values, &DataType::Float64)?;
            let tick = |value: f64| {
                let ticks = (value * per_second as f64).trunc();
                (ticks.abs() < i64::MAX as f64).then_some(ticks as i64)
            };
            values.as_primitive::<Float64Type>().iter().map(|value| value.and_then(tick)).collect()
        }
        of if of.is_decimal() => {
            let fine = DataType::Decimal128(Decimal128Type::MAX_PRECISION, digits);
            let fine = plainly(&cut(values, digits)?, &fine, strict)?;
            let fine = fine.as_primitive::<Decimal128Type>();
            fine.iter().map(|value| value.and_then(|value| i64::try_from(value).ok())).collect()
        }
        _ => {
            let seconds = plainly(values, &DataType::Int64, strict)?;
            let seconds = seconds.as_primitive::<Int64Type>();
            seconds
                .iter()
                .map(|value| value.and_then(|value| value.checked_mul(per_second)))
                .collect()
        }
    };
    if strict && ticks.iter().enumerate().any(|(row, tick)| tick.is_none() && values.is_valid(row))
    {
        return exec_err!("a number of seconds is beyond the times of the type");
    }
    Ok(cast(&Int64Array::from(ticks), wanted)?)
}

/// Times from texts.
fn times(values: &ArrayRef, wanted: &DataType, strict: bool) -> Result<ArrayRef> {
    let made = plainly(values, wanted, false)?;
    if made.null_count() == values.null_count() {
        return Ok(made);
    }
    let written = texts(values)?;
    let mut fuller: Vec<Option<String>> = Vec::with_capacity(written.len());
    for (row, text) in written.iter().enumerate() {
        fuller.push(match text {
            Some(text) if made.is_null(row) => match full_time(text) {
                None if strict => return exec_err!("cannot parse '{text}' as DateTime"),
                found => found,
            },
            text => text.map(str::to_owned),
        });
    }
    let fuller: ArrayRef = Arc::new(StringArray::from(fuller));
    plainly(&fuller, wanted, strict)
}

/// A time that is written in fewer letters than Arrow wants: without seconds or minutes, with one digit
/// where others have two, or as seconds since 1970. `None` when Arrow reads it, or it is no time.
pub fn full_time(text: &str) -> Option<String> {
    let text = text.trim();
    if string_to_timestamp_nanos(text).is_ok() {
        return None;
    }
    let time = of_stamp(text).or_else(|| of_clock(text))?;
    Some(time.format("%Y-%m-%d %H:%M:%S%.f").to_string())
}

/// Least and most digits of what is taken for seconds since 1970.
const STAMP_DIGITS: std::ops::RangeInclusive<usize> = 9..=10;

fn of_stamp(text: &str) -> Option<NaiveDateTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !STAMP_DIGITS.contains(&seconds.len()) || !are_digits(seconds) || !are_digits(fraction) {
        return None;
    }
    Some(DateTime::from_timestamp(seconds.parse().ok()?, nanoseconds(fraction)?)?.naive_utc())
}

/// Digits behind the point of a second.
fn nanoseconds(fraction: &str) -> Option<u32> {
    let digits = &fraction[..fraction.len().min(9)];
    match digits {
        "" => Some(0),
        _ => Some(digits.parse::<u32>().ok()? * 10_u32.pow(9 - digits.len() as u32)),
    }
}

fn of_clock(text: &str) -> Option<NaiveDateTime> {
    let number = |text: &str| {
        let is_short = (1..=2).contains(&text.len());
        text.parse::<u32>().ok().filter(|_| is_short && !text.starts_with('+'))
    };
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "0"));
    let mut parts = date.split('-');
    let year = parts.next().filter(|year| year.len() == 4)?.parse().ok()?;
    let (month, day) = (number(parts.next()?)?, number(parts.next()?)?);
    let date = NaiveDate::from_ymd_opt(year, month, day).filter(|_| parts.next().is_none())?;
    let mut parts = time.split(':');
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let (second, fraction) = match parts.next() {
        Some(second) => second.split_once('.').unwrap_or((second, "")),
        None => ("0", ""),
    };
    if parts.next().is_some() {
        return None;
    }
    date.and_hms_nano_opt(hour, minute, number(second)?, nanoseconds(fraction)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut() {
        for (text, kept, expected) in [
            ("1.259", 2, Some("1.25")),
            ("-1.259", 0, Some("-1")),
            ("1.25", 2, None),
            ("7", 2, None),
            ("1e2", 2, Some("100")),
            ("-1.2345e1", 2, Some("-12.34")),
            ("1.5e-3", 4, Some("0.0015")),
            ("2.5e+1", 0, Some("25")),
            ("1.2x9", 1, None),
            ("ex", 1, None),
        ] {
            assert_eq!(shortened(text, kept).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn times_in_few_letters() {
        for (text, expected) in [
            ("2024-01-01 10:00", Some("2024-01-01 10:00:00")),
            ("2024-1-5 1:2:3", Some("2024-01-05 01:02:03")),
            ("2024-01-01 10", Some("2024-01-01 10:00:00")),
            ("2024-1-5", Some("2024-01-05 00:00:00")),
            ("2024-1-5 10:00:07.25", Some("2024-01-05 10:00:07.250")),
            ("1704067200", Some("2024-01-01 00:00:00")),
            ("1704067200.5", Some("2024-01-01 00:00:00.500")),
            // As they are.
            ("2024-01-01 10:00:00", None),
            ("2024-01-01", None),
            // No times.
            ("2024-13-01 10:00", None),
            ("2024-01-01 25:00", None),
            ("10:00", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(full_time(text).as_deref(), expected, "{text}");
        }
    }
}
