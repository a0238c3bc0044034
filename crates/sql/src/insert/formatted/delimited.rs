//! CSV, and fields between tabs with backslashes.

use granary_catalog::{Column, ColumnType};
use granary_common::{Error, Result};
use sqlparser::ast::Expr;

use super::{Rows, column_of, default, in_row, names, null, text};

/// How NULL is written, as in ClickHouse.
const NULL: &str = "\\N";

/// Fields between commas, in quotation marks where they need them.
pub(super) fn csv(rows: &str, named: bool, columns: &[&Column]) -> Result<Rows> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(rows.as_bytes());
    let mut records = reader.records().enumerate().map(|(row, record)| {
        let record = record.map_err(|error| in_row(row, error))?;
        Ok(record
            .iter()
            .map(|field| Field { value: field.to_owned(), is_null: field == NULL })
            .collect())
    });
    let head = match named {
        true => records.next().transpose()?,
        false => None,
    };
    typed(head, records, columns)
}

/// Fields between tabs.
pub(super) fn tabs(rows: &str, named: bool, columns: &[&Column]) -> Result<Rows> {
    let lines = rows.lines().filter(|line| !line.is_empty());
    let mut records = lines.map(|line| Ok(line.split('\t').map(unescaped).collect()));
    let head = match named {
        true => records.next().transpose()?,
        false => None,
    };
    typed(head, records, columns)
}

struct Field {
    value: String,
    is_null: bool,
}

fn unescaped(field: &str) -> Field {
    let mut value = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, false) => value.push(character),
            (_, true) => match characters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some('0') => value.push('\0'),
                Some(other) => value.push(other),
                None => value.push('\\'),
            },
        }
    }
    Field { value, is_null: field == NULL }
}

fn typed(
    head: Option<Vec<Field>>,
    records: impl Iterator<Item = Result<Vec<Field>>>,
    columns: &[&Column],
) -> Result<Rows> {
    let given: Vec<&Column> = match head {
        None => columns.to_vec(),
        Some(head) => head
            .iter()
            .map(|field| {
                column_of(&field.value, columns).ok_or_else(|| {
                    Error::invalid(format!("the insert has no column '{}'", field.value))
                })
            })
            .collect::<Result<_>>()?,
    };
    let mut cells = Vec::new();
    for (row, record) in records.enumerate() {
        let record = record?;
        if record.len() != given.len() {
            let (found, wanted) = (record.len(), given.len());
            return Err(in_row(row, format!("{found} fields for {wanted} columns")));
        }
        cells.push(given.iter().zip(record).map(|(column, field)| cell(column, field)).collect());
    }
    Ok(Rows { columns: names(&given), cells })
}

/// An empty field is an empty text, or the default of a column that has none.
fn cell(column: &Column, field: Field) -> Expr {
    let base = column.column_type.base();
    let is_text = matches!(base, ColumnType::String | ColumnType::FixedString(_));
    match field {
        Field { is_null: true, .. } => null(column),
        Field { value, .. } if value.is_empty() && !is_text => default(),
        Field { value, .. } => text(&value),
    }
}
