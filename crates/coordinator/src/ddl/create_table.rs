//! CREATE TABLE.

use std::sync::Arc;

use granary_catalog::CommandBody;
use granary_common::{Error, Result};
use granary_sql::{CreateTable, Notice, TableSource, create_table, resolve_table};

use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::session::parse_settings;

/// Creates a table.
pub(super) async fn create(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let name = create.name.as_ref().ok_or_else(|| Error::invalid("CREATE TABLE needs a name"))?;
    let snapshot = core.with.catalog.read_latest().await?;
    if create.if_not_exists {
        // A table that is there is not compared with the statement, as everywhere.
        let found = resolve_table(&snapshot, &request.session.database, name);
        if found.is_ok_and(|table| table.name == name.name) {
            return Ok(());
        }
    }
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let source = TableSource {
        snapshot: &snapshot,
        current_database: &request.session.database,
        settings: settings.dialect(),
        state: &state,
    };
    let (table, more) = create_table(create, source)?;
    notices.extend(more.into_iter().filter(|notice| !create.notices.contains(notice)));
    let command = CommandBody::CreateTable { table, if_not_exists: create.if_not_exists };
    core.with.catalog.execute(command).await.map(drop)
}
