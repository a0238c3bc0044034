//! Compares results with stored answers: CSV files with a header, made by another engine.

use std::path::Path;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use granary_common::{Error, Result};

/// Numbers may differ by this part of the larger one: engines add doubles in different orders.
const RELATIVE_TOLERANCE: f64 = 1e-6;

/// Rows of cells; NULL is `NULL`.
pub(super) type Rows = Vec<Vec<String>>;

/// What differs first, or `None` when `got` is the answer. Rows must come in the same order.
pub(super) fn difference(got: &Rows, expected: &Rows) -> Option<String> {
    for (row, (got, expected)) in (1..).zip(got.iter().zip(expected)) {
        if got.len() != expected.len() {
            return Some(format!("{} columns instead of {}", got.len(), expected.len()));
        }
        let cells = got.iter().zip(expected);
        if let Some((column, (got, expected))) =
            (1..).zip(cells).find(|(_, (got, expected))| !same_cell(got, expected))
        {
            return Some(format!("row {row}, column {column}: {got} instead of {expected}"));
        }
    }
    (got.len() != expected.len())
        .then(|| format!("{} rows instead of {}", got.len(), expected.len()))
}

fn same_cell(got: &str, expected: &str) -> bool {
    if got == expected {
        return true;
    }
    let (Ok(left), Ok(right)) = (got.parse::<f64>(), expected.parse::<f64>()) else {
        return false;
    };
    (left - right).abs() <= RELATIVE_TOLERANCE * left.abs().max(right.abs())
}

/// The rows of a result as text.
pub(super) fn rows_of(batches: &[RecordBatch]) -> Result<Rows> {
    let mut rows = Rows::new();
    for batch in batches {
        let options = FormatOptions::new();
        let formatter = |column: &ArrayRef| {
            ArrayFormatter::try_new(column.as_ref(), &options)
                .map(|format| (0..column.len()).map(|row| text(&format, column, row)).collect())
                .map_err(|error| Error::internal(format!("printing a result: {error}")))
        };
        let columns: Vec<Vec<String>> =
            batch.columns().iter().map(formatter).collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column[row].clone()).collect());
        }
    }
    Ok(rows)
}

fn text(format: &ArrayFormatter<'_>, column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) { "NULL".to_owned() } else { format.value(row).to_string() }
}

/// Reads the stored answer at `path`.
pub(super) fn read(path: &Path) -> Result<Rows> {
    let text = std::fs::read(path)
        .map_err(|error| Error::not_found(format!("cannot read {}: {error}", path.display())))?;
    parse(&text).map_err(|error| error.context(path.display()))
}

fn parse(text: &[u8]) -> Result<Rows> {
    use arrow::datatypes::{DataType, Field, Schema};
    let invalid = |error: arrow::error::ArrowError| Error::invalid(error.to_string());
    let header = Format::default().with_header(true);
    let (schema, _) = header.infer_schema(text, Some(0)).map_err(invalid)?;
    let names = schema.fields().iter().map(|field| field.name());
    let texts: Vec<Field> = names.map(|name| Field::new(name, DataType::Utf8, true)).collect();
    let null = regex::Regex::new("^NULL$")
        .map_err(|error| Error::internal(format!("a constant pattern: {error}")))?;
    let reader = ReaderBuilder::new(std::sync::Arc::new(Schema::new(texts)))
        .with_header(true)
        // The stored answers spell NULL out, and an empty cell is the empty text.
        .with_null_regex(null)
        .build(text)
        .map_err(invalid)?;
    rows_of(&reader.collect::<Result<Vec<_>, _>>().map_err(invalid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: &str, expected: &str) -> Option<String> {
        difference(&parse(got.as_bytes()).expect("CSV"), &parse(expected.as_bytes()).expect("CSV"))
    }

    #[test]
    fn equal_answers() {
        for (got, expected) in [
            ("a,b\n1,x\n", "a,b\n1,x\n"),
            ("a\n1.00\n", "a\n1\n"),
            ("a\n1000000.5\n", "a\n1000000.4999999\n"),
            ("a\n\"x,y\"\n\"\"\n", "a\n\"x,y\"\n\"\"\n"),
            ("a\n", "a\n"),
        ] {
            assert_eq!(check(got, expected), None, "{got:?}");
        }
    }

    #[test]
    fn differences_are_found() {
        for (got, expected, complaint) in [
            ("a\n1\n2\n", "a\n2\n1\n", "row 1, column 1: 1 instead of 2"),
            ("a\n1\n", "a\n1\n2\n", "1 rows instead of 2"),
            ("a\n1\n2\n", "a\n1\n", "2 rows instead of 1"),
            ("a\n1.0001\n", "a\n1\n", "row 1, column 1"),
            ("a\n0.05\n", "a\n0.049985\n", "row 1, column 1"),
            ("a\n1995-03-05\n", "a\n1995-03-06\n", "1995-03-05 instead of 1995-03-06"),
            ("a,b\n1,x\n", "a,b\n1,y\n", "row 1, column 2: x instead of y"),
            ("a\nx\n", "a,b\nx,y\n", "1 columns instead of 2"),
        ] {
            let found = check(got, expected).expect(complaint);
            assert!(found.contains(complaint), "{complaint}: {found}");
        }
    }
}
