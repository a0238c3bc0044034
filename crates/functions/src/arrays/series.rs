//! Maps with whole numbers as keys, without gaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, MapArray, StructArray, UInt32Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Fields};
use datafusion::common::{Result, exec_err, plan_err};

use crate::rows::integers;
use crate::scalar::{Arity, Scalar, scalar};
use crate::zero::zero_value;

/// Most keys of one map, so that a key far away is an error and not an empty memory.
const KEYS_MAX: usize = 1 << 24;

pub(super) fn all() -> Vec<Scalar> {
    vec![scalar("mapPopulateSeries", Arity::Between(1, 2), result_type, populated)]
}

fn parts(data_type: &DataType) -> Result<Fields> {
    match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields[0].data_type().is_integer() => Ok(fields.clone()),
            _ => plan_err!("mapPopulateSeries takes a map whose keys are whole numbers"),
        },
        other => plan_err!("mapPopulateSeries takes a map, not {other}"),
    }
}

fn result_type(types: &[DataType]) -> Result<DataType> {
    parts(&types[0]).map(|_| types[0].clone())
}

/// Every key from the least to the greatest, or to the one that is given.
fn populated(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let fields = parts(arguments[0].data_type())?;
    let map: &MapArray = arguments[0].as_map();
    let last = arguments.get(1).map(integers).transpose()?;
    let given = integers(map.keys())?;
    // The zero value stands behind those that are there.
    let zero_place = given.len() as u32;
    let (mut keys, mut places, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..map.len() {
        let offsets = map.value_offsets();
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        let known: BTreeMap<i64, u32> =
            range.map(|place| (given.value(place), place as u32)).collect();
        let before = keys.len();
        if let (Some((first, _)), Some((greatest, _))) =
            (known.first_key_value(), known.last_key_value())
        {
            let end = last.as_ref().map_or(*greatest, |last| last.value(row));
            if end.checked_sub(*first).is_none_or(|more| more >= KEYS_MAX as i64) {
                return exec_err!("mapPopulateSeries would make more than {KEYS_MAX} keys");
            }
            for key in *first..=end {
                keys.push(key);
                places.push(known.get(&key).copied().unwrap_or(zero_place));
            }
        }
        lengths.push(keys.len() - before);
    }
    let zero = match zero_value(fields[1].data_type()) {
        Some(zero) => zero.to_array()?,
        None if keys.is_empty() => new_empty_array(fields[1].data_type()),
        None => return exec_err!("values of type {} have no zero", fields[1].data_type()),
    };
    let values = concat(&[map.values().as_ref(), zero.as_ref()])?;
    let values = take(&values, &UInt32Array::from(places), None)?;
    let keys = cast(&(Arc::new(Int64Array::from(keys)) as ArrayRef), fields[0].data_type())?;
    let DataType::Map(entries, ordered) = map.data_type() else {
        return exec_err!("a map is expected");
    };
    let pairs = StructArray::try_new(fields, vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = map.nulls().cloned();
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *ordered)?))
}
