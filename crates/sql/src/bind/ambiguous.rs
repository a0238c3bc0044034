//! `SELECT * FROM a JOIN b ... ORDER BY id`, where both tables have an `id`: the first one is meant, as
//! it comes first among the columns that are shown.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use sqlparser::ast::{
    Expr, Ident, ObjectNamePart, OrderByKind, Query, Select, SetExpr, TableFactor, VisitorMut,
};

use crate::walk::walk_mut;

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

/// The query with the column of each table in turn, where ORDER BY names it; the first one that can be
/// planned is meant.
pub(super) fn candidates(query: &Query, name: &str) -> Vec<Query> {
    let mut tables = Tables { name, put: None, found: Vec::new() };
    let mut first = query.clone();
    let _ = walk_mut(&mut first, &mut tables);
    let with = |table: Ident| {
        let mut query = query.clone();
        let _ = walk_mut(&mut query, &mut Tables { name, put: Some(table), found: Vec::new() });
        query
    };
    tables.found.into_iter().take(TABLES_MAX).map(with).collect()
}

/// Finds the tables of queries that order by the column, or qualifies it there.
struct Tables<'n> {
    name: &'n str,
    put: Option<Ident>,
    found: Vec<Ident>,
}

impl VisitorMut for Tables<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
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
