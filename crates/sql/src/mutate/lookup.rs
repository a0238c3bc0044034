//! The query for the rows that have certain keys.

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::Table;
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::{Expr, Ident};

use super::{Source, named, places};
use crate::bind_query;
use crate::statement::TableName;

/// Columns of a lookup before those that are asked for: part and place.
pub const KEY_PLACES: usize = 2;

/// Binds `SELECT _part, _part_offset, columns ... FROM table`; the columns are named `__column_0`
/// and so on. Its caller adds the condition on the keys, which it has as values.
///
/// # Errors
/// As [`bind_query`].
pub async fn bind_key_lookup(
    state: &SessionState,
    database: &str,
    table: &Table,
    columns: &[ColumnId],
) -> Result<LogicalPlan> {
    let mut outputs = places(None);
    for (at, id) in columns.iter().enumerate() {
        let column = table.column(*id).filter(|column| column.is_visible());
        let column = column.ok_or_else(|| Error::internal("a column of a lookup is gone"))?;
        outputs.push(named(Expr::Identifier(Ident::new(&column.name)), &format!("__column_{at}")));
    }
    let name = TableName { database: Some(database.to_owned()), name: table.name.clone() };
    let source = Source { name: &name, alias: None, with: None, predicate: None };
    bind_query(state, &source.select(outputs)?, "").await
}
