//! Values of a key as points on a line, and the way from one to the next.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use chrono::{DateTime, Duration, Months, NaiveDate, NaiveDateTime};
use datafusion::common::{Result, ScalarValue};

use super::invalid;

/// A value: days of dates, ticks of times, digits of decimals.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Point {
    Whole(i128),
    Float(f64),
}

/// How far the next value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    By(Point),
    Interval(IntervalMonthDayNano),
}

/// The type that a STEP of type `given` has for a key of type `key`.
///
/// # Errors
/// InvalidInput when the key has no next value, or not by such a step.
pub(crate) fn step_type(key: &DataType, given: &DataType) -> Result<DataType> {
    let is_interval = matches!(given, DataType::Interval(_));
    match key {
        DataType::Date32 | DataType::Timestamp(..) if is_interval => {
            Ok(DataType::Interval(IntervalUnit::MonthDayNano))
        }
        DataType::Date32 | DataType::Timestamp(..) => Ok(DataType::Int64),
        _ if is_interval => {
            Err(invalid(format!("WITH FILL: a key of type {key} has no STEP INTERVAL")))
        }
        DataType::Float32 | DataType::Float64 => Ok(DataType::Float64),
        DataType::Decimal128(..) => Ok(key.clone()),
        other if other.is_integer() => Ok(DataType::Int64),
        other => Err(no_fill(other)),
    }
}

fn no_fill(data_type: &DataType) -> datafusion::error::DataFusionError {
    invalid(format!(
        "WITH FILL takes keys that are numbers, dates or times, not a value of type {data_type}"
    ))
}

/// The value at `row`; none for NULL.
pub(super) fn point_at(values: &ArrayRef, row: usize) -> Result<Option<Point>> {
    point(&ScalarValue::try_from_array(values, row)?)
}

/// The point of a value; none for NULL.
pub(super) fn point(value: &ScalarValue) -> Result<Option<Point>> {
    use ScalarValue as V;
    let whole = |value: &Option<i64>| value.map(|value| Point::Whole(value.into()));
    Ok(match value {
        V::Int8(v) => v.map(|v| Point::Whole(v.into())),
        V::Int16(v) => v.map(|v| Point::Whole(v.into())),
        V::Int32(v) | V::Date32(v) => v.map(|v| Point::Whole(v.into())),
        V::UInt8(v) => v.map(|v| Point::Whole(v.into())),
        V::UInt16(v) => v.map(|v| Point::Whole(v.into())),
        V::UInt32(v) => v.map(|v| Point::Whole(v.into())),
        V::UInt64(v) => v.map(|v| Point::Whole(v.into())),
        V::Int64(v)
        | V::TimestampSecond(v, _)
        | V::TimestampMillisecond(v, _)
        | V::TimestampMicrosecond(v, _)
        | V::TimestampNanosecond(v, _) => whole(v),
        V::Decimal128(v, _, _) => v.map(Point::Whole),
        V::Float32(v) => v.map(|v| Point::Float(v.into())),
        V::Float64(v) => v.map(Point::Float),
        V::Null => None,
        other => return Err(no_fill(&other.data_type())),
    })
}

/// The value of a point.
pub(super) fn value(point: Point, data_type: &DataType) -> Result<ScalarValue> {
    let too_far = || invalid(format!("WITH FILL leaves the range of {data_type}"));
    let whole = match point {
        Point::Float(value) => {
            return Ok(match data_type {
                DataType::Float32 => ScalarValue::Float32(Some(value as f32)),
                _ => ScalarValue::Float64(Some(value)),
            });
        }
        Point::Whole(value) => value,
    };
    Ok(match data_type {
        DataType::Date32 => ScalarValue::Date32(Some(whole.try_into().map_err(|_| too_far())?)),
        DataType::Timestamp(unit, zone) => {
            let ticks: Option<i64> = Some(whole.try_into().map_err(|_| too_far())?);
            let zone = zone.clone();
            match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(ticks, zone),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(ticks, zone),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(ticks, zone),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(ticks, zone),
            }
        }
        DataType::Decimal128(precision, scale) => {
            ScalarValue::Decimal128(Some(whole), *precision, *scale)
        }
        DataType::UInt64 => ScalarValue::UInt64(Some(whole.try_into().map_err(|_| too_far())?)),
        _ => {
            let narrow: i64 = whole.try_into().map_err(|_| too_far())?;
            ScalarValue::Int64(Some(narrow)).cast_to(data_type)?
        }
    })
}

/// The step that `given` says, else one forward or backward.
pub(super) fn step(
    given: Option<ScalarValue>,
    data_type: &DataType,
    ascending: bool,
) -> Result<Step> {
    let ticks = match data_type {
        DataType::Timestamp(unit, _) => ticks_per_second(unit),
        _ => 1,
    };
    Ok(match given {
        Some(ScalarValue::IntervalMonthDayNano(Some(interval))) => Step::Interval(interval),
        Some(value) => match point(&value)? {
            Some(Point::Whole(value)) => Step::By(Point::Whole(value * ticks)),
            Some(float) => Step::By(float),
            None => return Err(invalid("WITH FILL: STEP is NULL".to_owned())),
        },
        None => {
            let direction: i128 = if ascending { 1 } else { -1 };
            Step::By(match data_type {
                DataType::Float32 | DataType::Float64 => Point::Float(direction as f64),
                DataType::Decimal128(_, scale) => {
                    let scale = u32::try_from(*scale).unwrap_or_default();
                    Point::Whole(direction * 10_i128.pow(scale.min(38)))
                }
                _ => Point::Whole(direction * ticks),
            })
        }
    })
}

fn ticks_per_second(unit: &TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// The point one step after `from`.
pub(super) fn after(from: Point, step: Step, data_type: &DataType) -> Result<Point> {
    let too_far = || invalid(format!("WITH FILL leaves the range of {data_type}"));
    match (from, step) {
        (Point::Whole(from), Step::By(Point::Whole(by))) => {
            from.checked_add(by).map(Point::Whole).ok_or_else(too_far)
        }
        (Point::Float(from), Step::By(Point::Float(by))) => Ok(Point::Float(from + by)),
        (Point::Whole(from), Step::Interval(interval)) => {
            let moved = match data_type {
                DataType::Timestamp(unit, _) => moved_time(from, interval, unit),
                _ => moved_date(from, interval),
            };
            moved.map(Point::Whole).ok_or_else(too_far)
        }
        _ => Err(invalid(format!("WITH FILL: the STEP does not fit a key of type {data_type}"))),
    }
}

fn moved_months(from: NaiveDateTime, months: i32) -> Option<NaiveDateTime> {
    let count = Months::new(months.unsigned_abs());
    if months < 0 { from.checked_sub_months(count) } else { from.checked_add_months(count) }
}

fn moved_date(days: i128, interval: IntervalMonthDayNano) -> Option<i128> {
    const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?.and_hms_opt(0, 0, 0)?;
    let from = epoch.checked_add_signed(Duration::try_days(days.try_into().ok()?)?)?;
    let days = i64::from(interval.days) + interval.nanoseconds / NANOSECONDS_PER_DAY;
    let moved =
        moved_months(from, interval.months)?.checked_add_signed(Duration::try_days(days)?)?;
    Some((moved - epoch).num_days().into())
}

fn moved_time(ticks: i128, interval: IntervalMonthDayNano, unit: &TimeUnit) -> Option<i128> {
    let per_second = ticks_per_second(unit);
    let (seconds, rest) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let from = DateTime::from_timestamp(seconds.try_into().ok()?, 0)?.naive_utc();
    let days = Duration::try_days(interval.days.into())?;
    let moved = moved_months(from, interval.months)?.checked_add_signed(days)?;
    let nanoseconds_per_tick = 1_000_000_000 / per_second;
    let moved_ticks = i128::from(moved.and_utc().timestamp()) * per_second + rest;
    Some(moved_ticks + i128::from(interval.nanoseconds) / nanoseconds_per_tick)
}
