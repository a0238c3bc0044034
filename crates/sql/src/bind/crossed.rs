//! Several `arrayJoin` calls in one SELECT: every element of one array with every element of the
//! others. The same call written twice is one.

use std::ops::ControlFlow;

use granary_common::Result;
use sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem};

use super::calls::{plain_arguments, substitute, with_arguments};
use super::templates;
use crate::walk::{visit_expressions_mut, walk_mut};

/// Makes one call of all of them, over the combinations of their elements.
pub(super) fn cross(select: &mut Select) -> Result<()> {
    let mut arrays: Vec<Expr> = Vec::new();
    for item in &mut select.projection {
        let _ = walk_mut(
            item,
            &mut Calls(|expression: &mut Expr| {
                if let Some(array) = array_of(expression)
                    && !arrays.contains(&array)
                {
                    arrays.push(array);
                }
            }),
        );
    }
    if arrays.len() < 2 {
        return Ok(());
    }
    let combined = with_arguments(templates::expression("__granaryCross()")?, arrays.clone());
    let joined = substitute("arrayJoin($1)", &[combined])?;
    let mut parts = Vec::with_capacity(arrays.len());
    for place in 1..=arrays.len() {
        parts.push(substitute(
            &format!("tupleElement($1, {place})"),
            std::slice::from_ref(&joined),
        )?);
    }
    let mut replace = |expression: &mut Expr| {
        if let Some(array) = array_of(expression)
            && let Some(at) = arrays.iter().position(|known| *known == array)
        {
            *expression = parts[at].clone();
        }
    };
    for item in &mut select.projection {
        // The name of the column is that of the call.
        if let SelectItem::UnnamedExpr(expression) = item
            && array_of(expression).is_some()
        {
            let alias = sqlparser::ast::Ident::with_quote('`', expression.to_string());
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
        let _ = walk_mut(item, &mut Calls(&mut replace));
    }
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        for key in keys {
            let _ = visit_expressions_mut(key, |expression| {
                replace(expression);
                ControlFlow::<()>::Continue(())
            });
        }
    }
    Ok(())
}

/// What a call of `arrayJoin` takes apart.
fn array_of(expression: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expression else { return None };
    if !function.name.to_string().eq_ignore_ascii_case("arrayJoin") {
        return None;
    }
    match plain_arguments(function)?.as_slice() {
        [array] => Some(array.clone()),
        _ => None,
    }
}

/// Visits the expressions of one SELECT list.
struct Calls<F>(F);

impl<F: FnMut(&mut Expr)> sqlparser::ast::VisitorMut for Calls<F> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        (self.0)(expression);
        ControlFlow::Continue(())
    }
}
