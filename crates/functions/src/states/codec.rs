//! The bytes of an aggregate function's state.
//!
//! ```text
//!   version (1) | length and name of the function | number of values | their shapes | the values
//! ```
//!
//! A shape is one byte, that of a list is followed by its items', that of a structure by the number
//! and the shapes of its fields. A value is a byte 0 for NULL, else 1 and its bytes: numbers in little
//! endian, texts and lists behind their length (LEB128). No bytes at all are the state of no rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, StructArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err, internal_err};
use granary_catalog::{AggregateType, ColumnType};

use super::sink::{Reader, Sink};
use super::source::Source;

/// The version that is written.
const VERSION: u8 = 1;

/// Reads and writes states of one function over arguments of certain types.
#[derive(Debug)]
pub(super) struct StateCodec {
    /// What the states are states of, for errors and as the type of results.
    state_type: AggregateType,
    /// Everything before the values.
    header: Vec<u8>,
    fields: Vec<FieldRef>,
}

/// The states of a batch that are there.
pub(super) struct Decoded {
    /// An array for each value of a state.
    pub(super) values: Vec<ArrayRef>,
    /// The rows of the batch that they come from.
    pub(super) rows: Vec<usize>,
}

impl StateCodec {
    /// For states of `function`, whose inner values are `fields`.
    pub(super) fn new(
        function: &str,
        state_type: AggregateType,
        fields: Vec<FieldRef>,
    ) -> Result<StateCodec> {
        let (Ok(length), Ok(count)) = (u8::try_from(function.len()), u8::try_from(fields.len()))
        else {
            return internal_err!("the state of {function} has too many values");
        };
        let mut header = vec![VERSION, length];
        header.extend_from_slice(function.as_bytes());
        header.push(count);
        for field in &fields {
            shape(field.data_type(), &mut header)?;
        }
        Ok(StateCodec { state_type, header, fields })
    }

    /// The type that carries the states in plans.
    pub(super) fn data_type(&self) -> DataType {
        ColumnType::AggregateFunction(Box::new(self.state_type.clone())).arrow()
    }

    /// One state for each row of `values`, the inner values of accumulators.
    pub(super) fn encode(&self, values: &[ArrayRef]) -> Result<ArrayRef> {
        let rows = values.first().map_or(0, |first| first.len());
        if values.len() != self.fields.len() {
            return internal_err!("the state of {} has other values", self.state_type);
        }
        let sources = values.iter().map(Source::of).collect::<Result<Vec<_>>>()?;
        let mut states = BinaryViewBuilder::with_capacity(rows);
        let mut bytes = Vec::new();
        for row in 0..rows {
            bytes.clear();
            bytes.extend_from_slice(&self.header);
            for source in &sources {
                source.write(row, &mut bytes);
            }
            states.append_value(&bytes);
        }
        states_array(&self.data_type(), Arc::new(states.finish()))
    }

    /// The inner values of the states that are neither NULL nor empty.
    pub(super) fn decode(&self, states: &ArrayRef) -> Result<Decoded> {
        let bytes = binaries(states)?;
        let outer = states.nulls();
        let mut sinks =
            self.fields.iter().map(|f| Sink::of(f.data_type())).collect::<Result<Vec<_>>>()?;
        let mut rows = Vec::with_capacity(bytes.len());
        for row in 0..bytes.len() {
            if outer.is_some_and(|nulls| nulls.is_null(row)) || bytes.is_null(row) {
                continue;
            }
            let state = bytes.value(row);
            if state.is_empty() {
                continue;
            }
            let Some(values) = state.strip_prefix(self.header.as_slice()) else {
                return self.refuse(state);
            };
            let mut reader = Reader::new(values);
            for sink in &mut sinks {
                sink.read(&mut reader)?;
            }
            reader.finish()?;
            rows.push(row);
        }
        let values = sinks.into_iter().zip(&self.fields);
        let values =
            values.map(|(sink, f)| sink.finish(f.data_type())).collect::<Result<Vec<_>>>()?;
        Ok(Decoded { values, rows })
    }

    /// Says what a state is that is not one of ours.
    fn refuse<T>(&self, state: &[u8]) -> Result<T> {
        let wanted = &self.state_type;
        match state {
            [VERSION, length, rest @ ..] => match rest.split_at_checked(usize::from(*length)) {
                Some((name, _)) if name != &self.header[2..2 + usize::from(self.header[1])] => {
                    exec_err!(
                        "a state of the function {} cannot be merged as AggregateFunction({wanted})",
                        String::from_utf8_lossy(name)
                    )
                }
                Some(_) => exec_err!(
                    "a state over other argument types cannot be merged as \
                     AggregateFunction({wanted})"
                ),
                None => exec_err!("a state of AggregateFunction({wanted}) is damaged"),
            },
            [version, ..] => exec_err!(
                "a state of AggregateFunction({wanted}) has version {version}, which this version \
                 of Granary does not read"
            ),
            [] => exec_err!("a state of AggregateFunction({wanted}) is damaged"),
        }
    }
}

/// The bytes of states, however a plan carries them.
fn binaries(states: &ArrayRef) -> Result<BinaryViewArray> {
    let Some(column) = states.as_struct_opt().filter(|columns| columns.num_columns() == 1) else {
        return exec_err!("{} is no type of aggregate states", states.data_type());
    };
    let bytes = arrow::compute::cast(column.column(0), &DataType::BinaryView)?;
    Ok(bytes.as_binary_view().clone())
}

/// The states as values of `data_type`, a type of states, without looking into them.
pub fn retyped(states: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let bytes = binaries(states)?;
    let DataType::Struct(fields) = data_type else {
        return internal_err!("{data_type} is no type of aggregate states");
    };
    Ok(Arc::new(StructArray::try_new(
        fields.clone(),
        vec![Arc::new(bytes)],
        states.nulls().cloned(),
    )?))
}

fn states_array(data_type: &DataType, bytes: ArrayRef) -> Result<ArrayRef> {
    let DataType::Struct(fields) = data_type else {
        return internal_err!("{data_type} is no type of aggregate states");
    };
    Ok(Arc::new(StructArray::try_new(fields.clone(), vec![bytes], None)?))
}

/// Appends what the values of a type look like.
fn shape(data_type: &DataType, shapes: &mut Vec<u8>) -> Result<()> {
    shapes.push(match data_type {
        DataType::Boolean => 1,
        DataType::Int8 => 2,
        DataType::UInt8 => 3,
        DataType::Int16 => 4,
        DataType::UInt16 => 5,
        DataType::Int32 => 6,
        DataType::UInt32 => 7,
        DataType::Int64 => 8,
        DataType::UInt64 => 9,
        DataType::Float16 => 10,
        DataType::Float32 => 11,
        DataType::Float64 => 12,
        DataType::Decimal32(..) => 13,
        DataType::Decimal64(..) => 14,
        DataType::Decimal128(..) => 15,
        DataType::Decimal256(..) => 16,
        DataType::Date32 => 17,
        DataType::Timestamp(..) => 18,
        DataType::Duration(_) => 19,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 20,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => 21,
        DataType::List(item) | DataType::LargeList(item) => {
            shapes.push(22);
            return shape(item.data_type(), shapes);
        }
        DataType::Struct(fields) => {
            let Ok(count) = u8::try_from(fields.len()) else {
                return exec_err!("a state cannot hold values of type {data_type}");
            };
            shapes.extend([23, count]);
            return fields.iter().try_for_each(|field| shape(field.data_type(), shapes));
        }
        other => return exec_err!("a state cannot hold values of type {other}"),
    });
    Ok(())
}
