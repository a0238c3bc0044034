//! POPULATE: the rows that the source had when the view was created.

use std::sync::Arc;

use futures::StreamExt;
use granary_common::{CatalogVersion, Error, Result, TableId};
use granary_execution::error::from_datafusion;
use granary_sql::{TableName, view_plan};

use super::SessionViews;
use crate::core::Coordinator;
use crate::insert::{InsertRequest, insert};
use crate::query::{StatementRequest, edge_schema, snapshot_at, to_edge};
use crate::session::StatementSettings;

/// Inserts what the view makes of the rows visible at `version`, at which it was created: inserts
/// committed before are among them, later ones ran the view themselves.
pub(super) async fn populate(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    settings: &StatementSettings,
    view: TableId,
    version: CatalogVersion,
) -> Result<()> {
    let (snapshot, _pin) = snapshot_at(core, Some(version)).await?;
    let view = snapshot.views.get(&view).cloned().ok_or_else(|| {
        Error::not_found("the view was dropped before it got the rows that were there")
    })?;
    let target = snapshot.table_behind(&view).map(|state| Arc::clone(&state.table));
    let target = target.ok_or_else(|| Error::internal("a materialized view has no table"))?;
    let database = snapshot.databases.get(&target.database).map(|found| found.name.clone());
    let views = SessionViews::new(core, &snapshot, &request.session, settings);
    let state = views.in_database(&view.query_database).session_state()?;
    let plan = view_plan(&state, &view).await?;
    let schema = edge_schema(plan.schema().as_arrow());
    let stored: Vec<usize> = (0..schema.fields().len())
        .filter(|at| {
            let name = schema.field(*at).name();
            target.insertable_columns().any(|column| column.name == *name)
        })
        .collect();
    let projected = |error: arrow::error::ArrowError| Error::internal(error.to_string());
    let kept = Arc::new(schema.project(&stored).map_err(projected)?);
    let _permit = core.query_admission.admit().await?;
    let physical = core.with.engine.physical_plan(&state, &plan).await?;
    let batches = core.with.engine.execute(&physical, &state)?;
    let rows = batches.map(move |batch| {
        let batch = to_edge(&batch.map_err(|error| from_datafusion(&error))?, &schema)?;
        batch.project(&stored).map_err(projected)
    });
    let mut settings = settings.clone();
    // One for the view, however often it is asked for.
    settings.insert.token = format!("populate-{}", view.id.0);
    let insert_request = InsertRequest {
        id: core.queries.draw_id(),
        session: request.session.clone(),
        table: TableName { database, name: target.name.clone() },
        columns: Some(kept.fields().iter().map(|field| field.name().clone()).collect()),
        settings,
        digest: Some(format!("populate-{}", view.id.0)),
        text: request.sql.clone(),
    };
    insert(core, insert_request, kept, rows.boxed()).await.map(drop)
}
