//! Maps with maps: added, joined, sorted; maps out of texts.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, MapArray, StringArray, StructArray, UInt32Array, make_comparator,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, cast, concat, kernels::numeric, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err, plan_err};

use crate::gives;
use crate::rows::texts;
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("mapAdd", Arity::AtLeastOne, gives::same, |maps| merged(maps, Both::Add)),
        scalar("mapSubtract", Arity::AtLeastOne, gives::same, |maps| merged(maps, Both::Subtract)),
        scalar("mapUpdate", TWO, gives::same, |maps| merged(maps, Both::Last)),
        scalar("mapConcat", Arity::AtLeastOne, gives::same, |maps| merged(maps, Both::Last)),
        scalar("mapSort", ONE, gives::same, |maps| sorted(&maps[0], false)),
        scalar("mapReverseSort", ONE, gives::same, |maps| sorted(&maps[0], true)),
        scalar(
            "extractKeyValuePairs",
            Arity::Between(1, 3),
            |_| Ok(map_type(DataType::Utf8, DataType::Utf8)),
            pairs,
        ),
    ]
}

/// What becomes of a key that two maps have.
#[derive(Clone, Copy, PartialEq)]
enum Both {
    Add,
    Subtract,
    Last,
}

fn map_type(key: DataType, value: DataType) -> DataType {
    let fields =
        Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

fn entries_of(map: &MapArray) -> Result<(FieldRef, Fields)> {
    match map.data_type() {
        DataType::Map(field, _) => match field.data_type() {
            DataType::Struct(fields) => Ok((Arc::clone(field), fields.clone())),
            other => plan_err!("the entries of a map are tuples, not {other}"),
        },
        other => plan_err!("a map is expected, not {other}"),
    }
}

fn as_map(values: &ArrayRef) -> Result<&MapArray> {
    match values.as_map_opt() {
        Some(map) => Ok(map),
        None => exec_err!("a map is expected, not {}", values.data_type()),
    }
}

/// The map of the entries at `places` of keys and values.
fn map_of(
    like: &MapArray,
    keys: ArrayRef,
    values: ArrayRef,
    lengths: &[usize],
) -> Result<ArrayRef> {
    let (field, fields) = entries_of(like)?;
    let values = cast(&values, fields[1].data_type())?;
    let entries = StructArray::try_new(fields, vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(MapArray::try_new(field, offsets, entries, like.nulls().cloned(), false)?))
}

/// Folds the maps from left to right.
fn merged(maps: &[ArrayRef], both: Both) -> Result<ArrayRef> {
    let Some((first, others)) = maps.split_first() else {
        return exec_err!("at least one map is expected");
    };
    others.iter().try_fold(Arc::clone(first), |left, right| merge_two(&left, right, both))
}

fn merge_two(left: &ArrayRef, right: &ArrayRef, both: Both) -> Result<ArrayRef> {
    let (left, right) = (as_map(left)?, as_map(right)?);
    let keys =
        concat(&[left.keys().as_ref(), cast(right.keys(), left.keys().data_type())?.as_ref()])?;
    let right_values = cast(right.values(), left.values().data_type())?;
    let right_values = match both {
        // What only the right side has counts as 0 on the left.
        Both::Subtract => numeric::neg(right_values.as_ref())?,
        _ => right_values,
    };
    let equal = make_comparator(&keys, &keys, SortOptions::default())?;
    let existing = left.keys().len();
    let mut key_places: Vec<u32> = Vec::new();
    let (mut from_left, mut from_right): (Vec<Option<u32>>, Vec<Option<u32>>) = Default::default();
    let mut lengths = Vec::with_capacity(left.len());
    for row in 0..left.len() {
        let range = |map: &MapArray| {
            map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize
        };
        let before = key_places.len();
        for at in range(left) {
            key_places.push(at as u32);
            from_left.push(Some(at as u32));
            from_right.push(None);
        }
        for at in range(right) {
            let same = |place: &usize| {
                equal(key_places[*place] as usize, existing + at) == Ordering::Equal
            };
            match (before..key_places.len()).find(same) {
                Some(place) => from_right[place] = Some(at as u32),
                None => {
                    key_places.push((existing + at) as u32);
                    from_left.push(None);
                    from_right.push(Some(at as u32));
                }
            }
        }
        lengths.push(key_places.len() - before);
    }
    let of_left = take(left.values(), &UInt32Array::from(from_left), None)?;
    let of_right = take(&right_values, &UInt32Array::from(from_right), None)?;
    let values = match both {
        Both::Last => or_else(&of_right, &of_left)?,
        Both::Add | Both::Subtract => {
            let zero = numeric::sub_wrapping(&of_left, &of_left)?;
            let other_zero = numeric::sub_wrapping(&of_right, &of_right)?;
            let left = or_else(&of_left, &other_zero)?;
            let right = or_else(&of_right, &zero)?;
            cast(&numeric::add_wrapping(&left, &right)?, of_left.data_type())?
        }
    };
    map_of(left, take(&keys, &UInt32Array::from(key_places), None)?, values, &lengths)
}

/// The values, and the others where those are NULL.
fn or_else(values: &ArrayRef, others: &ArrayRef) -> Result<ArrayRef> {
    let is_there = arrow::compute::is_not_null(values)?;
    Ok(arrow::compute::kernels::zip::zip(&is_there, values, others)?)
}

/// By key.
fn sorted(values: &ArrayRef, descending: bool) -> Result<ArrayRef> {
    let map = as_map(values)?;
    let options = SortOptions { descending, nulls_first: false };
    let compare = make_comparator(map.keys(), map.keys(), options)?;
    let mut places: Vec<u32> = Vec::with_capacity(map.keys().len());
    let mut lengths = Vec::with_capacity(map.len());
    for row in 0..map.len() {
        let mut of_row: Vec<usize> =
            (map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize).collect();
        of_row.sort_by(|a, b| compare(*a, *b));
        lengths.push(of_row.len());
        places.extend(of_row.into_iter().map(|place| place as u32));
    }
    let places = UInt32Array::from(places);
    let keys = take(map.keys(), &places, None)?;
    map_of(map, keys, take(map.values(), &places, None)?, &lengths)
}

/// `name:anna, age:31` by the mark between key and value and the marks between pairs.
fn pairs(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = texts(&arguments[0])?;
    let marks = arguments[1..].iter().map(texts).collect::<Result<Vec<StringArray>>>()?;
    let mark = |place: usize, row: usize, or: &'static str| match marks.get(place) {
        Some(marks) => marks.value(row).to_owned(),
        None => or.to_owned(),
    };
    let (mut keys, mut values): (Vec<String>, Vec<String>) = Default::default();
    let mut lengths = Vec::with_capacity(rows.len());
    for (row, text) in rows.iter().enumerate() {
        let (of_key, of_pair) = (mark(0, row, ":"), mark(1, row, " ,;"));
        let before = keys.len();
        let parts = text.unwrap_or_default().split(|c| of_pair.contains(c));
        for (key, value) in parts.filter_map(|part| part.split_once(of_key.as_str())) {
            if !key.is_empty() {
                keys.push(key.trim_matches('"').to_owned());
                values.push(value.trim_matches('"').to_owned());
            }
        }
        lengths.push(keys.len() - before);
    }
    let DataType::Map(field, _) = map_type(DataType::Utf8, DataType::Utf8) else {
        return exec_err!("a map is expected");
    };
    let DataType::Struct(fields) = field.data_type() else {
        return exec_err!("the entries of a map are tuples");
    };
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(keys)), Arc::new(StringArray::from(values))];
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = rows.nulls().cloned();
    Ok(Arc::new(MapArray::try_new(Arc::clone(&field), offsets, entries, nulls, false)?))
}
