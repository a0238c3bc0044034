//! `dictGet` and its kin over a dictionary, whose row has the key, or over a table: the row whose sorting
//! key is the key.

use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::{Expr, Function, Ident, ObjectName, ObjectNamePart};
use std::ops::ControlFlow;

use super::calls::{plain_arguments, substitute};
use super::names::Names;
use super::zoned::text_of;
use crate::statement::{Attribute, Definition, TableName};
use crate::walk::visit_expressions;

/// The name by which a lookup refers to the table.
const ALIAS: &str = "__granary_dictionary";

/// What becomes of a key that the table has not.
enum Missing<'a> {
    Zero,
    Null,
    Default(&'a Expr),
}

/// The call in other words; `None` when it is another function.
pub(super) fn rewrite(expression: &Expr, names: &Names<'_>) -> Result<Option<Expr>> {
    let Expr::Function(function) = expression else { return Ok(None) };
    let name = function.name.to_string();
    let lower = name.to_lowercase();
    let Some(kind) = lower.strip_prefix("dict") else { return Ok(None) };
    let Some(arguments) = plain_arguments(function) else { return Ok(None) };
    match (kind, arguments.as_slice()) {
        ("has", [dictionary, key]) => {
            let table = Dictionary::of(function, dictionary, names)?;
            let condition = table.condition(key)?;
            let text =
                format!("(SELECT count(*) FROM {} AS {ALIAS} WHERE {condition}) > 0", table.name);
            substitute(&text, &table.keys(key)).map(Some)
        }
        _ if !kind.starts_with("get") => Ok(None),
        (kind, [dictionary, attribute, key, rest @ ..]) => {
            let missing = match (kind.ends_with("ornull"), kind.ends_with("ordefault"), rest) {
                (true, _, []) => Missing::Null,
                (_, true, [default]) => Missing::Default(default),
                (false, false, []) => Missing::Zero,
                _ => return Err(Error::invalid(format!("{name} takes other arguments"))),
            };
            let table = Dictionary::of(function, dictionary, names)?;
            table.lookup(&name, attribute, key, &missing).map(Some)
        }
        _ => Err(Error::invalid(format!("{name} takes a dictionary, an attribute and a key"))),
    }
}

/// A table that is read by key.
struct Dictionary {
    /// Its name as SQL.
    name: String,
    columns: Vec<String>,
    /// The columns of its sorting key, or of the dictionary's.
    key: Vec<String>,
    /// What attributes of a dictionary have for keys that are not there.
    defaults: Vec<(String, Expr)>,
}

impl Dictionary {
    fn of(function: &Function, dictionary: &Expr, names: &Names<'_>) -> Result<Dictionary> {
        let written = match dictionary {
            Expr::Identifier(ident) => ident.value.clone(),
            Expr::CompoundIdentifier(parts) => {
                parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".")
            }
            other => match text_of(other) {
                Some(text) => text.to_owned(),
                None => {
                    return Err(Error::invalid(format!(
                        "{} takes the name of a table as its first argument",
                        function.name
                    )));
                }
            },
        };
        let parts = written
            .split('.')
            .map(|part| ObjectNamePart::Identifier(Ident::with_quote('`', part.trim_matches('`'))));
        let mut name = ObjectName(parts.collect());
        names.resolve(&mut name, &[])?;
        if let Some((view, definition)) = names.dictionary(&TableName::of(&name)?) {
            return Dictionary::defined(&name, &view.name, definition);
        }
        let Some(table) = names.table(&TableName::of(&name)?) else {
            return Err(Error::not_found(format!(
                "'{written}' is neither a dictionary nor a table to look keys up in"
            )));
        };
        let column = |id| table.columns.iter().find(|column| column.id == id);
        let key = table.order_by.iter().filter_map(|part| column(part.column));
        let quoted: Vec<String> = TableName::of(&name)?
            .database
            .into_iter()
            .chain([table.name.clone()])
            .map(quote)
            .collect();
        Ok(Dictionary {
            name: quoted.join("."),
            columns: table.visible_columns().map(|column| column.name.clone()).collect(),
            key: key.map(|column| column.name.clone()).collect(),
            defaults: Vec::new(),
        })
    }

    /// The one that CREATE DICTIONARY made.
    fn defined(resolved: &ObjectName, name: &str, definition: Definition) -> Result<Dictionary> {
        let database = TableName::of(resolved)?.database;
        let quoted: Vec<String> =
            database.into_iter().chain([name.to_owned()]).map(quote).collect();
        let attributes = definition.attributes;
        let columns = attributes.iter().map(|attribute| attribute.name.clone()).collect();
        let default = |attribute: Attribute| Some((attribute.name, attribute.default?));
        Ok(Dictionary {
            name: quoted.join("."),
            columns,
            key: definition.key,
            defaults: attributes.into_iter().filter_map(default).collect(),
        })
    }

    /// The parts of the key that a call gives.
    fn keys(&self, key: &Expr) -> Vec<Expr> {
        match key {
            Expr::Tuple(parts) => parts.clone(),
            Expr::Function(function) if is_tuple(function) => {
                plain_arguments(function).unwrap_or_default()
            }
            other => vec![other.clone()],
        }
    }

    fn condition(&self, key: &Expr) -> Result<String> {
        // Inside the lookup such a name would be the dictionary's own column.
        let captured = visit_expressions(key, |part| match part {
            Expr::Identifier(name) if self.columns.contains(&name.value) => {
                ControlFlow::Break(name.value.clone())
            }
            _ => ControlFlow::Continue(()),
        });
        if let ControlFlow::Break(name) = captured {
            return Err(Error::invalid(format!(
                "{} has a column '{name}' too: write the key with its table, table.{name}",
                self.name
            )));
        }
        let count = self.keys(key).len();
        if count > self.key.len() {
            return Err(Error::invalid(format!(
                "the sorting key of {} has {} columns, the key has {count}",
                self.name,
                self.key.len()
            )));
        }
        let equal = |(at, column): (usize, &String)| {
            format!("{ALIAS}.{} = (${})", quote(column.clone()), at + 1)
        };
        let parts: Vec<String> = self.key.iter().take(count).enumerate().map(equal).collect();
        Ok(parts.join(" AND "))
    }

    fn lookup(
        &self,
        function: &str,
        attribute: &Expr,
        key: &Expr,
        missing: &Missing<'_>,
    ) -> Result<Expr> {
        if let Some(attributes) = tuple_of(attribute) {
            let values = attributes.iter().map(|one| self.lookup(function, one, key, missing));
            let values = values.collect::<Result<Vec<Expr>>>()?;
            let tuple = super::templates::expression("struct()")?;
            return Ok(super::calls::with_arguments(tuple, values));
        }
        let Some(written) = text_of(attribute) else {
            return Err(Error::invalid(format!("{function} takes the attribute's name as a text")));
        };
        let known = self.columns.iter().find(|column| column.eq_ignore_ascii_case(written));
        let Some(column) = known else {
            let hint = did_you_mean(written, self.columns.iter().map(String::as_str));
            return Err(Error::invalid(format!(
                "{} has no attribute '{written}'{hint}",
                self.name
            )));
        };
        let found = format!(
            "(SELECT first_value({ALIAS}.{}) FROM {} AS {ALIAS} WHERE {})",
            quote(column.clone()),
            self.name,
            self.condition(key)?
        );
        let found = substitute(&found, &self.keys(key))?;
        let own = self.defaults.iter().find(|(name, _)| name == column);
        match missing {
            Missing::Null => Ok(found),
            Missing::Zero if own.is_some() => {
                let default = own.map(|(_, default)| default.clone());
                substitute(
                    "coalesce($1, $2)",
                    &std::iter::once(found).chain(default).collect::<Vec<_>>(),
                )
            }
            Missing::Zero => substitute("valueOrDefault($1)", &[found]),
            Missing::Default(default) => {
                substitute("coalesce($1, $2)", &[found, (*default).clone()])
            }
        }
    }
}

fn is_tuple(function: &Function) -> bool {
    ["tuple", "struct"].contains(&function.name.to_string().to_lowercase().as_str())
}

fn tuple_of(expression: &Expr) -> Option<Vec<Expr>> {
    match expression {
        Expr::Tuple(parts) => Some(parts.clone()),
        Expr::Function(function) if is_tuple(function) => plain_arguments(function),
        _ => None,
    }
}

fn quote(name: String) -> String {
    format!("`{}`", name.replace('`', "``"))
}
