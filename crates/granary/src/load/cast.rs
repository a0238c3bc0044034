//! Texts to values, with the row and column of a text that is none.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use granary_common::{Error, Result};

/// Casts a column of texts to the type of `field`. A NULL among the texts stays NULL. `first_row`
/// is the number of the first text's row, counted from 1.
///
/// Kind `InvalidInput` naming the row, the column and the text.
pub(super) fn column(texts: &StringArray, field: &Field, first_row: u64) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cast = cast_with_options(texts, field.data_type(), &options).map_err(|_| {
        Error::unsupported(format!(
            "column {}: values of type {} cannot be read from text",
            field.name(),
            field.data_type()
        ))
    })?;
    for row in 0..texts.len() {
        if cast.is_null(row) && (texts.is_valid(row) || !field.is_nullable()) {
            let what = match texts.is_valid(row) {
                true => format!("\"{}\" is not {}", excerpt(texts.value(row)), noun(field)),
                false => "the value is missing and the column is NOT NULL".to_owned(),
            };
            return Err(Error::invalid(format!(
                "row {}, column {}: {what}",
                first_row + row as u64,
                field.name()
            )));
        }
    }
    Ok(cast)
}

fn noun(field: &Field) -> String {
    match field.data_type() {
        DataType::Date32 | DataType::Date64 => "a date".to_owned(),
        DataType::Timestamp(..) => "a time".to_owned(),
        DataType::Boolean => "true or false".to_owned(),
        other => format!("a value of {other}"),
    }
}

fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
