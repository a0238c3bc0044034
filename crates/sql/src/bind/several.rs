//! `(SELECT a, b FROM t LIMIT 1)` as a value: the columns of the row are the elements of a tuple.

use granary_common::Result;
use sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, Value,
};

use super::calls::with_arguments;
use super::templates;

/// The row of the subquery.
const ROW: &str = "__granary_row";

/// Makes one column of several.
pub(super) fn as_tuple(query: &mut Query) -> Result<()> {
    let mut body = query.body.as_ref();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left.as_ref();
    }
    let SetExpr::Select(select) = body else { return Ok(()) };
    let name = |(at, item): (usize, &SelectItem)| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map(|name| name.value.clone())
        }
        SelectItem::UnnamedExpr(_) => Some(format!("c{at}")),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    };
    let names: Option<Vec<String>> = select.projection.iter().enumerate().map(name).collect();
    let Some(names) = names.filter(|names| names.len() > 1) else { return Ok(()) };
    let mut outer = templates::query("SELECT 1 FROM (SELECT 1)")?;
    let SetExpr::Select(one) = outer.body.as_mut() else { return Ok(()) };
    let column = |at: usize| Ident::new(format!("{ROW}_{at}"));
    let elements = names.into_iter().enumerate().flat_map(|(at, name)| {
        let name = Expr::Value(Value::SingleQuotedString(name).into());
        [name, Expr::CompoundIdentifier(vec![Ident::new(ROW), column(at)])]
    });
    let elements: Vec<Expr> = elements.collect();
    let columns = (0..elements.len() / 2)
        .map(|at| TableAliasColumnDef { name: column(at), data_type: None })
        .collect();
    let tuple = with_arguments(templates::expression("named_struct()")?, elements);
    one.projection = vec![SelectItem::UnnamedExpr(tuple)];
    if let Some(table) = one.from.first_mut()
        && let TableFactor::Derived { subquery, alias, .. } = &mut table.relation
    {
        std::mem::swap(subquery.as_mut(), query);
        *alias = Some(TableAlias { explicit: true, name: Ident::new(ROW), columns, at: None });
    }
    *query = outer;
    Ok(())
}
