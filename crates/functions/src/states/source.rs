//! Values of an array as bytes of a state.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};
use std::sync::Arc;

/// An array, ready to be written value by value.
pub(super) enum Source {
    /// Numbers of `width` bytes.
    Fixed {
        width: usize,
        values: Buffer,
        nulls: Option<NullBuffer>,
    },
    Bool(BooleanArray),
    Bytes(BinaryArray),
    List {
        offsets: OffsetBuffer<i32>,
        items: Box<Source>,
        nulls: Option<NullBuffer>,
    },
    Struct {
        fields: Vec<Source>,
        nulls: Option<NullBuffer>,
    },
}

impl Source {
    pub(super) fn of(array: &ArrayRef) -> Result<Source> {
        let nulls = array.nulls().cloned();
        Ok(match array.data_type() {
            DataType::Boolean => Source::Bool(array.as_boolean().clone()),
            DataType::LargeUtf8 | DataType::Utf8View => {
                return Source::of(&cast(array, &DataType::Utf8)?);
            }
            DataType::Utf8 | DataType::LargeBinary | DataType::BinaryView => {
                return Source::of(&cast(array, &DataType::Binary)?);
            }
            DataType::Binary => Source::Bytes(array.as_binary::<i32>().clone()),
            DataType::LargeList(item) => {
                let item = Field::new("item", item.data_type().clone(), true);
                return Source::of(&cast(array, &DataType::List(Arc::new(item)))?);
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let items = Box::new(Source::of(list.values())?);
                Source::List { offsets: list.offsets().clone(), items, nulls }
            }
            DataType::Struct(_) => {
                let fields = array.as_struct().columns();
                let fields = fields.iter().map(Source::of).collect::<Result<_>>()?;
                Source::Struct { fields, nulls }
            }
            other => {
                let Some(width) = other.primitive_width() else {
                    return exec_err!("a state cannot hold values of type {other}");
                };
                let data = array.to_data();
                let Some(buffer) = data.buffers().first() else {
                    return exec_err!("a state cannot hold values of type {other}");
                };
                let values = buffer.slice_with_length(data.offset() * width, data.len() * width);
                Source::Fixed { width, values, nulls }
            }
        })
    }

    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Source::Fixed { nulls, .. }
            | Source::List { nulls, .. }
            | Source::Struct { nulls, .. } => nulls.as_ref(),
            Source::Bool(values) => values.nulls(),
            Source::Bytes(values) => values.nulls(),
        }
    }

    /// Appends the value of `row`.
    pub(super) fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        if self.nulls().is_some_and(|nulls| nulls.is_null(row)) {
            bytes.push(0);
            return;
        }
        bytes.push(1);
        match self {
            Source::Fixed { width, values, .. } => {
                bytes.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
            Source::Bool(values) => bytes.push(u8::from(values.value(row))),
            Source::Bytes(values) => {
                write_length(values.value(row).len(), bytes);
                bytes.extend_from_slice(values.value(row));
            }
            Source::List { offsets, items, .. } => {
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                write_length(end - start, bytes);
                items.write_items(start, end, bytes);
            }
            Source::Struct { fields, .. } => {
                fields.iter().for_each(|field| field.write(row, bytes));
            }
        }
    }

    /// Items of a list: numbers without NULL in one piece behind a 1, others one by one behind a 0.
    fn write_items(&self, start: usize, end: usize, bytes: &mut Vec<u8>) {
        match self {
            Source::Fixed { width, values, nulls }
                if nulls.as_ref().is_none_or(|nulls| nulls.null_count() == 0) =>
            {
                bytes.push(1);
                bytes.extend_from_slice(&values[start * width..end * width]);
            }
            _ => {
                bytes.push(0);
                (start..end).for_each(|at| self.write(at, bytes));
            }
        }
    }
}

fn write_length(mut length: usize, bytes: &mut Vec<u8>) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}
