//! Values of documents as values of any type. The first argument is a NULL of that type, which binding
//! made from the type's name.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, StringArray,
    StructArray, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::Result;

use super::document::Value;
use super::path::Documents;
use super::values::{boolean, float, integer, unsigned};
use crate::scalar::{Arity, Scalar};
use crate::zero::zero_value;

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "jsonExtractAs",
            arity: Arity::AtLeastOne,
            returns: |types| Ok(types[0].clone()),
            kernel: |arguments| extract(arguments, false, false),
        },
        Scalar {
            name: "jsonExtractAsNullable",
            arity: Arity::AtLeastOne,
            returns: |types| Ok(types[0].clone()),
            kernel: |arguments| extract(arguments, true, false),
        },
        Scalar {
            name: "jsonEntriesAs",
            arity: Arity::AtLeastOne,
            returns: |types| Ok(types[0].clone()),
            kernel: |arguments| extract(arguments, false, true),
        },
    ]
}

fn extract(arguments: &[ArrayRef], nullable: bool, entries: bool) -> Result<ArrayRef> {
    let data_type = arguments[0].data_type();
    let found = Documents::new(&arguments[1..])?.map(|value| match value {
        Some(Value::Object(members)) if entries => {
            let pair = |(name, value): (&String, &Value)| {
                Value::Array(vec![Value::String(name.clone()), value.clone()])
            };
            Some(Value::Array(members.iter().map(pair).collect()))
        }
        other => other.cloned(),
    });
    let values: Vec<Option<&Value>> =
        found.iter().map(|row| row.as_ref().and_then(Option::as_ref)).collect();
    let array = build(&values, data_type, nullable)?;
    // A NULL document gives NULL, whatever the type.
    match found.iter().any(Option::is_none) && !nullable {
        false => Ok(array),
        true => {
            let known: BooleanArray = found.iter().map(|row| Some(row.is_some())).collect();
            Ok(zip(&known, &array, &new_null_array(data_type, array.len()))?)
        }
    }
}

/// One column of `data_type`; what is missing is NULL or the zero value.
fn build(values: &[Option<&Value>], data_type: &DataType, nullable: bool) -> Result<ArrayRef> {
    let values: Vec<Option<&Value>> =
        values.iter().map(|value| value.filter(|value| !value.is_null())).collect();
    let plain: ArrayRef = match data_type {
        DataType::List(item) => return list(&values, item),
        DataType::Struct(fields) => return tuple(&values, fields),
        DataType::Map(entries, _) => return map(&values, entries),
        DataType::Boolean => {
            Arc::new(values.iter().map(|value| value.map(boolean)).collect::<BooleanArray>())
        }
        unsigned_type if unsigned_type.is_unsigned_integer() => {
            Arc::new(values.iter().map(|value| value.map(unsigned)).collect::<UInt64Array>())
        }
        integer_type if integer_type.is_integer() => {
            Arc::new(values.iter().map(|value| value.map(integer)).collect::<Int64Array>())
        }
        float_type if float_type.is_floating() => {
            Arc::new(values.iter().map(|value| value.map(float)).collect::<Float64Array>())
        }
        _ => Arc::new(values.iter().map(|value| value.map(text)).collect::<StringArray>()),
    };
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cast = cast_with_options(&plain, data_type, &options)?;
    match zero_value(data_type).filter(|_| !nullable && cast.null_count() > 0) {
        None => Ok(cast),
        Some(zero) => {
            let known: BooleanArray = (0..cast.len()).map(|row| Some(cast.is_valid(row))).collect();
            Ok(zip(&known, &cast, &zero.to_array_of_size(cast.len())?)?)
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(values: &[Option<&Value>], item: &FieldRef) -> Result<ArrayRef> {
    let elements = |value: &Option<&'_ Value>| match value {
        Some(Value::Array(elements)) => elements.len(),
        _ => 0,
    };
    let offsets = OffsetBuffer::from_lengths(values.iter().map(elements));
    let all: Vec<Option<&Value>> = values
        .iter()
        .filter_map(|value| value.and_then(Value::as_array))
        .flat_map(|elements| elements.iter().map(Some))
        .collect();
    let items = build(&all, item.data_type(), item.is_nullable())?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?))
}

/// From an object by names, or from an array by places.
fn tuple(values: &[Option<&Value>], fields: &Fields) -> Result<ArrayRef> {
    let column = |(place, field): (usize, &FieldRef)| {
        let parts: Vec<Option<&Value>> = values
            .iter()
            .map(|value| match value {
                Some(Value::Object(members)) => members.get(field.name()),
                Some(Value::Array(elements)) => elements.get(place),
                _ => None,
            })
            .collect();
        build(&parts, field.data_type(), field.is_nullable())
    };
    let columns: Vec<ArrayRef> = fields.iter().enumerate().map(column).collect::<Result<_>>()?;
    let nulls: Option<NullBuffer> = None;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, values.len())?))
}

fn map(values: &[Option<&Value>], entries: &FieldRef) -> Result<ArrayRef> {
    let members: Vec<Vec<(Value, &Value)>> = values
        .iter()
        .map(|value| match value {
            Some(Value::Object(members)) => {
                members.iter().map(|(name, value)| (Value::String(name.clone()), value)).collect()
            }
            _ => Vec::new(),
        })
        .collect();
    let offsets = OffsetBuffer::from_lengths(members.iter().map(Vec::len));
    let DataType::Struct(fields) = entries.data_type() else {
        return datafusion::common::exec_err!("a map has entries of key and value");
    };
    let keys: Vec<Option<&Value>> = members.iter().flatten().map(|(key, _)| Some(key)).collect();
    let held: Vec<Option<&Value>> =
        members.iter().flatten().map(|(_, value)| Some(*value)).collect();
    let columns = vec![
        build(&keys, fields[0].data_type(), false)?,
        build(&held, fields[1].data_type(), fields[1].is_nullable())?,
    ];
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, rows, None, false)?))
}
