//! `ORDER BY key WITH FILL`: the rows become a table of a FROM, since that is where
//! [`crate::relations`] can add rows to them.

use granary_common::{Error, Result};
use sqlparser::ast::{
    Expr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan,
};

use super::clauses::enclose;
use crate::relations::fill::{POSITION, key_of_column, key_of_position, marked_keys};

/// Prefix of columns that only the order needs.
const HIDDEN: &str = "__granary_fill_hidden_";

/// Rewrites a query with WITH FILL, unless it is what this made of one.
pub(super) fn as_table(query: &mut Query) -> Result<()> {
    let Some(order_by) = &query.order_by else { return Ok(()) };
    let OrderByKind::Expressions(keys) = &order_by.kind else { return Ok(()) };
    let fills = keys.iter().any(|key| key.with_fill.is_some());
    if !fills && order_by.interpolate.is_some() {
        return Err(Error::invalid("INTERPOLATE needs ORDER BY ... WITH FILL"));
    }
    if !fills || marked_keys(order_by) {
        return Ok(());
    }
    let hidden = mark_keys(query)?;
    let mut left_out = vec![POSITION.to_owned()];
    left_out.extend((0..hidden).map(|at| format!("{HIDDEN}{at}")));
    let (limit, fetch) = (query.limit_clause.take(), query.fetch.take());
    let left_out = left_out.join(", ");
    enclose(query, &format!("SELECT * EXCEPT ({left_out}) FROM (SELECT 1) ORDER BY {POSITION}"))?;
    query.limit_clause = limit;
    query.fetch = fetch;
    Ok(())
}

/// Lets every key of the order name a column of the result; gives the number of columns that were
/// added for that.
fn mark_keys(query: &mut Query) -> Result<usize> {
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else {
        return Ok(0);
    };
    let mut added = 0;
    for key in keys {
        let name = match (&key.expr, query.body.as_mut()) {
            (Expr::Value(ValueWithSpan { value: Value::Number(position, _), .. }), _) => {
                key_of_position(position)
            }
            (expression, SetExpr::Select(select)) => match shown(select, expression) {
                Some(name) => name,
                None => {
                    let name = format!("{HIDDEN}{added}");
                    added += 1;
                    select.projection.push(SelectItem::ExprWithAlias {
                        expr: expression.clone(),
                        alias: Ident::with_quote('`', &name),
                    });
                    key_of_column(&name)
                }
            },
            (Expr::Identifier(column), _) => key_of_column(&column.value),
            (other, _) => {
                return Err(Error::invalid(format!(
                    "ORDER BY {other} WITH FILL: name a column of the result"
                )));
            }
        };
        key.expr = Expr::Identifier(Ident::with_quote('`', name));
    }
    Ok(added)
}

/// The key of the result's column that shows `expression`.
fn shown(select: &Select, expression: &Expr) -> Option<String> {
    let name = match expression {
        Expr::Identifier(ident) => Some(ident.value.as_str()),
        _ => None,
    };
    let mut all = false;
    for (at, item) in select.projection.iter().enumerate() {
        match item {
            SelectItem::ExprWithAlias { alias, expr }
                if name == Some(alias.value.as_str()) || expr == expression =>
            {
                return Some(key_of_column(&alias.value));
            }
            SelectItem::UnnamedExpr(expr) if expr == expression && !all => {
                return Some(key_of_position(&(at + 1).to_string()));
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => all = true,
            _ => {}
        }
    }
    name.filter(|_| all).map(key_of_column)
}
