//! `EXISTS (...)` and `x IN (SELECT ...)` among the columns of a SELECT. The engine knows them as
//! conditions of rows only, so there they are counts of rows.

use std::ops::ControlFlow;

use granary_common::Result;
use sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, TableFactor, visit_expressions_mut,
};

use super::{or_break, templates};

/// The rows of the subquery and their only column.
const MEMBERS: &str = "__granary_members";

/// Rewrites the output columns of one SELECT.
pub(super) fn rewrite(select: &mut Select) -> ControlFlow<granary_common::Error> {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expression)
        | SelectItem::ExprWithAlias { expr: expression, .. }) = item
        else {
            continue;
        };
        visit_expressions_mut(expression, |part| {
            let counted = match part {
                Expr::Exists { subquery, negated } => exists(subquery, *negated).map(Some),
                Expr::InSubquery { expr, subquery, negated } if !is_row(expr) => {
                    is_member(expr, subquery, *negated).map(Some)
                }
                _ => Ok(None),
            };
            or_break(counted.map(|counted| {
                if let Some(counted) = counted {
                    *part = counted;
                }
            }))
        })?;
    }
    ControlFlow::Continue(())
}

fn is_row(expression: &Expr) -> bool {
    match expression {
        Expr::Tuple(_) => true,
        Expr::Nested(inner) => is_row(inner),
        _ => false,
    }
}

fn exists(subquery: &Query, negated: bool) -> Result<Expr> {
    let sign = if negated { "=" } else { ">" };
    let mut subquery = subquery.clone();
    let one_row = templates::expression("count(*)")?;
    match subquery.body.as_mut() {
        // Without a table around it a correlated condition stays one.
        SetExpr::Select(select) if is_plain(select) && subquery.limit_clause.is_none() => {
            select.projection = vec![SelectItem::UnnamedExpr(one_row)];
            subquery.order_by = None;
            let count = Expr::Subquery(Box::new(subquery));
            super::calls::substitute(&format!("($1) {sign} 0"), &[count])
        }
        _ => with_rows(
            &format!("(SELECT count(*) FROM (SELECT 1) AS {MEMBERS}) {sign} 0"),
            &[],
            &subquery,
        ),
    }
}

/// Whether each row of its tables that meets its condition is a row of its own.
fn is_plain(select: &Select) -> bool {
    let has_groups = !matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers)
        if keys.is_empty() && modifiers.is_empty());
    let mut aggregates = select.having.is_some() || select.distinct.is_some() || has_groups;
    for item in &select.projection {
        aggregates |= match item {
            SelectItem::UnnamedExpr(expression)
            | SelectItem::ExprWithAlias { expr: expression, .. } => {
                matches!(expression, Expr::Function(_))
            }
            _ => false,
        };
    }
    !aggregates
}

fn is_member(value: &Expr, subquery: &Query, negated: bool) -> Result<Expr> {
    let sign = if negated { "=" } else { ">" };
    let text = format!(
        "CASE WHEN ($1) IS NULL THEN NULL ELSE (SELECT count(*) FROM (SELECT 1) AS {MEMBERS} \
         ({MEMBERS}_1) WHERE {MEMBERS}.{MEMBERS}_1 = ($1)) {sign} 0 END"
    );
    with_rows(&text, std::slice::from_ref(value), subquery)
}

/// The expression with `subquery` in the place of `(SELECT 1)`.
fn with_rows(text: &str, arguments: &[Expr], subquery: &Query) -> Result<Expr> {
    let mut expression = super::calls::substitute(text, arguments)?;
    let _ = visit_expressions_mut(&mut expression, |part| {
        if let Expr::Subquery(query) = part
            && let SetExpr::Select(select) = query.body.as_mut()
            && let Some(table) = select.from.first_mut()
            && let TableFactor::Derived { subquery: rows, alias: Some(alias), .. } =
                &mut table.relation
            && alias.name.value == MEMBERS
        {
            **rows = subquery.clone();
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(expression)
}
