//! Queries that take parts out of documents read columns of parts instead, where tables keep those.
//!
//! ```text
//!   Projection: part(t.j, 'a')               Projection: t."j.a"
//!     Filter: part(t.j, 'b') = 'x'     ►       Filter: t."j.b" = 'x'
//!       TableScan: t                             TableScan: t with the columns j.a, j.b
//! ```
//!
//! Runs before plans are optimized, so that the documents are read only where something else needs
//! them. A column is taken where at least half of a table's rows are in parts that store it; of the
//! other parts the scan computes it from the documents.

mod call;
mod extend;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::ColumnType;
use granary_common::{ColumnId, TableId};
use granary_storage::DocumentPath;

use self::call::calls_of;
use self::extend::Extender;
use crate::tables::PartTable;

/// Of sessions all of whose nodes know columns that are computed as rows are read.
#[derive(Clone, Copy, Debug)]
pub struct UsesDocumentColumns;

/// The plan with columns in the places of parts of documents; `None` when there are none.
///
/// # Errors
/// Those of planning.
pub async fn use_document_columns(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<Option<LogicalPlan>> {
    if state.config().get_extension::<UsesDocumentColumns>().is_none() {
        return Ok(None);
    }
    let (mut paths, mut tables) = (BTreeSet::new(), Vec::new());
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            paths.extend(calls_of(expression)?.into_iter().map(|call| call.path));
            Ok(TreeNodeRecursion::Continue)
        })?;
        if let LogicalPlan::TableScan(scan) = node {
            tables.extend(source_as_provider(&scan.source));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if paths.is_empty() {
        return Ok(None);
    }
    let stored = stored(&tables, &paths).await;
    if stored.values().all(BTreeSet::is_empty) {
        return Ok(None);
    }
    let extender = Extender { stored };
    let narrowed = plan.clone().transform_up_with_subqueries(|node| {
        Ok(match extender.defining(&node)? {
            Some(narrowed) => Transformed::yes(narrowed),
            None => Transformed::no(node),
        })
    })?;
    Ok(narrowed.transformed.then_some(narrowed.data))
}

/// The columns with parts of documents at these paths that the tables mostly store.
async fn stored(
    tables: &[Arc<dyn TableProvider>],
    paths: &BTreeSet<Vec<String>>,
) -> BTreeMap<TableId, BTreeSet<ColumnId>> {
    let mut stored: BTreeMap<TableId, BTreeSet<ColumnId>> = BTreeMap::new();
    for table in tables {
        let Some(table) = table.as_ref().downcast_ref::<PartTable>() else { continue };
        let columns = &table.state().table.columns;
        let texts = columns.iter().filter(|it| *it.column_type.base() == ColumnType::String);
        let of_column = |column: ColumnId| {
            paths.iter().map(move |path| DocumentPath { column, path: path.clone() }.id())
        };
        let wanted = texts.flat_map(|column| of_column(column.id)).collect();
        stored
            .entry(table.state().table.id)
            .or_default()
            .extend(table.mostly_stored(&wanted).await);
    }
    stored
}
