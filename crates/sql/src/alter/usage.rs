//! Who uses a column of a table.

use granary_catalog::{Column, ColumnRole, Distribution, EngineKind, Table, View, ViewKind};
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, Visitor};

use super::Draft;
use crate::mutate::mentions;
use crate::statement::parse_expression;
use crate::view::view_query;
use crate::walk::walk;

/// The columns that rows are ordered, partitioned, distributed or told apart by, hidden ones
/// included.
pub(super) fn key_columns(table: &Table) -> Vec<ColumnId> {
    let keys = table.order_by.iter().chain(&table.partition_by).map(|key| key.column);
    let mut columns: Vec<ColumnId> = keys.chain(table.unique_key.iter().copied()).collect();
    if let Distribution::Hash(hashed) = &table.distribution {
        columns.extend(hashed);
    }
    columns
}

impl Draft<'_> {
    /// Refuses to drop or retype a column of a key.
    pub(super) fn check_no_key(&self, column: &Column, what: &str) -> Result<()> {
        let table = &self.next;
        let keys = |keys: &[granary_catalog::KeyExpression]| -> Vec<ColumnId> {
            keys.iter().map(|key| key.column).collect()
        };
        let hashed = match &table.distribution {
            Distribution::Hash(columns) => columns.clone(),
            Distribution::Rotation => Vec::new(),
        };
        for (key, columns) in [
            ("the sorting key (ORDER BY)", keys(&table.order_by)),
            ("the partition key (PARTITION BY)", keys(&table.partition_by)),
            ("the distribution (DISTRIBUTED BY)", hashed),
            ("the UNIQUE KEY", table.unique_key.clone()),
        ] {
            for id in columns {
                let used = match self.columns.get(id).map(|column| &column.role) {
                    Some(ColumnRole::KeyExpression(text)) => {
                        mentions(&parse_expression(text)?, &column.name)
                    }
                    _ => id == column.id,
                };
                if used {
                    return Err(Error::invalid(format!(
                        "cannot {what} column '{}': {key} of table '{}' uses it",
                        column.name, table.name
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses to drop a column that the engine or something else of the table needs.
    pub(super) fn check_unused(&self, column: &Column) -> Result<()> {
        self.check_no_ttl(column, "drop")?;
        let name = &column.name;
        let used_by = |user: String| {
            Err(Error::invalid(format!("cannot drop column '{name}': {user} uses it")))
        };
        if engine_columns(&self.next.engine.kind).contains(&column.id) {
            return used_by(format!("the engine {}", self.next.engine.kind.name()));
        }
        for other in self.columns.all().iter().filter(|other| other.id != column.id) {
            if let Some(default) = &other.default
                && mentions(&parse_expression(default.text())?, name)
            {
                return used_by(format!("{} of column '{}'", default.keyword(), other.name));
            }
        }
        for index in &self.next.options.indexes {
            if mentions(&parse_expression(&index.expression)?, name) {
                return used_by(format!("index '{}'", index.name));
            }
        }
        for constraint in &self.next.options.constraints {
            if mentions(&parse_expression(&constraint.condition)?, name) {
                return used_by(format!("constraint '{}'", constraint.name));
            }
        }
        for projection in &self.next.options.projections {
            if mentions_in_query(&query_of(&projection.query)?, name) {
                return used_by(format!("projection '{}'", projection.name));
            }
        }
        Ok(())
    }

    /// Refuses to change a column that a materialized view reads or fills.
    pub(super) fn check_no_view(&self, column: &Column, what: &str) -> Result<()> {
        for view in self.source.views {
            if reads_or_fills(view, self.table, &column.name)? {
                return Err(Error::invalid(format!(
                    "cannot {what} column '{}': the materialized view '{}' uses it; drop the view \
                     first",
                    column.name, view.name
                )));
            }
        }
        Ok(())
    }
}

fn reads_or_fills(view: &View, table: &Table, name: &str) -> Result<bool> {
    let fills = view.kind.target() == Some(table.id)
        && view.columns.iter().any(|(column, _)| column == name);
    let reads = matches!(view.kind, ViewKind::Materialized { source, .. } if source == table.id);
    Ok(fills || (reads && mentions_in_query(&*view_query(view)?, name)))
}

/// The columns that the engine's arguments name.
pub(super) fn engine_columns(kind: &EngineKind) -> Vec<ColumnId> {
    match kind {
        EngineKind::MergeTree | EngineKind::Aggregating => Vec::new(),
        EngineKind::Replacing { version, is_deleted } => {
            version.iter().chain(is_deleted).copied().collect()
        }
        EngineKind::Summing { columns } | EngineKind::Coalescing { columns } => columns.clone(),
        EngineKind::Collapsing { sign } => vec![*sign],
        EngineKind::VersionedCollapsing { sign, version } => vec![*sign, *version],
    }
}

/// The same engine with another id for a column.
pub(super) fn with_column(kind: &EngineKind, old: ColumnId, new: ColumnId) -> EngineKind {
    let map = |id: &ColumnId| if *id == old { new } else { *id };
    let all = |ids: &[ColumnId]| ids.iter().map(map).collect::<Vec<_>>();
    match kind {
        EngineKind::MergeTree => EngineKind::MergeTree,
        EngineKind::Aggregating => EngineKind::Aggregating,
        EngineKind::Replacing { version, is_deleted } => EngineKind::Replacing {
            version: version.as_ref().map(map),
            is_deleted: is_deleted.as_ref().map(map),
        },
        EngineKind::Summing { columns } => EngineKind::Summing { columns: all(columns) },
        EngineKind::Coalescing { columns } => EngineKind::Coalescing { columns: all(columns) },
        EngineKind::Collapsing { sign } => EngineKind::Collapsing { sign: map(sign) },
        EngineKind::VersionedCollapsing { sign, version } => {
            EngineKind::VersionedCollapsing { sign: map(sign), version: map(version) }
        }
    }
}

/// The query of a projection.
pub(crate) fn query_of(text: &str) -> Result<Query> {
    match crate::parse(text)?.pop() {
        Some(crate::Statement::Query(query)) => Ok(*query),
        _ => Err(Error::internal("a projection's text is not a query")),
    }
}

/// Whether the query names the column, or everything with `*`.
fn mentions_in_query(query: &Query, name: &str) -> bool {
    struct Finder<'a>(&'a str);
    impl Visitor for Finder<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> std::ops::ControlFlow<()> {
            let shows_all = matches!(query.body.as_ref(), SetExpr::Select(select)
            if select.projection.iter().any(|item| matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )));
            match shows_all {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            }
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> std::ops::ControlFlow<()> {
            let last = match expression {
                Expr::Identifier(ident) => Some(ident),
                Expr::CompoundIdentifier(idents) => idents.last(),
                _ => None,
            };
            match last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(self.0)) {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            }
        }
    }
    walk(query, &mut Finder(name)).is_break()
}
