//! Rows of VALUES that can be made without a plan.

use sqlparser::ast::{Expr, Parens, SetExpr, Value, ValueWithSpan};

use crate::Insert;
use crate::walk::visit_expressions;

/// Whether [`super::insert_values`] gives the rows: they are in the statement and have no placeholders.
pub fn has_plain_values(insert: &Insert) -> bool {
    plain_rows(insert).is_some()
}

pub(super) fn plain_rows(insert: &Insert) -> Option<&[Parens<Vec<Expr>>]> {
    let query = insert.source.as_ref();
    let SetExpr::Values(values) = query.body.as_ref() else { return None };
    if query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() {
        return None;
    }
    let is_plain = !values.rows.iter().any(|row| row.content.iter().any(needs_planning));
    is_plain.then_some(values.rows.as_slice())
}

/// Whether the cell cannot be evaluated on its own.
pub(super) fn needs_planning(cell: &Expr) -> bool {
    let found = visit_expressions(cell, |inner| match inner {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. })
        | Expr::Subquery(_)
        | Expr::Exists { .. }
        | Expr::InSubquery { .. } => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}
