//! Bits of whole numbers, as wide as their types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt8Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::integers;
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    let byte = |_: &[DataType]| Ok(DataType::UInt8);
    vec![
        scalar("bitNot", ONE, gives::same, |arguments| each(arguments, |value, _, _| !value)),
        scalar("byteSwap", ONE, gives::same, |arguments| {
            each(arguments, |value, _, width| value.swap_bytes() >> (64 - width))
        }),
        scalar("bitRotateLeft", TWO, gives::same, |arguments| each(arguments, rotated)),
        scalar("bitRotateRight", TWO, gives::same, |arguments| {
            each(arguments, |value, turn, width| rotated(value, width - turn % width, width))
        }),
        scalar("bitCount", ONE, byte, |arguments| {
            let (values, width) = bits(&arguments[0])?;
            let count = |value: u64| (value & mask(width)).count_ones() as u8;
            Ok(Arc::new(values.iter().map(|v| v.map(count)).collect::<UInt8Array>()))
        }),
        scalar("bitHammingDistance", TWO, byte, |arguments| {
            let ((left, width), (right, other)) = (bits(&arguments[0])?, bits(&arguments[1])?);
            let mask = mask(width.max(other));
            let pairs = left.iter().zip(right.iter());
            let distances: UInt8Array = pairs
                .map(|(left, right)| Some(((left? ^ right?) & mask).count_ones() as u8))
                .collect();
            Ok(Arc::new(distances))
        }),
        scalar("bitTest", TWO, byte, |arguments| {
            let (values, _) = bits(&arguments[0])?;
            let places = integers(&arguments[1])?;
            let test = |(value, place): (Option<u64>, Option<i64>)| {
                let place = u32::try_from(place?).ok();
                let bit = place.and_then(|place| value?.checked_shr(place)).unwrap_or(0);
                Some((bit & 1) as u8)
            };
            Ok(Arc::new(values.iter().zip(places.iter()).map(test).collect::<UInt8Array>()))
        }),
        scalar("bitTestAll", Arity::AtLeastOne, gives::flag, |arguments| {
            tested(arguments, |value, wanted| value & wanted == wanted)
        }),
        scalar("bitTestAny", Arity::AtLeastOne, gives::flag, |arguments| {
            tested(arguments, |value, wanted| value & wanted != 0)
        }),
        scalar(
            "bitPositionsToArray",
            ONE,
            |_| Ok(gives::list(DataType::UInt64)),
            |arguments| listed(&arguments[0], |place| place),
        ),
        scalar(
            "bitmaskToArray",
            ONE,
            |types| Ok(gives::list(gives::same(types)?)),
            |arguments| {
                let list = listed(&arguments[0], |place| 1 << place)?;
                Ok(cast(&list, &gives::list(arguments[0].data_type().clone()))?)
            },
        ),
        scalar("bitmaskToList", ONE, gives::text, |arguments| {
            let (values, width) = bits(&arguments[0])?;
            let written = |value: u64| {
                let parts = places(value & mask(width)).map(|place| (1_u64 << place).to_string());
                parts.collect::<Vec<String>>().join(",")
            };
            let texts = values.iter().map(|value| value.map(written));
            Ok(Arc::new(texts.collect::<arrow::array::StringArray>()))
        }),
    ]
}

/// The bits of whole numbers and how many their type has.
fn bits(values: &ArrayRef) -> Result<(UInt64Array, u32)> {
    let width = match values.data_type() {
        DataType::Int8 | DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32 | DataType::UInt32 => 32,
        DataType::Int64 | DataType::UInt64 => 64,
        other => return exec_err!("a whole number is expected, not {other}"),
    };
    if *values.data_type() == DataType::UInt64 {
        return Ok((values.as_primitive::<UInt64Type>().clone(), width));
    }
    let wide = cast(values, &DataType::Int64)?;
    let wide = wide.as_primitive::<Int64Type>();
    Ok((wide.iter().map(|value| value.map(|value| value as u64)).collect(), width))
}

fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width)
}

fn rotated(value: u64, turn: u32, width: u32) -> u64 {
    let (value, turn) = (value & mask(width), turn % width);
    match turn {
        0 => value,
        turn => value << turn | value >> (width - turn),
    }
}

/// A number of the same type for each number; `of` gets its bits, the second argument and the width.
fn each(arguments: &[ArrayRef], of: fn(u64, u32, u32) -> u64) -> Result<ArrayRef> {
    let (values, width) = bits(&arguments[0])?;
    let turns = arguments.get(1).map(integers).transpose()?;
    let turn = |row: usize| {
        let turn = turns.as_ref().map_or(0, |turns| turns.value(row));
        turn.rem_euclid(i64::from(width)) as u32
    };
    let row = |row: usize| {
        values.is_valid(row).then(|| of(values.value(row), turn(row), width) & mask(width))
    };
    let changed = (0..values.len()).map(row);
    let data_type = arguments[0].data_type();
    if data_type.is_unsigned_integer() {
        return Ok(cast(&changed.collect::<UInt64Array>(), data_type)?);
    }
    // The highest bit is the sign.
    let unused = 64 - width;
    let signed = changed.map(|value| value.map(|value| (value << unused) as i64 >> unused));
    Ok(cast(&signed.collect::<Int64Array>(), data_type)?)
}

/// Whether the bits at the places of the other arguments are so.
fn tested(arguments: &[ArrayRef], is_so: fn(u64, u64) -> bool) -> Result<ArrayRef> {
    let (values, _) = bits(&arguments[0])?;
    let places = arguments[1..].iter().map(integers).collect::<Result<Vec<Int64Array>>>()?;
    let test = |(row, value): (usize, Option<u64>)| {
        let wanted = places.iter().fold(0, |wanted, places| {
            wanted | 1_u64.checked_shl(u32::try_from(places.value(row)).unwrap_or(64)).unwrap_or(0)
        });
        value.map(|value| is_so(value, wanted))
    };
    Ok(Arc::new(values.iter().enumerate().map(test).collect::<BooleanArray>()))
}

fn places(value: u64) -> impl Iterator<Item = u64> {
    (0..64).filter(move |place| value >> place & 1 == 1)
}

fn listed(values: &ArrayRef, of: fn(u64) -> u64) -> Result<ArrayRef> {
    let (values, width) = bits(values)?;
    let rows: Vec<Option<Vec<u64>>> = values
        .iter()
        .map(|value| value.map(|value| places(value & mask(width)).map(of).collect()))
        .collect();
    let lengths: Vec<Option<usize>> = rows.iter().map(|row| row.as_ref().map(Vec::len)).collect();
    let items: UInt64Array = rows.into_iter().flatten().flatten().collect::<Vec<u64>>().into();
    crate::rows::list_of(Arc::new(items), &lengths)
}
