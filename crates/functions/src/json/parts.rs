//! What a document has: members, lengths, kinds of values.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListBuilder, StringArray, StringBuilder, UInt64Array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use super::document::Value;
use super::path::Documents;
use crate::rows::texts;
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    questions().into_iter().chain(parts()).collect()
}

/// What there is at a path.
fn questions() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "JSONHas",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| {
                let found = Documents::new(arguments)?.map(|value| value.is_some());
                Ok(Arc::new(BooleanArray::from(found)))
            },
        },
        Scalar {
            name: "isValidJSON",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| {
                let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
                let valid: BooleanArray =
                    texts(&arguments[0])?.iter().map(|text| text.map(is_json)).collect();
                Ok(Arc::new(valid))
            },
        },
        Scalar {
            name: "JSONLength",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let lengths = Documents::new(arguments)?.map(length);
                Ok(Arc::new(UInt64Array::from(lengths)))
            },
        },
        Scalar {
            name: "JSONType",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                let kinds = Documents::new(arguments)?.map(kind);
                Ok(Arc::new(StringArray::from(kinds)))
            },
        },
    ]
}

/// What a value is made of.
fn parts() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "JSONExtractKeys",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(texts_type()),
            kernel: |arguments| {
                lists(arguments, |value| match value {
                    Value::Object(members) => members.keys().cloned().collect(),
                    _ => Vec::new(),
                })
            },
        },
        Scalar {
            name: "JSONExtractArrayRaw",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(texts_type()),
            kernel: |arguments| {
                lists(arguments, |value| match value {
                    Value::Array(elements) => elements.iter().map(Value::to_string).collect(),
                    _ => Vec::new(),
                })
            },
        },
    ]
}

fn texts_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

fn length(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Array(elements)) => elements.len() as u64,
        Some(Value::Object(members)) => members.len() as u64,
        _ => 0,
    }
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        Some(Value::Object(_)) => "Object",
        Some(Value::Array(_)) => "Array",
        Some(Value::String(_)) => "String",
        Some(Value::Bool(_)) => "Bool",
        Some(Value::Number(number)) if number.is_i64() => "Int64",
        Some(Value::Number(number)) if number.is_u64() => "UInt64",
        Some(Value::Number(_)) => "Double",
        Some(Value::Null) | None => "Null",
    }
}

fn lists(arguments: &[ArrayRef], of: impl Fn(&Value) -> Vec<String>) -> Result<ArrayRef> {
    let rows = Documents::new(arguments)?.map(|value| value.map(&of).unwrap_or_default());
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let present = row.is_some();
        for text in row.into_iter().flatten() {
            lists.values().append_value(text);
        }
        lists.append(present);
    }
    Ok(Arc::new(lists.finish()))
}
