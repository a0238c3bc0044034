//! `SELECT id FROM a JOIN b ... ORDER BY id`, where both tables have an `id`: the first one is meant, as
//! in ClickHouse, and as it comes first among the columns that are shown.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, VisitorMut,
};

use crate::walk::{visit_expressions, visit_expressions_mut, walk_mut};

/// Most tables that are tried.
const TABLES_MAX: usize = 16;

/// The column that the error is about.
pub(super) fn column(error: &DataFusionError) -> Option<String> {
    match error {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::AmbiguousReference { field } if field.relation.is_none() => {
                Some(field.name.clone())
            }
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => column(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(column),
        DataFusionError::Shared(inner) => column(inner),
        _ => None,
    }
}

/// The query with the column of each table in turn, where ORDER BY or else anything of a SELECT names it;
/// the first one that can be planned is meant.
pub(super) fn candidates(query: &Query, name: &str) -> Vec<Query> {
    [false, true].into_iter().flat_map(|anywhere| qualified(query, name, anywhere)).collect()
}

fn qualified(query: &Query, name: &str, anywhere: bool) -> Vec<Query> {
    let mut tables = Tables { name, anywhere, put: None, found: Vec::new() };
    let mut first = query.clone();
    let _ = walk_mut(&mut first, &mut tables);
    let with = |table: Ident| {
        let mut query = query.clone();
        let mut put = Tables { name, anywhere, put: Some(table), found: Vec::new() };
        let _ = walk_mut(&mut query, &mut put);
        query
    };
    tables.found.into_iter().take(TABLES_MAX).map(with).collect()
}

/// Finds the tables of queries that order by the column, or qualifies it there.
struct Tables<'n> {
    name: &'n str,
    /// Whether it is looked for in all of a SELECT of several tables.
    anywhere: bool,
    put: Option<Ident>,
    found: Vec<Ident>,
}

impl Tables<'_> {
    /// Notes the tables of the SELECT if it names the column, or qualifies it.
    fn settle(&mut self, expression: &mut Expr, select: &[Ident]) {
        let is_named =
            |inner: &Expr| matches!(inner, Expr::Identifier(ident) if ident.value == self.name);
        match &self.put {
            None => {
                let named = visit_expressions(expression, |inner| match is_named(inner) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                });
                if named.is_break() && self.found.is_empty() {
                    self.found.extend_from_slice(select);
                }
            }
            Some(table) => {
                let column = Ident::with_quote('`', self.name);
                let _ = visit_expressions_mut(expression, |inner| {
                    if is_named(inner) && select.iter().any(|known| known.value == table.value) {
                        let parts = vec![table.clone(), column.clone()];
                        *inner = Expr::CompoundIdentifier(parts);
                    }
                    ControlFlow::<()>::Continue(())
                });
            }
        }
    }
}

impl VisitorMut for Tables<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let tables = tables_of(select);
        if !self.anywhere || tables.len() < 2 {
            return ControlFlow::Continue(());
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } =
                item
            {
                self.settle(value, &tables);
            }
        }
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            keys.iter_mut().for_each(|key| self.settle(key, &tables));
        }
        let conditions = [&mut select.prewhere, &mut select.selection, &mut select.having];
        for condition in conditions.into_iter().flatten() {
            self.settle(condition, &tables);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.anywhere {
            if let (SetExpr::Select(select), Some(order)) =
                (query.body.as_ref(), &mut query.order_by)
                && let OrderByKind::Expressions(keys) = &mut order.kind
            {
                let tables = tables_of(select);
                if tables.len() > 1 {
                    keys.iter_mut().for_each(|key| self.settle(&mut key.expr, &tables));
                }
            }
            return ControlFlow::Continue(());
        }
        let (SetExpr::Select(select), Some(order)) = (query.body.as_ref(), &mut query.order_by)
        else {
            return ControlFlow::Continue(());
        };
        let OrderByKind::Expressions(keys) = &mut order.kind else {
            return ControlFlow::Continue(());
        };
        for key in keys {
            if matches!(&key.expr, Expr::Identifier(ident) if ident.value == self.name) {
                match &self.put {
                    None => self.found.extend(tables_of(select)),
                    Some(table) => {
                        let column = Ident::with_quote('`', self.name);
                        key.expr = Expr::CompoundIdentifier(vec![table.clone(), column]);
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn tables_of(select: &Select) -> Vec<Ident> {
    let factors = select.from.iter().flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    });
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => match name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => Some(ident.clone()),
            _ => None,
        },
        _ => None,
    };
    factors.filter_map(name).collect()
}
