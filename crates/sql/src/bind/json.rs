//! `JSONExtract(json, path..., 'Type')` and its kin: the type becomes a value that carries it.

use granary_common::{Error, Result};
use sqlparser::ast::{BinaryOperator, DataType, Expr, Value};
use sqlparser::parser::Parser;

use super::calls::{substitute, with_arguments};
use super::{templates, zoned};
use crate::dialect::{GranaryDialect, tokenize};
use crate::types::type_from_sql;
use granary_functions::DOCUMENT_PART;

/// Functions that take the name of a type at their end.
const TYPED: [&str; 2] = ["jsonextract", "jsonextractkeysandvalues"];

/// Whether an operator takes a part of a document.
pub(super) fn is_arrow(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Arrow
            | BinaryOperator::HashArrow
            | BinaryOperator::LongArrow
            | BinaryOperator::HashLongArrow
    )
}

/// The part that an arrow takes.
pub(super) fn by_arrow(document: &Expr, op: &BinaryOperator, key: &Expr) -> Result<Expr> {
    let last = match op {
        BinaryOperator::LongArrow | BinaryOperator::HashLongArrow => part_as_text,
        _ => part,
    };
    match path(key).as_deref() {
        Some([before @ .., key]) if *op != BinaryOperator::LongArrow => {
            let of = before.iter().try_fold(document.clone(), |of, key| part(&of, key))?;
            last(&of, key)
        }
        _ => last(document, key),
    }
}

/// The keys of a path as PostgreSQL writes it, `'{a,0}'`.
fn path(key: &Expr) -> Option<Vec<Expr>> {
    let keys = zoned::text_of(key)?.strip_prefix('{')?.strip_suffix('}')?.split(',');
    let value = |key: &str| match key.parse::<u32>() {
        Ok(_) => Value::Number(key.to_owned(), false),
        Err(_) => Value::SingleQuotedString(key.to_owned()),
    };
    Some(keys.map(|key| Expr::Value(value(key.trim()).into())).collect())
}

/// `document -> 'key'` or `-> 0`: the part as a document, NULL where there is none.
fn part(document: &Expr, key: &Expr) -> Result<Expr> {
    let key = match place(key) {
        Some(place) => templates::expression(&(place + 1).to_string())?,
        None => key.clone(),
    };
    substitute("nullIf(JSONExtractRaw($1, $2), '')", &[document.clone(), key])
}

/// The place in an array, counted from 0.
fn place(key: &Expr) -> Option<u32> {
    match key {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// `document ->> 'key'`, also with a path that begins with $, or `->> 0`.
fn part_as_text(document: &Expr, key: &Expr) -> Result<Expr> {
    if let Some(place) = place(key) {
        let text = format!("JSON_VALUE($1, '$[{place}]')");
        return substitute(&text, std::slice::from_ref(document));
    }
    let is_path = zoned::text_of(key).is_some_and(|key| key.starts_with('$'));
    let call = match is_path {
        true => "JSON_VALUE($1, $2)".to_owned(),
        false => format!("{DOCUMENT_PART}($1, $2)"),
    };
    substitute(&call, &[document.clone(), key.clone()])
}

/// The call in other words; `None` when it is another function.
pub(super) fn rewrite(name: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let lower = name.to_lowercase();
    if let ("json_extract", [document, path]) = (lower.as_str(), arguments)
        && let Some(keys) = zoned::text_of(path).and_then(keys_of)
    {
        let mut parts = vec![document.clone()];
        for key in keys {
            parts.push(templates::expression(&key)?);
        }
        let call = with_arguments(templates::expression("JSONExtractRaw()")?, parts);
        return substitute("nullIf($1, '')", &[call]).map(Some);
    }
    if !TYPED.contains(&lower.as_str()) {
        return Ok(None);
    }
    let [values @ .., last] = arguments else {
        return Err(Error::invalid(format!("{name} takes a document, a path and a type")));
    };
    let mut data_type = written_type(name, last)?;
    if lower == "jsonextractkeysandvalues" {
        let entries = format!("Array(Tuple(String, {data_type}))");
        data_type = parsed(&entries)?;
    }
    let nullable = type_from_sql(&data_type)?.is_nullable();
    let mut prototype = templates::expression("CAST(NULL AS Int8)")?;
    if let Expr::Cast { data_type: of, .. } = &mut prototype {
        *of = data_type;
    }
    let mut all = vec![prototype];
    all.extend_from_slice(values);
    let call = match (lower.as_str(), nullable) {
        ("jsonextractkeysandvalues", _) => "jsonEntriesAs()",
        (_, true) => "jsonExtractAsNullable()",
        (_, false) => "jsonExtractAs()",
    };
    Ok(Some(with_arguments(templates::expression(call)?, all)))
}

/// The keys of `$.a.b[0]`, or of a name alone, as they are written in a call.
fn keys_of(path: &str) -> Option<Vec<String>> {
    let quoted = |key: &str| format!("'{}'", key.replace('\\', "\\\\").replace('\'', "''"));
    let Some(rest) = path.strip_prefix('$') else { return Some(vec![quoted(path)]) };
    let mut keys = Vec::new();
    for part in rest.split('.').skip(usize::from(rest.starts_with('.'))) {
        let mut pieces = part.split('[');
        let name = pieces.next().unwrap_or_default().trim_matches('"');
        if !name.is_empty() {
            keys.push(quoted(name));
        }
        for piece in pieces {
            let place: u32 = piece.strip_suffix(']')?.parse().ok()?;
            keys.push((place + 1).to_string());
        }
    }
    (!keys.is_empty()).then_some(keys)
}

fn written_type(name: &str, argument: &Expr) -> Result<DataType> {
    match argument {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => parsed(text),
            other => Err(Error::invalid(format!("{name}: {other} is not the name of a type"))),
        },
        other => Err(Error::invalid(format!(
            "{name} takes the name of a type as its last argument, as 'Int64', not {other}"
        ))),
    }
}

fn parsed(text: &str) -> Result<DataType> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::invalid(format!("'{text}' is not the name of a type: {error}"))
    };
    let tokens = tokenize(text).map_err(|error| unreadable(&error))?;
    Parser::new(&GranaryDialect)
        .with_tokens_with_locations(tokens)
        .parse_data_type()
        .map_err(|error| unreadable(&error))
}
