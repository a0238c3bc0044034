//! Places and repetitions of elements.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use arrow::row::{Row, RowConverter, SortField};
use datafusion::common::Result;

use crate::rows::lists;
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "arrayEnumerate",
            arity: Arity::Exactly(1),
            returns: |_| Ok(places_type()),
            kernel: |arguments| enumerate(&lists(&arguments[0])?, |_, place| place),
        },
        Scalar {
            name: "arrayEnumerateUniq",
            arity: Arity::Exactly(1),
            returns: |_| Ok(places_type()),
            kernel: enumerate_uniq,
        },
        Scalar {
            name: "arrayUniq",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt64),
            kernel: uniq,
        },
    ]
}

fn places_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::UInt32, false)))
}

/// A number for each element from its place among all and in its row, from 1.
fn enumerate(list: &ListArray, mut number: impl FnMut(usize, u32) -> u32) -> Result<ArrayRef> {
    let mut numbers = vec![0; list.values().len()];
    for row in 0..list.len() {
        let (first, last) =
            (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
        for (place, slot) in numbers[first..last].iter_mut().enumerate() {
            *slot = number(first + place, place as u32 + 1);
        }
    }
    let field = Arc::new(Field::new_list_field(DataType::UInt32, false));
    let numbers = Arc::new(UInt32Array::from(numbers));
    let offsets = list.offsets().clone();
    Ok(Arc::new(ListArray::try_new(field, offsets, numbers, list.nulls().cloned())?))
}

fn enumerate_uniq(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let list = lists(&arguments[0])?;
    let converter = RowConverter::new(vec![SortField::new(list.values().data_type().clone())])?;
    let rows = converter.convert_columns(&[Arc::clone(list.values())])?;
    let mut seen: HashMap<Row<'_>, u32> = HashMap::new();
    enumerate(&list, |at, place| {
        if place == 1 {
            seen.clear();
        }
        let times = seen.entry(rows.row(at)).or_default();
        *times += 1;
        *times
    })
}

fn uniq(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let list = lists(&arguments[0])?;
    let converter = RowConverter::new(vec![SortField::new(list.values().data_type().clone())])?;
    let rows = converter.convert_columns(&[Arc::clone(list.values())])?;
    let counts: UInt64Array = (0..list.len())
        .map(|row| {
            let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
            let mut values: Vec<Row<'_>> =
                range.filter(|at| list.values().is_valid(*at)).map(|at| rows.row(at)).collect();
            values.sort_unstable();
            values.dedup();
            list.is_valid(row).then_some(values.len() as u64)
        })
        .collect();
    Ok(Arc::new(counts))
}
