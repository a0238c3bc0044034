//! `EXISTS (...)`, `x IN (SELECT ...)` and `x > ALL (SELECT ...)` among the columns, the keys and in the
//! order of a SELECT. The engine knows them as conditions of rows only, so there they are counts of rows.

use std::ops::ControlFlow;

use granary_common::{Error, Result};
use granary_functions::IS_MEMBER;
use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, VisitorMut,
};

use super::{aggregates, or_break, templates};
use crate::walk::{visit_expressions_mut, walk_mut};

/// The rows of the subquery and their only column.
const MEMBERS: &str = "__granary_members";

/// Rewrites the output columns and the keys of one SELECT.
pub(super) fn rewrite(select: &mut Select) -> ControlFlow<Error> {
    let mut memberships = Memberships { queries: 0, aggregates: usize::from(has_keys(select)) };
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        for key in keys {
            walk_mut(key, &mut memberships)?;
        }
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression)
        | SelectItem::ExprWithAlias { expr: expression, .. } = item
        {
            walk_mut(expression, &mut memberships)?;
        }
    }
    ControlFlow::Continue(())
}

/// Rewrites the order of a query.
pub(super) fn rewrite_order(query: &mut Query) -> ControlFlow<Error> {
    let SetExpr::Select(select) = query.body.as_ref() else { return ControlFlow::Continue(()) };
    let mut memberships = Memberships { queries: 0, aggregates: usize::from(has_keys(select)) };
    let Some(OrderByKind::Expressions(keys)) =
        query.order_by.as_mut().map(|order_by| &mut order_by.kind)
    else {
        return ControlFlow::Continue(());
    };
    for key in keys {
        walk_mut(&mut key.expr, &mut memberships)?;
    }
    ControlFlow::Continue(())
}

fn has_keys(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers)
        if keys.is_empty() && modifiers.is_empty())
}

/// What is around the expression that is visited.
struct Memberships {
    queries: usize,
    /// Aggregates and windows, where the engine knows no correlated subquery.
    aggregates: usize,
}

fn is_aggregate(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(function)
        if function.over.is_some()
            || aggregates::is_aggregate(&function.name.to_string()))
}

impl VisitorMut for Memberships {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        self.aggregates += usize::from(is_aggregate(expression));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        self.aggregates -= usize::from(is_aggregate(expression));
        // Inner queries come by themselves.
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        let value = match expression {
            Expr::Exists { subquery, negated } => exists(subquery, *negated),
            Expr::InSubquery { expr, subquery, negated } if !is_row(expr) => {
                is_member(expr, subquery, *negated, self.aggregates > 0)
            }
            Expr::AnyOp { left, compare_op, right, .. } => match right.as_ref() {
                Expr::Subquery(rows) => {
                    quantified(left, compare_op, rows, self.aggregates > 0, false)
                }
                _ => return ControlFlow::Continue(()),
            },
            Expr::AllOp { left, compare_op, right } => match right.as_ref() {
                Expr::Subquery(rows) => {
                    quantified(left, compare_op, rows, self.aggregates > 0, true)
                }
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        or_break(value.map(|value| *expression = value))
    }
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
    let mut aggregates = select.having.is_some() || select.distinct.is_some() || has_keys(select);
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

/// Where no value is equal, NULL on either side leaves it open, unless there is nothing to compare with.
/// `in_set` compares with all values of the subquery together.
fn is_member(value: &Expr, subquery: &Query, negated: bool, in_set: bool) -> Result<Expr> {
    let rows = format!("(SELECT 1) AS {MEMBERS} ({MEMBERS}_1)");
    if in_set {
        let not = if negated { "NOT " } else { "" };
        let set = format!("(SELECT array_agg(DISTINCT {MEMBERS}.{MEMBERS}_1) FROM {rows})");
        let text = format!("{not}{IS_MEMBER}({set}, $1)");
        return with_rows(&text, std::slice::from_ref(value), subquery);
    }
    let (found, missing) = if negated { ("false", "true") } else { ("true", "false") };
    let count = |condition: &str| format!("(SELECT count(*) FROM {rows} WHERE {condition}) > 0");
    let is_equal = count(&format!("{MEMBERS}.{MEMBERS}_1 = ($1)"));
    let any = count("true");
    let any_null = count(&format!("{MEMBERS}.{MEMBERS}_1 IS NULL"));
    let text = format!(
        "CASE WHEN ($1) IS NULL THEN CASE WHEN {any} THEN NULL ELSE {missing} END \
         WHEN {is_equal} THEN {found} WHEN {any_null} THEN NULL ELSE {missing} END"
    );
    with_rows(&text, std::slice::from_ref(value), subquery)
}

/// `value op ALL (subquery)` or `value op ANY (subquery)`: one row may decide, and else a comparison that
/// is open leaves it open.
fn quantified(
    value: &Expr,
    op: &BinaryOperator,
    subquery: &Query,
    in_set: bool,
    all: bool,
) -> Result<Expr> {
    if in_set {
        return Err(Error::unsupported(
            "ALL and ANY of a subquery are not supported beside GROUP BY and in aggregates or window \
             functions; compare in a subquery of its own",
        ));
    }
    let rows = format!("(SELECT 1) AS {MEMBERS} ({MEMBERS}_1)");
    let count = |condition: &str| format!("(SELECT count(*) FROM {rows} WHERE {condition}) > 0");
    let holds = format!("(($1) {op} {MEMBERS}.{MEMBERS}_1)");
    let (decides, decided) = match all {
        true => (count(&format!("NOT {holds}")), "false"),
        false => (count(&holds), "true"),
    };
    let open = count(&format!("{holds} IS NULL"));
    let text =
        format!("CASE WHEN {decides} THEN {decided} WHEN {open} THEN NULL ELSE NOT {decided} END");
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
