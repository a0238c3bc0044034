//! SYSTEM REFRESH | WAIT | STOP | START VIEW, REFRESH MATERIALIZED VIEW.

use std::sync::Arc;

use granary_catalog::{CommandBody, RefreshStep, Snapshot, View, ViewKind};
use granary_common::{Error, Result, TableId};
use granary_sql::{Named, SystemView, TableName, ViewAction, resolve_name};

use crate::core::Coordinator;
use crate::query::StatementRequest;

/// Runs the statement. WAIT fails as the run that it waited for has failed.
pub(crate) async fn system_view(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &SystemView,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let view = refreshable(&snapshot, &request.session.database, &statement.view)?;
    let step = match statement.action {
        ViewAction::Refresh | ViewAction::RefreshAndWait => RefreshStep::Request,
        ViewAction::Stop => RefreshStep::Stop,
        ViewAction::Start => RefreshStep::Start,
        ViewAction::Wait => return wait(core, view.id).await,
    };
    core.execute_until_known(CommandBody::Refresh { view: view.id, step }).await?;
    match statement.action {
        ViewAction::RefreshAndWait => wait(core, view.id).await,
        _ => Ok(()),
    }
}

fn refreshable(snapshot: &Snapshot, database: &str, name: &TableName) -> Result<Arc<View>> {
    match resolve_name(snapshot, database, name)? {
        Named::View(view) if matches!(view.kind, ViewKind::Refreshable { .. }) => Ok(view),
        _ => Err(Error::invalid(format!(
            "'{name}' is not a refreshable view; CREATE MATERIALIZED VIEW ... REFRESH makes one"
        ))),
    }
}

/// Waits until no run goes on or is asked for.
async fn wait(core: &Arc<Coordinator>, view: TableId) -> Result<()> {
    let mut versions = core.with.catalog.watch();
    loop {
        let snapshot = core.with.catalog.snapshot();
        let row = snapshot.refreshes.get(&view);
        let row = row.ok_or_else(|| Error::not_found("the view was dropped meanwhile"))?;
        if row.running.is_none() && !row.requested {
            return match &row.last_failure {
                Some(failure) => Err(failure.error().context("the last refresh failed")),
                None => Ok(()),
            };
        }
        let moved = versions.changed().await;
        moved.map_err(|_| Error::unavailable("the coordinator is stopping"))?;
    }
}
