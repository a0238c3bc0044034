//! Names that a subquery gives to several of its columns.

use sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, TableFactor};

/// `WITH p (n, f) AS (SELECT 1, 1::BIGINT)`: the columns have their names at once, since the engine takes
/// no two expressions of one name.
pub(super) fn name_of_lists(query: &mut Query) {
    for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
        let mut body = cte.query.body.as_mut();
        while let SetExpr::SetOperation { left, .. } = body {
            body = left.as_mut();
        }
        let SetExpr::Select(select) = body else { continue };
        if cte.alias.columns.len() != select.projection.len() || select.distinct.is_some() {
            continue;
        }
        for (item, column) in select.projection.iter_mut().zip(&cte.alias.columns) {
            if let SelectItem::UnnamedExpr(expression @ (Expr::Value(_) | Expr::Cast { .. })) = item
            {
                *item = SelectItem::ExprWithAlias {
                    expr: expression.clone(),
                    alias: Ident::with_quote('`', column.name.value.clone()),
                };
            }
        }
    }
}

/// Columns that a subquery gives twice under one name: the later ones are `name_1`, `name_2`.
pub(super) fn name_apart(factor: &mut TableFactor) {
    let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor else { return };
    let SetExpr::Select(select) = subquery.body.as_mut() else { return };
    if !alias.columns.is_empty() || select.distinct.is_some() {
        return;
    }
    let name_of = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map(|name| name.value.clone())
        }
        _ => None,
    };
    let mut names: Vec<String> = select.projection.iter().filter_map(name_of).collect();
    names.sort_unstable();
    if names.windows(2).all(|pair| pair[0] != pair[1]) {
        return;
    }
    let mut seen: Vec<String> = Vec::new();
    for item in &mut select.projection {
        let Some(name) = name_of(item) else { continue };
        let repeated = seen.iter().filter(|other| **other == name).count();
        seen.push(name.clone());
        let apart = format!("{name}_{repeated}");
        if repeated == 0 || names.binary_search(&apart).is_ok() {
            continue;
        }
        let alias = Ident::with_quote('`', apart);
        match item {
            SelectItem::ExprWithAlias { alias: own, .. } => *own = alias,
            SelectItem::UnnamedExpr(expr) => {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            _ => {}
        }
    }
}
