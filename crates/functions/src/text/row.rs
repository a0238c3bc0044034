//! The arguments as one row of a format for files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};

use super::TO_STRING;
use crate::json::{Value, documents_of};
use crate::rows::texts;
use crate::scalar::{Arity, Typed};

pub(super) fn all() -> Vec<Typed> {
    let arity = Arity::AtLeastOne;
    vec![
        Typed {
            name: "formatRow",
            arity,
            returns: checked,
            kernel: |arguments, _| rows(arguments, "\n"),
        },
        Typed {
            name: "formatRowNoNewline",
            arity,
            returns: checked,
            kernel: |arguments, _| rows(arguments, ""),
        },
    ]
}

/// How a row is written.
#[derive(Clone, Copy)]
enum Format {
    Csv,
    Tabs,
    Json,
    JsonArray,
}

impl Format {
    fn of(name: &str) -> Result<Format> {
        match name.to_ascii_lowercase().as_str() {
            "csv" => Ok(Format::Csv),
            "tsv" | "tabseparated" => Ok(Format::Tabs),
            "jsoneachrow" => Ok(Format::Json),
            "jsoncompacteachrow" => Ok(Format::JsonArray),
            _ => plan_err!(
                "formatRow knows no format '{name}': it writes CSV, TSV, JSONEachRow and \
                 JSONCompactEachRow"
            ),
        }
    }
}

fn checked(_: &[DataType], constants: &[Option<&ScalarValue>]) -> Result<DataType> {
    match constants.first().copied().flatten().and_then(|format| format.try_as_str().flatten()) {
        Some(format) => Format::of(format).map(|_| DataType::Utf8),
        None => plan_err!("the first argument of formatRow is the name of a format, as a constant"),
    }
}

fn rows(arguments: &[ArrayRef], end: &str) -> Result<ArrayRef> {
    let Some((format, values)) = arguments.split_first() else {
        return plan_err!("formatRow takes a format and values");
    };
    let formats = texts(format)?;
    if formats.is_empty() {
        return Ok(Arc::new(StringArray::new_null(0)));
    }
    let format = Format::of(formats.value(0))?;
    let cells = values.iter().map(|values| cells(values, format)).collect::<Result<Vec<_>>>()?;
    let row = |row: usize| {
        let cells: Vec<&str> = cells.iter().map(|column| column[row].as_str()).collect();
        Some(match format {
            Format::Csv => cells.join(",") + end,
            Format::Tabs => cells.join("\t") + end,
            Format::JsonArray => format!("[{}]{end}", cells.join(", ")),
            Format::Json => {
                let named = cells.iter().enumerate();
                let members: Vec<String> =
                    named.map(|(at, cell)| format!("\"c{}\":{cell}", at + 1)).collect();
                format!("{{{}}}{end}", members.join(","))
            }
        })
    };
    Ok(Arc::new((0..formats.len()).map(row).collect::<StringArray>()))
}

/// The values of one argument in this format.
fn cells(values: &ArrayRef, format: Format) -> Result<Vec<String>> {
    if matches!(format, Format::Json | Format::JsonArray) {
        return Ok(documents_of(values)?.iter().map(Value::to_string).collect());
    }
    let shown = (TO_STRING.kernel)(std::slice::from_ref(values))?;
    let is_bare = values.data_type().is_numeric() || *values.data_type() == DataType::Boolean;
    let cell = |text: Option<&str>| match (text, format) {
        (None, _) => "\\N".to_owned(),
        (Some(text), Format::Csv) if !is_bare => format!("\"{}\"", text.replace('"', "\"\"")),
        (Some(text), Format::Csv) => text.to_owned(),
        (Some(text), _) => escaped(text),
    };
    Ok(texts(&shown)?.iter().map(cell).collect())
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
