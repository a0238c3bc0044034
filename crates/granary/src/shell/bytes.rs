//! Bytes as people read them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

/// The batch with its columns of bytes as texts.
pub(super) fn as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_bytes = |data_type: &DataType| *data_type == DataType::Binary;
    if !batch.columns().iter().any(|column| is_bytes(column.data_type())) {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| match is_bytes(field.data_type()) {
        true => Field::new(field.name(), DataType::Utf8, true),
        false => field.as_ref().clone(),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = batch.columns().iter().map(|column| match is_bytes(column.data_type()) {
        true => {
            let values = column.as_binary::<i32>().iter();
            let texts: StringArray = values.map(|value| value.map(shown)).collect();
            Arc::new(texts) as ArrayRef
        }
        false => Arc::clone(column),
    });
    RecordBatch::try_new(schema, columns.collect())
}

/// A text without the zero bytes that fill a FixedString up; what is no text in hexadecimal digits.
fn shown(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let is_shown = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) if text.chars().all(is_shown) => text.to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_texts() {
        for (bytes, expected) in [
            (&b"ab\0\0"[..], "ab"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"a\0b", "610062"),
            (b"\xff\x00", "ff00"),
            (b"\0\0", ""),
        ] {
            assert_eq!(shown(bytes), expected);
        }
    }
}
