//! Arrays in the order of other arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_err};

use crate::rows::lists;
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "arraySortBy",
            arity: Arity::Exactly(2),
            returns: list_type,
            kernel: |arguments| sort_by(arguments, false),
        },
        Scalar {
            name: "arrayReverseSortBy",
            arity: Arity::Exactly(2),
            returns: list_type,
            kernel: |arguments| sort_by(arguments, true),
        },
    ]
}

fn list_type(types: &[DataType]) -> Result<DataType> {
    let item = crate::rows::item_type(&types[0])?;
    Ok(match &types[0] {
        DataType::List(field) => DataType::List(Arc::clone(field)),
        _ => DataType::List(Arc::new(arrow::datatypes::Field::new_list_field(item, true))),
    })
}

fn sort_by(arguments: &[ArrayRef], descending: bool) -> Result<ArrayRef> {
    let (list, keys) = (lists(&arguments[0])?, lists(&arguments[1])?);
    let options = SortOptions { descending, nulls_first: false };
    let field = SortField::new_with_options(keys.values().data_type().clone(), options);
    let converter = RowConverter::new(vec![field])?;
    let rows = converter.convert_columns(&[Arc::clone(keys.values())])?;
    let mut order: Vec<u32> = Vec::with_capacity(list.values().len());
    for row in 0..list.len() {
        let (first, last) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
        let (from, to) = (keys.value_offsets()[row], keys.value_offsets()[row + 1]);
        if list.is_null(row) || last - first != to - from {
            if list.is_valid(row) && keys.is_valid(row) {
                return exec_err!("there are {} elements and {} keys", last - first, to - from);
            }
            order.extend(first as u32..last as u32);
            continue;
        }
        let mut places: Vec<usize> = (0..(last - first) as usize).collect();
        places.sort_by(|a, b| rows.row(from as usize + a).cmp(&rows.row(from as usize + b)));
        order.extend(places.into_iter().map(|place| first as u32 + place as u32));
    }
    let lengths = (0..list.len()).map(|row| list.value_length(row) as usize);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let sorted = take(list.values(), &UInt32Array::from(order), None)?;
    let DataType::List(item) = list.data_type() else {
        return exec_err!("an array is expected");
    };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, sorted, list.nulls().cloned())?))
}
