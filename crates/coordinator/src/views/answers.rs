//! Queries that are answered by what materialized views have made of the tables that they read.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::{Filled, Snapshot, View, ViewKind};
use granary_common::{Result, TableId};
use granary_execution::error::from_datafusion;
use granary_planner::{FilledByView, PartTable, use_views};
use granary_sql::view_plan;

use super::SessionViews;
use crate::core::Coordinator;
use crate::session::{CATALOG_NAME, Session, StatementSettings};

/// The plan with tables of views in the places of their sources, where the settings allow it.
pub(crate) async fn by_views(
    core: &Arc<Coordinator>,
    snapshot: &Arc<Snapshot>,
    (session, settings): (&Session, &StatementSettings),
    state: &SessionState,
    plan: LogicalPlan,
) -> Result<LogicalPlan> {
    let allowed = settings.query.optimize_use_views;
    if allowed == 0 {
        return Ok(plan);
    }
    let mut views = Vec::new();
    for table in aggregated_tables(&plan)? {
        for view in snapshot.materialized_views_of(table) {
            if view.filled != Some(Filled::Whole) && allowed < 2 {
                continue;
            }
            let binder = SessionViews::new(core, snapshot, session, settings);
            // One that cannot be bound any more answers nothing; an insert says why.
            views.extend(filled_by(&binder, snapshot, view).await);
        }
    }
    if views.is_empty() {
        return Ok(plan);
    }
    let used = use_views(state, &plan, &views).map_err(|error| from_datafusion(&error))?;
    Ok(used.unwrap_or(plan))
}

/// The tables that a plan with aggregations reads.
fn aggregated_tables(plan: &LogicalPlan) -> Result<Vec<TableId>> {
    let (mut aggregates, mut tables) = (false, Vec::new());
    let seen = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Aggregate(_) => aggregates = true,
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                let table = provider.as_ref().downcast_ref::<PartTable>();
                let id = table.map(|table| table.state().table.id);
                tables.extend(id.filter(|id| !tables.contains(id)));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    seen.map_err(|error| from_datafusion(&error))?;
    Ok(if aggregates { tables } else { Vec::new() })
}

async fn filled_by(
    binder: &SessionViews,
    snapshot: &Snapshot,
    view: &Arc<View>,
) -> Option<FilledByView> {
    let ViewKind::Materialized { source, .. } = view.kind else { return None };
    let target = &snapshot.table_behind(view)?.table;
    let database = &snapshot.databases.get(&target.database)?.name;
    let state = binder.clone().in_database(&view.query_database).session_state().ok()?;
    let query = view_plan(&state, view).await.ok()?;
    // Names may have come to mean other tables.
    if aggregated_tables(&query).ok()? != [source] {
        return None;
    }
    let catalog = state.catalog_list().catalog(CATALOG_NAME)?;
    let target: Arc<dyn TableProvider> =
        catalog.schema(database)?.table(&target.name).await.ok()??;
    Some(FilledByView { view: Arc::clone(view), query, target })
}
