//! Bytes of states as values of arrays.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, BinaryArray, BooleanArray, ListArray, StringArray, StructArray,
    make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};

/// What is left of a state.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => exec_err!("an aggregate state is cut off"),
        }
    }

    fn flag(&mut self) -> Result<bool> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => exec_err!("an aggregate state is damaged"),
        }
    }

    fn length(&mut self) -> Result<usize> {
        let mut length = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(length);
            }
        }
        exec_err!("an aggregate state is damaged")
    }

    /// Refuses bytes behind the last value.
    pub(super) fn finish(self) -> Result<()> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => exec_err!("an aggregate state is too long"),
        }
    }
}

/// Values of one type, gathered.
pub(super) struct Sink {
    present: Vec<bool>,
    values: Values,
}

enum Values {
    Fixed { width: usize, bytes: Vec<u8> },
    Bool(Vec<bool>),
    Bytes { offsets: Vec<i32>, bytes: Vec<u8> },
    List { offsets: Vec<i32>, items: Box<Sink> },
    Struct(Vec<Sink>),
}

impl Sink {
    pub(super) fn of(data_type: &DataType) -> Result<Sink> {
        let values = match data_type {
            DataType::Boolean => Values::Bool(Vec::new()),
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView => Values::Bytes { offsets: vec![0], bytes: Vec::new() },
            DataType::List(item) | DataType::LargeList(item) => {
                Values::List { offsets: vec![0], items: Box::new(Sink::of(item.data_type())?) }
            }
            DataType::Struct(fields) => Values::Struct(
                fields.iter().map(|field| Sink::of(field.data_type())).collect::<Result<_>>()?,
            ),
            other => match other.primitive_width() {
                Some(width) => Values::Fixed { width, bytes: Vec::new() },
                None => return exec_err!("a state cannot hold values of type {other}"),
            },
        };
        Ok(Sink { present: Vec::new(), values })
    }

    /// Takes one value.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        if !reader.flag()? {
            self.put_null();
            return Ok(());
        }
        self.present.push(true);
        match &mut self.values {
            Values::Fixed { width, bytes } => bytes.extend_from_slice(reader.take(*width)?),
            Values::Bool(values) => values.push(reader.flag()?),
            Values::Bytes { offsets, bytes } => {
                let length = reader.length()?;
                bytes.extend_from_slice(reader.take(length)?);
                offsets.push(offset(bytes.len())?);
            }
            Values::List { offsets, items } => {
                let length = reader.length()?;
                match (reader.flag()?, &mut items.values) {
                    (true, Values::Fixed { width, bytes }) => {
                        bytes.extend_from_slice(reader.take(length.saturating_mul(*width))?);
                        items.present.resize(items.present.len() + length, true);
                    }
                    (true, _) => return exec_err!("an aggregate state is damaged"),
                    (false, _) => {
                        for _ in 0..length {
                            items.read(reader)?;
                        }
                    }
                }
                offsets.push(offset(items.present.len())?);
            }
            Values::Struct(fields) => {
                for field in fields {
                    field.read(reader)?;
                }
            }
        }
        Ok(())
    }

    fn put_null(&mut self) {
        self.present.push(false);
        match &mut self.values {
            Values::Fixed { width, bytes } => bytes.resize(bytes.len() + *width, 0),
            Values::Bool(values) => values.push(false),
            Values::Bytes { offsets, .. } | Values::List { offsets, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
            Values::Struct(fields) => fields.iter_mut().for_each(Sink::put_null),
        }
    }

    /// The values as an array of `data_type`.
    pub(super) fn finish(self, data_type: &DataType) -> Result<ArrayRef> {
        let rows = self.present.len();
        let nulls = match self.present.contains(&false) {
            true => Some(NullBuffer::from(self.present)),
            false => None,
        };
        let array: ArrayRef = match self.values {
            Values::Fixed { bytes, .. } => {
                let data = ArrayData::builder(data_type.clone())
                    .len(rows)
                    .add_buffer(Buffer::from(bytes))
                    .nulls(nulls)
                    .align_buffers(true)
                    .build()?;
                make_array(data)
            }
            Values::Bool(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
            Values::Bytes { offsets, bytes } => {
                let offsets = OffsetBuffer::new(offsets.into());
                let is_text =
                    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
                match is_text {
                    true => Arc::new(StringArray::try_new(offsets, bytes.into(), nulls)?),
                    false => Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls)?),
                }
            }
            Values::List { offsets, items } => {
                let (DataType::List(item) | DataType::LargeList(item)) = data_type else {
                    return exec_err!("a state cannot hold values of type {data_type}");
                };
                let items = items.finish(item.data_type())?;
                let item = match data_type {
                    DataType::List(item) => Arc::clone(item),
                    _ => Arc::new(Field::new("item", item.data_type().clone(), true)),
                };
                let offsets = OffsetBuffer::new(offsets.into());
                Arc::new(ListArray::try_new(item, offsets, items, nulls)?)
            }
            Values::Struct(sinks) => {
                let DataType::Struct(fields) = data_type else {
                    return exec_err!("a state cannot hold values of type {data_type}");
                };
                let columns = sinks.into_iter().zip(fields);
                let columns =
                    columns.map(|(s, f)| s.finish(f.data_type())).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?)
            }
        };
        match array.data_type() == data_type {
            true => Ok(array),
            false => Ok(cast(&array, data_type)?),
        }
    }
}

fn offset(length: usize) -> Result<i32> {
    match i32::try_from(length) {
        Ok(offset) => Ok(offset),
        Err(_) => exec_err!("the states of one batch are larger than 2 GiB"),
    }
}
