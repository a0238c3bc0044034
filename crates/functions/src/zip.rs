//! Arrays side by side, for ARRAY JOIN.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result};
use granary_common::Error;

use super::scalar::{Arity, Scalar};
use super::zero::zero_value;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    vec![ZIP, ZIP_OR_DEFAULT, ITEMS]
}

/// An array as it is, a map as the array of its entries.
const ITEMS: Scalar = Scalar {
    name: "__granary_items",
    arity: Arity::Exactly(1),
    returns: |types| match &types[0] {
        DataType::Map(entries, _) => Ok(DataType::List(Arc::clone(entries))),
        other => Ok(other.clone()),
    },
    kernel: |arrays| match arrays[0].data_type() {
        DataType::Map(..) => Ok(Arc::new(as_list(&arrays[0])?)),
        _ => Ok(Arc::clone(&arrays[0])),
    },
};

/// An array of tuples from arrays of one length. NULL is an empty array.
pub(super) const ZIP: Scalar = Scalar {
    name: "__granaryZip",
    arity: Arity::AtLeastOne,
    returns: |types| zipped_type(types, false),
    kernel: |arrays| zip(arrays, false),
};

/// The same; empty arrays become one tuple of zero values.
pub(super) const ZIP_OR_DEFAULT: Scalar = Scalar {
    name: "__granaryZipOrDefault",
    arity: Arity::AtLeastOne,
    returns: |types| zipped_type(types, true),
    kernel: |arrays| zip(arrays, true),
};

fn invalid(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message)))
}

/// What one array holds.
fn item(data_type: &DataType) -> Result<Field> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => Ok(item.as_ref().clone()),
        other => Err(invalid(format!("ARRAY JOIN takes arrays, not a value of type {other}"))),
    }
}

fn tuple_fields(types: &[DataType], or_default: bool) -> Result<Fields> {
    let fields = types.iter().enumerate().map(|(at, data_type)| {
        let item = item(data_type)?;
        let nullable = item.is_nullable() || (or_default && zero_value(item.data_type()).is_none());
        Ok(Field::new((at + 1).to_string(), item.data_type().clone(), nullable))
    });
    fields.collect::<Result<Vec<Field>>>().map(Fields::from)
}

fn zipped_type(types: &[DataType], or_default: bool) -> Result<DataType> {
    let tuple = DataType::Struct(tuple_fields(types, or_default)?);
    Ok(DataType::List(Arc::new(Field::new_list_field(tuple, false))))
}

fn as_list(array: &ArrayRef) -> Result<ListArray> {
    if let Some(map) = array.as_any().downcast_ref::<arrow::array::MapArray>() {
        let DataType::Map(entries, _) = map.data_type() else {
            return Err(invalid("a map has no entries".to_owned()));
        };
        let values = Arc::new(map.entries().clone());
        let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
        return Ok(ListArray::try_new(Arc::clone(entries), offsets, values, nulls)?);
    }
    let item = item(array.data_type())?;
    let list = cast(array, &DataType::List(Arc::new(item)))?;
    match list.as_any().downcast_ref::<ListArray>() {
        Some(list) => Ok(list.clone()),
        None => Err(invalid(format!("{} is no array", array.data_type()))),
    }
}

fn length(list: &ListArray, row: usize) -> usize {
    match list.is_null(row) {
        true => 0,
        false => usize::try_from(list.value_length(row)).unwrap_or_default(),
    }
}

fn zip(arrays: &[ArrayRef], or_default: bool) -> Result<ArrayRef> {
    let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
    let fields = tuple_fields(&types, or_default)?;
    let lists: Vec<ListArray> = arrays.iter().map(as_list).collect::<Result<_>>()?;
    let Some(first) = lists.first() else {
        return Err(invalid("ARRAY JOIN takes at least one array".to_owned()));
    };
    let mut lengths: Vec<usize> = Vec::with_capacity(first.len());
    for row in 0..first.len() {
        let expected = length(first, row);
        if let Some(other) = lists.iter().map(|list| length(list, row)).find(|l| *l != expected) {
            return Err(invalid(format!(
                "the arrays of an ARRAY JOIN have unequal lengths in one row: {expected} and {other}"
            )));
        }
        lengths.push(expected);
    }
    let columns = lists
        .iter()
        .zip(&fields)
        .map(|(list, field)| elements(list, &lengths, or_default.then_some(field.as_ref())));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let counts = lengths.iter().map(|length| if or_default { (*length).max(1) } else { *length });
    let offsets = OffsetBuffer::from_lengths(counts);
    let rows = offsets.last().copied().and_then(|rows| usize::try_from(rows).ok());
    let tuples = StructArray::try_new_with_length(fields, columns, None, rows.unwrap_or(0))?;
    let item = Arc::new(Field::new_list_field(tuples.data_type().clone(), false));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(tuples), None)?))
}

/// The elements of all rows; with `default`, a value for rows without any.
fn elements(list: &ListArray, lengths: &[usize], default: Option<&Field>) -> Result<ArrayRef> {
    let values = list.values();
    // The zero value stands behind all others; where there is none it is NULL.
    let zero = default
        .filter(|field| !field.is_nullable())
        .and_then(|field| zero_value(field.data_type()));
    let zero_at = zero.is_some().then_some(values.len() as u64);
    let mut positions: Vec<Option<u64>> = Vec::with_capacity(lengths.iter().sum());
    for (row, length) in lengths.iter().enumerate() {
        let start = u64::try_from(list.value_offsets()[row]).unwrap_or_default();
        positions.extend((start..start + *length as u64).map(Some));
        if *length == 0 && default.is_some() {
            positions.push(zero_at);
        }
    }
    let positions = UInt64Array::from(positions);
    Ok(match zero {
        None => take(values, &positions, None)?,
        Some(zero) => {
            let zero = cast(&zero.to_array()?, values.data_type())?;
            take(&concat(&[values.as_ref(), zero.as_ref()])?, &positions, None)?
        }
    })
}
