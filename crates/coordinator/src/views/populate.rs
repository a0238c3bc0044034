//! POPULATE: the rows that the source had when the view was created.

use std::sync::Arc;

use granary_common::{CatalogVersion, Error, Result, TableId};

use super::ViewRows;
use crate::core::Coordinator;
use crate::insert::{InsertRequest, insert};
use crate::query::{StatementRequest, snapshot_at};
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
    let id = view;
    let view = snapshot.views.get(&id).cloned().ok_or_else(|| {
        Error::not_found("the view was dropped before it got the rows that were there")
    })?;
    let _permit = core.query_admission.admit().await?;
    let rows = ViewRows::open(core, &snapshot, &request.session, settings, &view).await?;
    let mut settings = settings.clone();
    // One for the view, however often it is asked for.
    settings.insert.token = format!("populate-{}", id.0);
    let insert_request = InsertRequest {
        id: core.queries.draw_id(),
        session: request.session.clone(),
        table: rows.table.clone(),
        columns: Some(rows.columns()),
        digest: Some(settings.insert.token.clone()),
        settings,
        text: request.sql.clone(),
    };
    insert(core, insert_request, rows.schema.clone(), rows.batches).await.map(drop)
}
