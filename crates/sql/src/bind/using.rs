//! Columns of `JOIN ... USING (k)` by their plain name: those of the side that has every row.

use std::ops::ControlFlow;

use granary_common::{Error, Result};
use sqlparser::ast::{
    Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectNamePart, Query,
    ReplaceSelectElement, ReplaceSelectItem, Select, SelectItem, TableFactor, VisitorMut,
    WildcardAdditionalOptions,
};

use super::calls::substitute;
use crate::walk::walk_mut;

/// A column that joins share, and what it means.
struct Shared {
    name: String,
    value: Expr,
    /// Whether `*` would show another value.
    replaces: bool,
}

/// Qualifies the shared columns of one SELECT.
pub(super) fn settle(select: &mut Select) -> Result<()> {
    let mut shared: Vec<Shared> = Vec::new();
    for table in &select.from {
        let Some(mut left) = name_of(&table.relation) else { continue };
        for join in &table.joins {
            let Some(right) = name_of(&join.relation) else { break };
            for column in columns_of(join) {
                share(&mut shared, &left, &right, column, &join.join_operator)?;
            }
            if matches!(join.join_operator, JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_))
            {
                left = right;
            }
        }
    }
    if shared.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
                if let Some(found) = shared.iter().find(|column| column.name == ident.value) {
                    let alias = ident.clone();
                    *item = SelectItem::ExprWithAlias { expr: found.value.clone(), alias };
                }
            }
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                qualify(expr, &shared);
            }
            SelectItem::Wildcard(options) => replace(options, &shared),
            _ => {}
        }
    }
    let conditions = [&mut select.prewhere, &mut select.selection, &mut select.having];
    for condition in conditions.into_iter().chain([&mut select.qualify]) {
        condition.iter_mut().for_each(|condition| qualify(condition, &shared));
    }
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        keys.iter_mut().for_each(|key| qualify(key, &shared));
    }
    Ok(())
}

/// By what columns of a table are qualified.
fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, alias: None, args: None, .. } => match name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => Some(ident.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn columns_of(join: &Join) -> Vec<String> {
    let constraint = match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => constraint,
        _ => return Vec::new(),
    };
    let JoinConstraint::Using(names) = constraint else { return Vec::new() };
    let last = |part: Option<&ObjectNamePart>| match part {
        Some(ObjectNamePart::Identifier(ident)) => Some(ident.value.clone()),
        _ => None,
    };
    names.iter().filter_map(|name| last(name.0.last())).collect()
}

fn share(
    shared: &mut Vec<Shared>,
    left: &Ident,
    right: &Ident,
    name: String,
    operator: &JoinOperator,
) -> Result<()> {
    let qualified = |table: &Ident| {
        Expr::CompoundIdentifier(vec![table.clone(), Ident::with_quote('`', &name)])
    };
    let before = shared.iter().position(|column| column.name == name);
    let first = before.map_or_else(|| qualified(left), |at| shared[at].value.clone());
    let (value, replaces) = match operator {
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (qualified(right), true),
        JoinOperator::FullOuter(_) => {
            (substitute("coalesce($1, $2)", &[first, qualified(right)])?, true)
        }
        _ => (first, before.is_some_and(|at| shared[at].replaces)),
    };
    match before {
        Some(at) => shared[at] = Shared { name, value, replaces },
        None => shared.push(Shared { name, value, replaces }),
    }
    Ok(())
}

/// Puts the value in the place of the name, but not in queries within.
fn qualify(expression: &mut Expr, shared: &[Shared]) {
    let _ = walk_mut(expression, &mut Qualifier { shared, queries: 0 });
}

struct Qualifier<'s> {
    shared: &'s [Shared],
    queries: usize,
}

impl VisitorMut for Qualifier<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        if self.queries == 0
            && let Expr::Identifier(ident) = expression
            && let Some(found) = self.shared.iter().find(|column| column.name == ident.value)
        {
            *expression = found.value.clone();
        }
        ControlFlow::Continue(())
    }
}

/// `*` shows the shared columns once, with the value that they have.
fn replace(options: &mut WildcardAdditionalOptions, shared: &[Shared]) {
    let element = |column: &Shared| {
        Box::new(ReplaceSelectElement {
            expr: column.value.clone(),
            column_name: Ident::with_quote('`', &column.name),
            as_keyword: true,
        })
    };
    let items: Vec<_> = shared.iter().filter(|column| column.replaces).map(element).collect();
    if items.is_empty() {
        return;
    }
    match &mut options.opt_replace {
        Some(replace) => replace.items.extend(items),
        None => options.opt_replace = Some(ReplaceSelectItem { items }),
    }
}
