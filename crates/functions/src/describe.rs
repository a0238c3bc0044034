//! What a value is, and numbers as people read them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{DataFusionError, Result, exec_err};

use super::gives;
use super::scalar::{Arity, ONE, Scalar, scalar};
use crate::column_type_from_arrow;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "toTypeName",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: type_name,
        },
        // Where the plan tells the type, it answers.
        scalar("isNullable", ONE, gives::flag, |arguments| {
            let nullable = arguments[0].null_count() > 0;
            Ok(Arc::new(BooleanArray::from(vec![nullable; arguments[0].len()])))
        }),
        scalar("countDigits", ONE, gives::number, |arguments| {
            let texts = cast(&arguments[0], &DataType::Utf8)?;
            let digits = |text: &str| {
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                digits.trim_start_matches('0').len().max(1) as u64
            };
            let counts = texts.as_string::<i32>().iter().map(|text| text.map(digits));
            Ok(Arc::new(counts.collect::<UInt64Array>()))
        }),
        Scalar {
            name: "throwIf",
            arity: Arity::Between(1, 2),
            returns: |_| Ok(DataType::Boolean),
            kernel: throw_if,
        },
        Scalar {
            name: "formatReadableSize",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
                readable(&arguments[0], 1024.0, &units)
            },
        },
        Scalar {
            name: "formatReadableDecimalSize",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
                readable(&arguments[0], 1000.0, &units)
            },
        },
        Scalar {
            name: "formatReadableQuantity",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                let units = ["", "thousand", "million", "billion", "trillion", "quadrillion"];
                readable(&arguments[0], 1000.0, &units)
            },
        },
    ]
}

fn type_name(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = &arguments[0];
    let name = match values.data_type() {
        DataType::Null => "Nullable(Nothing)".to_owned(),
        DataType::BinaryView => fixed_string(values.as_binary_view()),
        other => column_type_from_arrow(other, false)
            .map_err(|error| DataFusionError::External(Box::new(error)))?
            .to_string(),
    };
    Ok(Arc::new(StringArray::from(vec![name; values.len()])))
}

/// An error where any value is true or not 0.
fn throw_if(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let conditions = cast(&arguments[0], &DataType::Boolean)?;
    if conditions.as_boolean().iter().any(|condition| condition == Some(true)) {
        let message = match arguments.get(1) {
            Some(message) => cast(message, &DataType::Utf8)?.as_string::<i32>().value(0).to_owned(),
            None => "throwIf: a value of the condition is true".to_owned(),
        };
        return exec_err!("{message}");
    }
    Ok(Arc::new(BooleanArray::from(vec![false; arguments[0].len()])))
}

/// Columns of FixedString are read as views, whose values tell the length.
fn fixed_string(values: &BinaryViewArray) -> String {
    match values.iter().flatten().next() {
        Some(value) => format!("FixedString({})", value.len()),
        None => "FixedString".to_owned(),
    }
}

fn readable(values: &ArrayRef, step: f64, units: &[&str]) -> Result<ArrayRef> {
    let numbers = cast(values, &DataType::Float64)?;
    let text = |number: f64| {
        let mut rest = number;
        let mut place = 0;
        while rest.abs() >= step && place + 1 < units.len() {
            rest /= step;
            place += 1;
        }
        format!("{rest:.2} {}", units[place]).trim_end().to_owned()
    };
    let texts: StringArray =
        numbers.as_primitive::<Float64Type>().iter().map(|number| number.map(text)).collect();
    Ok(Arc::new(texts))
}
