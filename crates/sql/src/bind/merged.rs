//! `merge([database, ] 'pattern')`: the rows of all tables whose names match.

use granary_common::{Error, Result};
use regex::Regex;
use sqlparser::ast::{Expr, TableFactor};

use super::names::Names;
use super::tables::{derived, values_of};
use super::zoned::text_of;

/// Puts the union of the tables in the place of the function. Columns that a table lacks are NULL.
pub(super) fn rewrite(factor: &mut TableFactor, names: &Names<'_>) -> Result<()> {
    let TableFactor::Table { name, alias, args: Some(arguments), .. } = factor else {
        return Ok(());
    };
    if !name.to_string().eq_ignore_ascii_case("merge") {
        return Ok(());
    }
    let arguments = values_of("merge", arguments)?;
    let database = |argument: &Expr| match argument {
        // `currentDatabase()` is where tables are looked for anyway.
        Expr::Function(function)
            if function.name.to_string().to_lowercase().contains("database") =>
        {
            Ok(None)
        }
        Expr::Identifier(ident) => Ok(Some(ident.value.clone())),
        other => text_of(other).map(|text| Some(text.to_owned())).ok_or_else(wrong),
    };
    let (database, pattern) = match arguments.as_slice() {
        [pattern] => (None, pattern),
        [first, pattern] => (database(first)?, pattern),
        _ => return Err(wrong()),
    };
    let pattern = text_of(pattern).ok_or_else(wrong)?;
    let matching = Regex::new(pattern).map_err(|error| {
        Error::invalid(format!("'{pattern}' is no regular expression: {error}"))
    })?;
    let (database, tables) = names.tables_of(database.as_deref())?;
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let of_table =
        |table: &String| format!("SELECT * FROM {}.{}", quoted(&database), quoted(table));
    let texts: Vec<String> =
        tables.iter().filter(|table| matching.is_match(table)).map(of_table).collect();
    if texts.is_empty() {
        return Err(Error::not_found(format!(
            "no table of '{database}' has a name that matches '{pattern}'"
        )));
    }
    let kept = alias.take();
    *factor = derived(&texts.join(" UNION ALL BY NAME "))?;
    if let TableFactor::Derived { alias, .. } = factor {
        *alias = kept;
    }
    Ok(())
}

fn wrong() -> Error {
    Error::invalid("merge takes a database, which may be left out, and a pattern of tables' names")
}
