//! One value of a document, as a value of SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::document::Value;
use super::path::Documents;
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "JSONExtractInt",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Int64),
            kernel: |arguments| {
                let numbers = Documents::new(arguments)?.map(|value| value.map_or(0, integer));
                Ok(Arc::new(Int64Array::from(numbers)))
            },
        },
        Scalar {
            name: "JSONExtractUInt",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let numbers = Documents::new(arguments)?.map(|value| value.map_or(0, unsigned));
                Ok(Arc::new(UInt64Array::from(numbers)))
            },
        },
        Scalar {
            name: "JSONExtractFloat",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Float64),
            kernel: |arguments| {
                let numbers = Documents::new(arguments)?.map(|value| value.map_or(0.0, float));
                Ok(Arc::new(Float64Array::from(numbers)))
            },
        },
        Scalar {
            name: "JSONExtractBool",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| {
                let values = Documents::new(arguments)?.map(|value| value.is_some_and(boolean));
                Ok(Arc::new(BooleanArray::from(values)))
            },
        },
        Scalar {
            name: "JSONExtractString",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| texts(arguments, text),
        },
        Scalar {
            name: "JSONExtractRaw",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| texts(arguments, Value::to_string),
        },
    ]
}

fn texts(arguments: &[ArrayRef], of: impl Fn(&Value) -> String) -> Result<ArrayRef> {
    let texts = Documents::new(arguments)?.map(|value| value.map(&of).unwrap_or_default());
    Ok(Arc::new(StringArray::from(texts)))
}

/// A text as it is, nothing for null, and everything else as it stands in a document.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Fractions are cut off; numbers in quotes count, and so do conditions.
pub(super) fn integer(value: &Value) -> i64 {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_u64().map(|number| number as i64))
            .or_else(|| number.as_f64().map(|number| number as i64))
            .unwrap_or(0),
        Value::String(text) => text.trim().parse().unwrap_or(0),
        Value::Bool(value) => i64::from(*value),
        _ => 0,
    }
}

/// As [`integer`], for numbers that are not negative.
pub(super) fn unsigned(value: &Value) -> u64 {
    match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().map(|number| number as u64)).unwrap_or(0)
        }
        Value::String(text) => text.trim().parse().unwrap_or(0),
        Value::Bool(value) => u64::from(*value),
        _ => 0,
    }
}

/// As [`integer`], with fractions.
pub(super) fn float(value: &Value) -> f64 {
    match value {
        Value::Number(number) => number.as_f64().unwrap_or(0.0),
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        Value::Bool(value) => f64::from(u8::from(*value)),
        _ => 0.0,
    }
}

/// Conditions, and numbers that are not zero.
pub(super) fn boolean(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(_) => float(value) != 0.0,
        _ => false,
    }
}
