//! RESTORE TABLE, UNDROP TABLE and CREATE TABLE ... CLONE.

use std::sync::Arc;

use granary_catalog::{CloneTable, CommandBody, Past, Snapshot, TableState};
use granary_common::{CatalogVersion, DatabaseId, Error, Result, TableId};
use granary_sql::{
    PastClause, PastStatement, TableName, did_you_mean, find_database, past_point, resolve_table,
};

use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::session::parse_settings;

pub(super) async fn run(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &PastStatement,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let current = request.session.database.as_str();
    let command = match statement {
        PastStatement::Restore { table, point, .. } => {
            let table = resolve_table(&snapshot, current, table)?.id;
            let version = version_of(core, request, &snapshot, table, point).await?;
            CommandBody::RestoreTable { table, version }
        }
        PastStatement::Undrop { table, .. } => {
            CommandBody::UndropTable { table: dropped(&snapshot, current, table)? }
        }
        PastStatement::Clone { name, if_not_exists, source, point, .. } => {
            let from = resolve_table(&snapshot, current, source)?.id;
            let version = match point {
                Some(point) => Some(version_of(core, request, &snapshot, from, point).await?),
                None => None,
            };
            CommandBody::CloneTable(CloneTable {
                from,
                version,
                database: database_of(&snapshot, current, name)?,
                name: name.name.clone(),
                if_not_exists: *if_not_exists,
            })
        }
    };
    core.with.catalog.execute(command).await.map(drop)
}

fn database_of(snapshot: &Snapshot, current: &str, name: &TableName) -> Result<DatabaseId> {
    find_database(snapshot, name.database.as_deref().unwrap_or(current))
}

/// The version that a point of the past means for a table, if it is kept.
async fn version_of(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    snapshot: &Arc<Snapshot>,
    table: TableId,
    point: &PastClause,
) -> Result<CatalogVersion> {
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(snapshot, &request.session, &settings)?;
    let point: Past = past_point(&state, point).await?;
    let state = snapshot.tables.get(&table);
    let state = state.ok_or_else(|| Error::not_found("the table does not exist any more"))?;
    Ok(snapshot.past(state, point)?.version)
}

/// The table of this name that was dropped last.
fn dropped(snapshot: &Snapshot, current: &str, name: &TableName) -> Result<TableId> {
    let database = database_of(snapshot, current, name)?;
    let gone = || {
        let of =
            |state: &&TableState| state.table.database == database && state.table.dropped.is_some();
        snapshot.tables.values().filter(of)
    };
    let found = gone().filter(|state| state.table.name == name.name);
    match found.max_by_key(|state| state.table.dropped) {
        Some(state) => Ok(state.table.id),
        None => {
            let hint = did_you_mean(&name.name, gone().map(|state| state.table.name.as_str()));
            Err(Error::not_found(format!(
                "no dropped table '{name}' is kept: dropped tables stay for their \
                 history_retention_seconds{hint}"
            )))
        }
    }
}
