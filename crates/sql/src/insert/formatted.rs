//! Rows in other formats inside of a statement become rows of VALUES, once the table is known.

mod delimited;
mod json;

use std::borrow::Cow;

use granary_catalog::{Column, Table};
use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Ident, Parens, SetExpr, Value};

use super::targets;
use crate::bind::parsed_query;
use crate::statement::{Insert, RowFormat};

/// Names of columns, and rows of as many cells.
struct Rows {
    columns: Vec<String>,
    cells: Vec<Vec<Expr>>,
}

/// `insert` with the rows that it carries in another format as VALUES. Other inserts stay as they are.
///
/// # Errors
/// InvalidInput that names the row of the first piece that is not of the format, or the column that
/// the table does not have.
pub fn with_formatted_rows<'a>(insert: &'a Insert, table: &Table) -> Result<Cow<'a, Insert>> {
    let Some(formatted) = &insert.formatted else { return Ok(Cow::Borrowed(insert)) };
    let columns: Vec<&Column> = targets(table, insert.columns.as_deref())?
        .into_iter()
        .map(|target| &table.columns[target])
        .collect();
    let rows = match formatted.format {
        RowFormat::Json => json::objects(&formatted.text, &columns)?,
        RowFormat::JsonArrays => json::arrays(&formatted.text, &columns)?,
        RowFormat::Csv { named } => delimited::csv(&formatted.text, named, &columns)?,
        RowFormat::Tabs { named } => delimited::tabs(&formatted.text, named, &columns)?,
    };
    if rows.cells.is_empty() {
        return Err(Error::invalid(
            "there are no rows behind FORMAT: write them into the statement, or send a file with \
             granary load",
        ));
    }
    let mut source = parsed_query("VALUES (NULL)")?;
    if let SetExpr::Values(values) = source.body.as_mut() {
        values.rows = rows.cells.into_iter().map(Parens::with_empty_span).collect();
    }
    Ok(Cow::Owned(Insert {
        table: insert.table.clone(),
        columns: Some(rows.columns),
        source: Box::new(source),
        settings: insert.settings.clone(),
        overwrite: insert.overwrite.clone(),
        formatted: None,
    }))
}

/// The column of this name among those that the insert gives.
fn column_of<'a>(name: &str, columns: &[&'a Column]) -> Option<&'a Column> {
    let exact = columns.iter().find(|column| column.name == name);
    exact.or_else(|| columns.iter().find(|c| c.name.eq_ignore_ascii_case(name))).copied()
}

fn names(columns: &[&Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

/// What a row says nothing of: the column's default.
fn default() -> Expr {
    Expr::Identifier(Ident::new("DEFAULT"))
}

/// NULL where the column has it, else the column's default.
fn null(column: &Column) -> Expr {
    match column.column_type.is_nullable() {
        true => Expr::Value(Value::Null.into()),
        false => default(),
    }
}

fn in_row(row: usize, error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("row {}: {error}", row + 1))
}
