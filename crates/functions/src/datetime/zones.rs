//! Time zones: times carry an instant and the zone that they are shown in.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, PrimitiveArray, StringArray,
    TimestampSecondArray,
};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};

use super::civil::is_time;
use crate::gives;
use crate::rows::texts;
use crate::scalar::{ONE, Scalar, TWO, Typed, scalar};

/// Functions whose type depends on the name of a zone.
pub(super) fn typed() -> Vec<Typed> {
    vec![
        Typed {
            name: "toTimeZone",
            arity: TWO,
            returns: |types, values| {
                let unit = match types.first() {
                    Some(DataType::Timestamp(unit, _)) => *unit,
                    Some(DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
                        TimeUnit::Nanosecond
                    }
                    _ => TimeUnit::Second,
                };
                Ok(DataType::Timestamp(unit, Some(zone_of(values.get(1))?)))
            },
            kernel: |arguments, data_type| in_zone(&arguments[0], data_type),
        },
        Typed {
            name: "__granarySeconds",
            arity: ONE,
            returns: |types, _| {
                let zone = types.first().and_then(|data_type| match data_type {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                });
                Ok(DataType::Timestamp(TimeUnit::Second, zone))
            },
            kernel: |arguments, data_type| Ok(cast(&arguments[0], data_type)?),
        },
    ]
}

/// Any value as it is, behind which the engine does not look for ranges.
pub const AS_IS: &str = "__granary_as_is";

/// A time whose clocks are meant, not its instant, when it gets a zone.
pub const ON_CLOCKS: &str = "__granary_on_clocks";

fn same_type(types: &[DataType]) -> Result<DataType> {
    match types {
        [one] => Ok(one.clone()),
        _ => plan_err!("one value is expected"),
    }
}

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: ON_CLOCKS,
            arity: ONE,
            returns: same_type,
            kernel: |arguments| Ok(Arc::clone(&arguments[0])),
        },
        Scalar {
            name: AS_IS,
            arity: ONE,
            returns: same_type,
            kernel: |arguments| Ok(Arc::clone(&arguments[0])),
        },
        scalar("timeZoneOf", ONE, gives::text, |arguments| {
            let zone = match arguments[0].data_type() {
                DataType::Timestamp(_, Some(zone)) => zone.to_string(),
                DataType::Timestamp(_, None) => "UTC".to_owned(),
                other => return exec_err!("timeZoneOf takes a time, not {other}"),
            };
            Ok(Arc::new(StringArray::from(vec![zone; arguments[0].len()])))
        }),
        scalar(
            "timeZoneOffset",
            ONE,
            |_| Ok(DataType::Int32),
            |arguments| {
                let wall = cast(&wall(&arguments[0])?, &seconds_type())?;
                let instants = cast(&instants(&arguments[0])?, &seconds_type())?;
                let wall = wall.as_primitive::<TimestampSecondType>().iter();
                let pairs = wall.zip(instants.as_primitive::<TimestampSecondType>().iter());
                let offsets: Int32Array =
                    pairs.map(|(wall, instant)| Some((wall? - instant?) as i32)).collect();
                Ok(Arc::new(offsets))
            },
        ),
        scalar(
            "toUTCTimestamp",
            TWO,
            |_| Ok(seconds_type()),
            |arguments| shifted(arguments, |zone, time| Some(-offset_of_wall(zone, time))),
        ),
        scalar(
            "fromUTCTimestamp",
            TWO,
            |_| Ok(seconds_type()),
            |arguments| {
                shifted(arguments, |zone, time| {
                    Some(i64::from(zone.offset_from_utc_datetime(&time).fix().local_minus_utc()))
                })
            },
        ),
    ]
}

fn seconds_type() -> DataType {
    DataType::Timestamp(TimeUnit::Second, None)
}

fn zone_of(value: Option<&Option<&ScalarValue>>) -> Result<Arc<str>> {
    let name = value.copied().flatten().and_then(|value| value.try_as_str().flatten());
    match name {
        Some(name) => match name.parse::<Tz>() {
            Ok(_) => Ok(Arc::from(name)),
            Err(_) => plan_err!("unknown time zone '{name}'"),
        },
        None => plan_err!("a time zone is a constant text, 'Europe/Berlin'"),
    }
}

fn parsed(zone: &str) -> Result<Tz> {
    match zone.parse() {
        Ok(zone) => Ok(zone),
        Err(_) => exec_err!("unknown time zone '{zone}'"),
    }
}

/// Texts and days are read in the zone; times and numbers are instants already.
fn in_zone(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, _) = data_type else {
        return exec_err!("a time in a zone is expected, not {data_type}");
    };
    let utc = DataType::Timestamp(*unit, Some(Arc::from("+00:00")));
    match values.data_type() {
        DataType::Timestamp(_, None) => Ok(cast(&cast(values, &utc)?, data_type)?),
        number if number.is_integer() => {
            Ok(cast(&cast(&cast(values, &DataType::Int64)?, &utc)?, data_type)?)
        }
        DataType::Date32 | DataType::Date64 => {
            on_clocks(&cast(values, &DataType::Timestamp(*unit, None))?, data_type)
        }
        _ => zoned_texts(values, data_type),
    }
}

/// Texts as times of a zone, NULL for what is no time. Of what the clocks of the zone show twice the
/// first is meant, and what they leave out goes on from before.
///
/// # Errors
/// None but for types that are no times with a zone.
pub fn zoned_texts(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let made = cast(values, data_type)?;
    let DataType::Timestamp(unit, Some(_)) = data_type else { return Ok(made) };
    if made.null_count() == values.null_count() {
        return Ok(made);
    }
    let walls = on_clocks(&cast(values, &DataType::Timestamp(*unit, None))?, data_type)?;
    Ok(zip(&is_not_null(&made)?, &made, &walls)?)
}

/// The instants at which the clocks of a zone show these times.
fn on_clocks(walls: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return exec_err!("a time in a zone is expected, not {data_type}");
    };
    let zone = zone.as_ref();
    match unit {
        TimeUnit::Second => from_wall(walls.as_primitive::<TimestampSecondType>().clone(), zone),
        TimeUnit::Millisecond => {
            from_wall(walls.as_primitive::<TimestampMillisecondType>().clone(), zone)
        }
        TimeUnit::Microsecond => {
            from_wall(walls.as_primitive::<TimestampMicrosecondType>().clone(), zone)
        }
        TimeUnit::Nanosecond => {
            from_wall(walls.as_primitive::<TimestampNanosecondType>().clone(), zone)
        }
    }
}

/// Adds seconds to each time that depend on its zone.
fn shifted(
    arguments: &[ArrayRef],
    seconds: fn(&Tz, NaiveDateTime) -> Option<i64>,
) -> Result<ArrayRef> {
    let times = cast(&arguments[0], &seconds_type())?;
    let zones = texts(&arguments[1])?;
    let mut last: Option<(String, Tz)> = None;
    let mut moved = Vec::with_capacity(times.len());
    for (time, zone) in times.as_primitive::<TimestampSecondType>().iter().zip(zones.iter()) {
        let (Some(time), Some(zone)) = (time, zone) else {
            moved.push(None);
            continue;
        };
        if last.as_ref().is_none_or(|(name, _)| name != zone) {
            last = Some((zone.to_owned(), parsed(zone)?));
        }
        let naive = super::civil::time_of(time);
        moved.push(
            last.as_ref()
                .zip(naive)
                .and_then(|((_, zone), naive)| Some(time + seconds(zone, naive)?)),
        );
    }
    Ok(Arc::new(TimestampSecondArray::from(moved)))
}

/// Seconds that a zone is ahead when its clocks show `wall`; in the hour that clocks leave out, as
/// before it.
fn offset_of_wall(zone: &Tz, wall: NaiveDateTime) -> i64 {
    let offset = zone
        .offset_from_local_datetime(&wall)
        .earliest()
        .unwrap_or_else(|| zone.offset_from_utc_datetime(&(wall - chrono::Duration::hours(3))));
    i64::from(offset.fix().local_minus_utc())
}

fn instants(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Timestamp(unit, _) => {
            let ticks = cast(values, &DataType::Int64)?;
            Ok(cast(&ticks, &DataType::Timestamp(*unit, None))?)
        }
        _ => Ok(Arc::clone(values)),
    }
}

/// What the clocks of its zone show at each time, as a time without a zone. Other values stay.
pub(super) fn wall(values: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, Some(zone)) = values.data_type() else {
        return Ok(Arc::clone(values));
    };
    let zone = parsed(zone)?;
    let per_second = per_second(*unit);
    let ticks = cast(values, &DataType::Int64)?;
    let shown = |tick: i64| {
        let time = DateTime::from_timestamp(tick.div_euclid(per_second), 0)?;
        let offset = zone.offset_from_utc_datetime(&time.naive_utc()).fix();
        Some(tick + i64::from(offset.local_minus_utc()) * per_second)
    };
    let shown: Int64Array =
        ticks.as_primitive::<Int64Type>().iter().map(|tick| tick.and_then(shown)).collect();
    Ok(cast(&shown, &DataType::Timestamp(*unit, None))?)
}

/// The instants at which the clocks of a zone show these times; without a zone they stay.
pub(super) fn from_wall<T: ArrowTimestampType>(
    walls: PrimitiveArray<T>,
    zone: Option<&Arc<str>>,
) -> Result<ArrayRef> {
    let Some(name) = zone else { return Ok(Arc::new(walls)) };
    let zone = parsed(name)?;
    let per_second = per_second(T::UNIT);
    let instant = |tick: i64| {
        let wall = DateTime::from_timestamp(tick.div_euclid(per_second), 0)?;
        Some(tick - offset_of_wall(&zone, wall.naive_utc()) * per_second)
    };
    let instants: PrimitiveArray<T> = walls.iter().map(|tick| tick.and_then(instant)).collect();
    Ok(Arc::new(instants.with_timezone(Arc::clone(name))))
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Whether these are times or days, for errors.
pub(super) fn check_time(values: &ArrayRef, name: &str) -> Result<()> {
    match is_time(values.data_type()) {
        true => Ok(()),
        false => exec_err!("{name} takes a date or time, not {}", values.data_type()),
    }
}
