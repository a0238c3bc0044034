//! `JSONExtract(json, path..., 'Type')` and its kin: the type becomes a value that carries it.

use granary_common::{Error, Result};
use sqlparser::ast::{DataType, Expr, Value};
use sqlparser::parser::Parser;

use super::calls::{substitute, with_arguments};
use super::{templates, zoned};
use crate::dialect::{GranaryDialect, tokenize};
use crate::types::type_from_sql;
use granary_functions::DOCUMENT_PART;

/// Functions that take the name of a type at their end.
const TYPED: [&str; 2] = ["jsonextract", "jsonextractkeysandvalues"];

/// `document ->> 'key'`, also with a path that begins with $.
pub(super) fn part_as_text(document: &Expr, key: &Expr) -> Result<Expr> {
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
