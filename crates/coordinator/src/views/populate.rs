//! POPULATE: the rows that the source had when the view was created.

use std::sync::Arc;

use granary_common::{CatalogVersion, Error, Result, TableId};

use super::ViewRows;
use crate::core::Coordinator;
use crate::insert::{Effect, InsertRequest, insert_with};
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
    let mut settings = settings.clone();
    // As with rows that are inserted: what a view makes of a row does not depend on who asks.
    settings.query.session_timezone = "UTC".to_owned();
    let rows = ViewRows::open(core, &snapshot, &request.session, &settings, &view).await?;
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
    // Nodes of an older build know nothing of it.
    let effect = match snapshot.protocol() >= 3 {
        true => Effect::Populate { view: id },
        false => Effect::Add,
    };
    insert_with(core, insert_request, effect, rows.schema.clone(), rows.batches).await.map(drop)
}
