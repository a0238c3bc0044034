//! JSON: an object or an array a row.

use granary_catalog::{Column, ColumnType};
use granary_common::{Error, Result};
use serde_json::{Deserializer, Value as Json};
use sqlparser::ast::{Array, Expr, Value};

use super::{Rows, column_of, default, in_row, names, null, text};
use crate::bind::{parsed_expression, with_arguments};

/// `{"a": 1, "b": "x"}`: members by the names of columns, in any order.
pub(super) fn objects(text: &str, columns: &[&Column]) -> Result<Rows> {
    let mut cells = Vec::new();
    for (row, object) in values(text)?.into_iter().enumerate() {
        let mut given: Vec<Option<Expr>> = vec![None; columns.len()];
        for (name, raw) in members(object, '{').map_err(|error| in_row(row, error))? {
            let column = column_of(&name, columns)
                .ok_or_else(|| in_row(row, format!("the insert has no column '{name}'")))?;
            let place = columns.iter().position(|other| other.id == column.id);
            let cell = cell(raw, column).map_err(|error| in_row(row, error))?;
            if let Some(place) = place {
                given[place] = Some(cell);
            }
        }
        cells.push(given.into_iter().map(|cell| cell.unwrap_or_else(default)).collect());
    }
    Ok(Rows { columns: names(columns), cells })
}

/// `[1, "x"]`: values in the order of the columns.
pub(super) fn arrays(text: &str, columns: &[&Column]) -> Result<Rows> {
    let mut cells = Vec::new();
    for (row, array) in values(text)?.into_iter().enumerate() {
        let given = members(array, '[').map_err(|error| in_row(row, error))?;
        if given.len() != columns.len() {
            let (found, wanted) = (given.len(), columns.len());
            return Err(in_row(row, format!("{found} values for {wanted} columns")));
        }
        let row_cells = columns.iter().zip(given).map(|(column, (_, raw))| cell(raw, column));
        cells.push(row_cells.collect::<Result<_>>().map_err(|error| in_row(row, error))?);
    }
    Ok(Rows { columns: names(columns), cells })
}

/// The values of a text one after the other; commas between them and one array around them all are
/// passed over.
fn values(text: &str) -> Result<Vec<&str>> {
    let mut rest = text.trim().trim_end_matches(';').trim_end();
    if let Some(inner) = rest.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'))
        && inner.trim_start().starts_with(['{', '['])
        && Deserializer::from_str(rest).into_iter::<Json>().count() == 1
    {
        rest = inner;
    }
    let mut values = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return Ok(values);
        }
        let mut stream = Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
        match stream.next() {
            Some(Ok(_)) => {
                let (value, behind) = rest.split_at(stream.byte_offset());
                values.push(value);
                rest = behind;
            }
            Some(Err(error)) => return Err(in_row(values.len(), format!("no JSON: {error}"))),
            None => return Ok(values),
        }
    }
}

/// The members of an object, or of an array without names, as they are written: numbers keep all of
/// their digits.
fn members(value: &str, opened_by: char) -> Result<Vec<(String, &str)>> {
    let Some(inner) = value.strip_prefix(opened_by) else {
        let wanted = if opened_by == '{' { "an object" } else { "an array" };
        return Err(Error::invalid(format!("{wanted} is expected, not {value}")));
    };
    let mut members = Vec::new();
    let mut rest = &inner[..inner.len() - 1];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return Ok(members);
        }
        let mut name = String::new();
        if opened_by == '{' {
            let (written, behind) = rest.split_at(end_of(rest));
            name = serde_json::from_str(written).map_err(|error| no_json(&error))?;
            rest = behind.trim_start().trim_start_matches(':').trim_start();
        }
        let (value, behind) = rest.split_at(end_of(rest));
        members.push((name, value.trim_end()));
        rest = behind;
    }
}

fn no_json(error: &serde_json::Error) -> Error {
    Error::invalid(format!("no JSON: {error}"))
}

/// Where the first value of a valid text ends.
fn end_of(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return at + 1;
                }
            }
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b':' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn cell(raw: &str, column: &Column) -> Result<Expr> {
    match raw {
        "null" => Ok(null(column)),
        _ => typed(raw, &column.column_type),
    }
}

/// A value as a cell of VALUES for a column of this type.
fn typed(raw: &str, column_type: &ColumnType) -> Result<Expr> {
    let base = column_type.base();
    Ok(match (raw.as_bytes().first(), base) {
        (Some(b'n'), _) => Expr::Value(Value::Null.into()),
        (Some(b't' | b'f'), _) => Expr::Value(Value::Boolean(raw == "true").into()),
        (Some(b'['), ColumnType::Array(item)) => {
            let elem = members(raw, '[')?.into_iter().map(|(_, raw)| typed(raw, item));
            Expr::Array(Array { elem: elem.collect::<Result<_>>()?, named: false })
        }
        (Some(b'{'), ColumnType::Map(_, of)) => {
            let mut parts = Vec::new();
            for (name, raw) in members(raw, '{')? {
                parts.extend([text(&name), typed(raw, of)?]);
            }
            with_arguments(parsed_expression("map()")?, parts)
        }
        (Some(b'{' | b'['), ColumnType::Tuple(elements)) => {
            let given = members(raw, if raw.starts_with('{') { '{' } else { '[' })?;
            let mut parts = Vec::with_capacity(elements.len());
            for (place, (name, of)) in elements.iter().enumerate() {
                let by_name = given.iter().find(|(key, _)| name.as_deref() == Some(key));
                let found = by_name.or_else(|| given.get(place).filter(|(key, _)| key.is_empty()));
                let (_, raw) = found.ok_or_else(|| {
                    Error::invalid(format!("{raw} has no element for {column_type}"))
                })?;
                parts.push(typed(raw, of)?);
            }
            Expr::Tuple(parts)
        }
        // Documents stay texts.
        (Some(b'{' | b'['), _) => text(raw),
        (Some(b'"'), _) => text(&serde_json::from_str::<String>(raw).map_err(|e| no_json(&e))?),
        (_, ColumnType::String | ColumnType::FixedString(_)) => text(raw),
        _ => Expr::Value(Value::Number(raw.to_owned(), false).into()),
    })
}
