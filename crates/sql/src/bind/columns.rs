//! `COLUMNS('pattern')` and `COLUMNS(a, b)` in a SELECT list: the columns of the sources that match,
//! with the functions of APPLY around them.

use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use granary_common::{Error, Result};
use regex::Regex;
use sqlparser::ast::{Expr, Function, Ident, Query, Select, SelectItem, SetExpr, VisitorMut};

use super::calls::plain_arguments;
use super::templates;
use super::zoned::text_of;
use crate::error_from_datafusion;
use crate::walk::{visit_expressions, visit_expressions_mut, walk_mut};

/// Most SELECTs with COLUMNS in one query.
const SELECTS_MAX: usize = 32;

/// Writes the columns out.
pub(super) async fn expand(query: &mut Query, state: &SessionState, sql: &str) -> Result<()> {
    for _ in 0..SELECTS_MAX {
        let mut search = Search { found: None };
        let _ = walk_mut(query, &mut search);
        let Some(select) = search.found else { return Ok(()) };
        let columns = columns_of(&select, query, state, sql).await?;
        let mut written = Vec::with_capacity(select.projection.len());
        for item in &select.projection {
            match call_of(item) {
                Some(call) => written.extend(spread(item, &call, matching(&call, &columns)?)),
                None => written.push(item.clone()),
            }
        }
        let mut replacement = Replacement { written: Some(written) };
        let _ = walk_mut(query, &mut replacement);
    }
    Err(Error::invalid(format!("COLUMNS stands in more than {SELECTS_MAX} queries")))
}

/// COLUMNS as a column, or somewhere inside of one, as in `max(COLUMNS('x'))`.
fn call_of(item: &SelectItem) -> Option<Function> {
    let SelectItem::UnnamedExpr(expression) = item else { return None };
    let found = visit_expressions(expression, |part| match part {
        Expr::Function(function) if is_columns(function) => ControlFlow::Break(function.clone()),
        _ => ControlFlow::Continue(()),
    });
    found.break_value()
}

fn is_columns(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("COLUMNS") && function.over.is_none()
}

/// The column of `item` once for each of the columns that COLUMNS stands for.
fn spread(item: &SelectItem, call: &Function, columns: Vec<SelectItem>) -> Vec<SelectItem> {
    let of_one = |column: SelectItem| {
        let (mut whole, SelectItem::UnnamedExpr(column)) = (item.clone(), column.clone()) else {
            return column;
        };
        if let SelectItem::UnnamedExpr(expression) = &mut whole {
            let _ = visit_expressions_mut(expression, |part| {
                if matches!(part, Expr::Function(function) if function == call) {
                    *part = column.clone();
                }
                ControlFlow::<()>::Continue(())
            });
        }
        whole
    };
    columns.into_iter().map(of_one).collect()
}

fn has_call(select: &Select) -> bool {
    select.projection.iter().any(|item| call_of(item).is_some())
}

/// Finds the first SELECT, inner ones before outer ones.
struct Search {
    found: Option<Select>,
}

impl VisitorMut for Search {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        match has_call(select) {
            true => {
                self.found = Some(select.clone());
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        }
    }
}

/// Puts the columns into the SELECT that [`Search`] finds.
struct Replacement {
    written: Option<Vec<SelectItem>>,
}

impl VisitorMut for Replacement {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if !has_call(select) {
            return ControlFlow::Continue(());
        }
        if let Some(written) = self.written.take() {
            select.projection = written;
        }
        ControlFlow::Break(())
    }
}

/// The names that `*` would show.
async fn columns_of(
    select: &Select,
    whole: &Query,
    state: &SessionState,
    sql: &str,
) -> Result<Vec<String>> {
    let mut query = templates::query("SELECT * FROM (SELECT 1)")?;
    if let SetExpr::Select(all) = query.body.as_mut() {
        all.from = select.from.clone();
    }
    query.with = whole.with.clone();
    super::rewrite(&mut query, state, sql)?;
    let plan = super::plan(state, query).await;
    let plan = plan.map_err(|error| error_from_datafusion(error, Some(sql)))?;
    Ok(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// A pattern, or names; then the functions of APPLY.
fn matching(call: &Function, columns: &[String]) -> Result<Vec<SelectItem>> {
    let arguments = plain_arguments(call)
        .ok_or_else(|| Error::invalid("COLUMNS takes a pattern or names of columns"))?;
    let (chosen, functions): (Vec<String>, &[Expr]) = match arguments.split_first() {
        Some((first, functions)) if text_of(first).is_some() => {
            let pattern = text_of(first).unwrap_or_default();
            let regex = Regex::new(pattern).map_err(|error| {
                Error::invalid(format!("COLUMNS: '{pattern}' is no regular expression: {error}"))
            })?;
            let chosen = columns.iter().filter(|name| regex.is_match(name)).cloned();
            (chosen.collect(), functions)
        }
        _ => {
            let end = arguments.iter().position(|argument| text_of(argument).is_some());
            let (names, functions) = arguments.split_at(end.unwrap_or(arguments.len()));
            let name = |name: &Expr| match name {
                Expr::Identifier(ident) => Ok(ident.value.clone()),
                other => Err(Error::invalid(format!("COLUMNS takes names, not {other}"))),
            };
            (names.iter().map(name).collect::<Result<_>>()?, functions)
        }
    };
    if chosen.is_empty() {
        return Err(Error::invalid(format!("no column matches {call}")));
    }
    let item = |name: &String| {
        let mut expression = Expr::Identifier(Ident::with_quote('`', name.clone()));
        for function in functions {
            expression = applied(text_of(function).unwrap_or_default(), expression)?;
        }
        Ok(SelectItem::UnnamedExpr(expression))
    };
    chosen.iter().map(item).collect()
}

/// The function of APPLY over a column: a name, a name with parameters, or `x -> ...`.
fn applied(function: &str, column: Expr) -> Result<Expr> {
    match templates::expression(function)? {
        Expr::Lambda(lambda) => super::lambdas::applied(&lambda, &column),
        Expr::Identifier(name) => {
            let call = templates::expression(&format!("{}($1)", name.value))?;
            templates::substitute(call, &[column])
        }
        Expr::Function(_) => {
            let call = templates::expression(&format!("{function}($1)"))?;
            templates::substitute(call, &[column])
        }
        other => Err(Error::invalid(format!("APPLY takes a function, not {other}"))),
    }
}
