//! `unnest(array)` and `generate_series(...)` as tables, also of columns of the tables before them, as
//! PostgreSQL, DuckDB and Trino have them.

use std::ops::ControlFlow;

use granary_common::Result;
use sqlparser::ast::{Expr, Ident, TableAlias, TableAliasColumnDef, TableFactor};

use super::calls::with_arguments;
use super::templates;
use crate::walk::{visit_expressions, visit_expressions_mut};

/// The query that stands for the table; `None` when it is another one.
pub(super) fn query_text(
    lower: &str,
    arguments: &[Expr],
    with_ordinality: bool,
) -> Result<Option<String>> {
    let texts: Vec<String> =
        arguments.iter().map(|argument| called(argument).to_string()).collect();
    let text = match lower {
        "unnest" | "explode" if !arguments.is_empty() => {
            let columns: Vec<String> = texts
                .iter()
                .enumerate()
                .map(|(at, text)| match at {
                    0 => format!("unnest({text}) AS {lower}"),
                    at => format!("unnest({text}) AS {lower}_{}", at + 1),
                })
                .collect();
            match with_ordinality {
                false => format!("SELECT {}", columns.join(", ")),
                true => format!(
                    "SELECT {}, unnest(arrayEnumerate({})) AS ordinality",
                    columns.join(", "),
                    texts[0]
                ),
            }
        }
        "generate_series" | "generateseries"
            if names_columns(arguments) || has_steps(arguments) =>
        {
            format!("SELECT unnest(generate_series({})) AS generate_series", texts.join(", "))
        }
        _ => return Ok(None),
    };
    // It must be a query whatever stands in the arguments.
    templates::query(&text).map(|_| Some(text))
}

/// The engine finds columns of tables before in the arguments of functions, not in arrays as written.
fn called(argument: &Expr) -> Expr {
    let mut argument = argument.clone();
    let _ = visit_expressions_mut(&mut argument, |inner| {
        if let Expr::Array(array) = inner
            && let Ok(call) = templates::expression("make_array()")
        {
            *inner = with_arguments(call, std::mem::take(&mut array.elem));
        }
        ControlFlow::<()>::Continue(())
    });
    argument
}

/// Whether an argument is a column of a table before.
pub(super) fn names_columns(arguments: &[Expr]) -> bool {
    arguments.iter().any(|argument| {
        visit_expressions(argument, |inner| match inner {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .is_break()
    })
}

/// Whether it is a series of times.
fn has_steps(arguments: &[Expr]) -> bool {
    matches!(arguments, [_, _, Expr::Interval(_)])
}

/// The only column of `unnest(...) AS x` is called x.
pub(super) fn name_column(factor: &mut TableFactor, columns: usize) {
    if let TableFactor::Derived { alias: Some(alias), .. } = factor
        && alias.columns.is_empty()
        && columns == 1
    {
        let name: Ident = alias.name.clone();
        let TableAlias { columns, .. } = alias;
        columns.push(TableAliasColumnDef::from_name(name.value));
    }
}
