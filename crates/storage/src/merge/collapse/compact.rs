//! Rows without the memory of the batches that they were cut from.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use granary_common::Result;

use super::failed;

/// `rows` with texts and bytes that belong to no other row.
pub fn compact(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(compact_array).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(rows.schema(), columns).map_err(failed)
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let (offsets, items) = compact_items(list.offsets(), list.values())?;
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls).map_err(failed)?)
        }
        DataType::Map(entry, sorted) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let (offsets, entries) = compact_items(map.offsets(), &entries)?;
            let (entries, nulls) = (entries.as_struct().clone(), map.nulls().cloned());
            let map = MapArray::try_new(Arc::clone(entry), offsets, entries, nulls, *sorted);
            Arc::new(map.map_err(failed)?)
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let tuple = array.as_struct();
            let columns = tuple.columns().iter().map(compact_array).collect::<Result<Vec<_>>>()?;
            let nulls = tuple.nulls().cloned();
            Arc::new(StructArray::try_new(fields.clone(), columns, nulls).map_err(failed)?)
        }
        _ => Arc::clone(array),
    })
}

/// The items between the first and the last offset, and the offsets into those.
fn compact_items(
    offsets: &OffsetBuffer<i32>,
    items: &ArrayRef,
) -> Result<(OffsetBuffer<i32>, ArrayRef)> {
    let (first, last) = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (*first as usize, *last as usize),
        _ => (0, 0),
    };
    let items = compact_array(&items.slice(first, last - first))?;
    Ok((OffsetBuffer::from_lengths(offsets.lengths()), items))
}
