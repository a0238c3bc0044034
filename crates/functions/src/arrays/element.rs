//! One element of an array, and every element with every element of other arrays.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, StructArray, UInt32Array, new_empty_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, plan_err};

use crate::gives;
use crate::rows::{integers, item_type, list_of, lists, range_of, texts};
use crate::scalar::{Arity, Scalar, TWO, Typed, scalar};
use crate::zero::zero_value;

/// The element at a place, from the end when it is negative. Where there is none it is the zero value;
/// elements that are NULL stay so, which is why its name says Nullable.
pub const ELEMENT: &str = "__granaryElementNullable";

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar(ELEMENT, TWO, |types| item_type(&types[0]), element),
        scalar("__granaryCross", Arity::AtLeastOne, crossed_type, cross),
    ]
}

fn element(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (list, places) = (lists(&arguments[0])?, integers(&arguments[1])?);
    let zero = zero_value(list.values().data_type());
    // The zero value stands behind all elements.
    let zero_at = zero.is_some().then_some(list.values().len() as u32);
    let index = |row: usize| {
        if list.is_null(row) || places.is_null(row) {
            return None;
        }
        let range = range_of(&list, row);
        let (place, length) = (places.value(row), range.len() as i64);
        match place {
            1.. if place <= length => Some((range.start as i64 + place - 1) as u32),
            ..=-1 if place >= -length => Some((range.end as i64 + place) as u32),
            _ => zero_at,
        }
    };
    let indices: UInt32Array = (0..list.len()).map(index).collect();
    let needs_zero = zero_at.is_some_and(|at| indices.iter().flatten().any(|index| index == at));
    match zero.filter(|_| needs_zero) {
        None => Ok(take(list.values(), &indices, None)?),
        Some(zero) => {
            let zero = zero.to_array()?;
            Ok(take(&concat(&[list.values().as_ref(), zero.as_ref()])?, &indices, None)?)
        }
    }
}

fn tuple_fields(types: &[DataType]) -> Result<Fields> {
    let fields = types
        .iter()
        .enumerate()
        .map(|(at, data_type)| Ok(Field::new((at + 1).to_string(), item_type(data_type)?, true)));
    fields.collect::<Result<Vec<Field>>>().map(Fields::from)
}

fn crossed_type(types: &[DataType]) -> Result<DataType> {
    Ok(gives::list(DataType::Struct(tuple_fields(types)?)))
}

/// The last array turns fastest.
fn cross(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let all = arguments.iter().map(lists).collect::<Result<Vec<ListArray>>>()?;
    let rows = all.first().map_or(0, |list| list.len());
    let mut indices: Vec<Vec<u32>> = vec![Vec::new(); all.len()];
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let ranges: Vec<_> = all.iter().map(|list| range_of(list, row)).collect();
        let count: usize = ranges.iter().map(|range| range.len()).product();
        let mut repeats = count;
        for (range, indices) in ranges.iter().zip(&mut indices) {
            repeats = repeats.checked_div(range.len()).unwrap_or(0);
            let place = |at: usize| (range.start + (at / repeats.max(1)) % range.len()) as u32;
            indices.extend((0..count).map(place));
        }
        lengths.push(Some(count));
    }
    let columns = all
        .iter()
        .zip(indices)
        .map(|(list, indices)| Ok(take(list.values(), &UInt32Array::from(indices), None)?));
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let types: Vec<DataType> = arguments.iter().map(|list| list.data_type().clone()).collect();
    list_of(Arc::new(StructArray::try_new(tuple_fields(&types)?, columns, None)?), &lengths)
}

/// The elements of one name of all tuples in an array.
pub const ELEMENTS: &str = "__granary_elements";

pub(super) fn typed() -> Vec<Typed> {
    vec![Typed {
        name: ELEMENTS,
        arity: Arity::Exactly(2),
        returns: |types, constants| {
            let name = constants.get(1).copied().flatten().and_then(|name| name.try_as_str()?);
            match (types.first(), name) {
                (Some(DataType::List(item)), Some(name)) => match item.data_type() {
                    DataType::Struct(fields) => match fields.iter().find(|f| f.name() == name) {
                        Some(field) => Ok(DataType::List(Arc::new(Field::new_list_field(
                            field.data_type().clone(),
                            field.is_nullable() || item.is_nullable(),
                        )))),
                        None => plan_err!("the tuples of the array have no element {name}"),
                    },
                    other => plan_err!("an array of tuples is expected, not of {other}"),
                },
                _ => plan_err!("an array of tuples and the name of an element are expected"),
            }
        },
        kernel: elements,
    }]
}

fn elements(arguments: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let (DataType::List(item), names) = (data_type, texts(&arguments[1])?) else {
        return plan_err!("an array is expected");
    };
    let list = lists(&arguments[0])?;
    let tuples = list.values().as_struct();
    let name = names.iter().flatten().next().unwrap_or_default();
    let Some(column) = tuples.column_by_name(name) else {
        // Without a row there is no name either.
        return Ok(new_empty_array(data_type));
    };
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::clone(column), nulls)?))
}
