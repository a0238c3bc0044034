//! CREATE TABLE.

use std::sync::Arc;

use granary_catalog::{ColumnType, CommandBody, Snapshot};
use granary_common::{Error, Result};
use granary_sql::{
    CreateTable, Notice, TableName, TableSource, alias_arguments, bind_query, create_table,
    query_columns, resolve_name,
};
use granary_storage::volume::tiers::DEFAULT_POLICY;

use super::replace_table::replace;
use super::tiers::{check_policy, unknown_places};
use crate::core::Coordinator;
use crate::insert::insert_query;
use crate::query::StatementRequest;
use crate::session::{StatementSettings, parse_settings};
use crate::views::create_alias;

/// Creates a table. Gives the rows that its query filled it with.
pub(crate) async fn create(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    notices: &mut Vec<Notice>,
) -> Result<u64> {
    if let Some(arguments) = alias_arguments(create.engine.as_ref())? {
        return create_alias(core, request, create, arguments, notices).await.map(|()| 0);
    }
    match create.or_replace {
        true => replace(core, request, create, notices).await,
        false => create_new(core, request, create, notices).await,
    }
}

/// Creates a table under a name that nothing has.
pub(super) async fn create_new(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    notices: &mut Vec<Notice>,
) -> Result<u64> {
    let name = create.name.as_ref().ok_or_else(|| Error::invalid("CREATE TABLE needs a name"))?;
    let snapshot = core.with.catalog.read_latest().await?;
    if create.if_not_exists {
        // A table that is there is not compared with the statement, as everywhere.
        let found = resolve_name(&snapshot, &request.session.database, name);
        if found.is_ok_and(|found| found.name().1 == name.name) {
            return Ok(0);
        }
    }
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let columns = query_columns_of(create, &state, request).await?;
    let source = TableSource {
        snapshot: &snapshot,
        current_database: &request.session.database,
        settings: settings.dialect(),
        state: &state,
        query_columns: &columns,
    };
    let (table, more) = create_table(create, source)?;
    notices.extend(more.into_iter().filter(|notice| !create.notices.contains(notice)));
    let policy = table.settings.get("storage_policy");
    check_policy(&core.config.tiers, policy)?;
    let policy = policy.map_or(DEFAULT_POLICY, String::as_str);
    notices.extend(unknown_places(&core.config.tiers, policy, &table.options));
    let command = CommandBody::CreateTable { table, if_not_exists: create.if_not_exists };
    core.with.catalog.execute(command).await?;
    match create.query {
        Some(_) => fill(core, request, create, name, settings).await,
        None => Ok(0),
    }
}

/// The columns of `AS SELECT`; none without it.
async fn query_columns_of(
    create: &CreateTable,
    state: &datafusion::execution::SessionState,
    request: &StatementRequest,
) -> Result<Vec<(String, ColumnType)>> {
    match &create.query {
        Some(query) => query_columns(&bind_query(state, query, &request.sql).await?),
        None => Ok(Vec::new()),
    }
}

/// Fills a new table from its query; without its rows it is dropped again.
async fn fill(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    name: &TableName,
    settings: StatementSettings,
) -> Result<u64> {
    let Some(query) = &create.query else { return Ok(0) };
    let filled = insert_query(core, request, name, query, settings).await;
    if filled.is_err() {
        let snapshot: Arc<Snapshot> = core.with.catalog.read_latest().await?;
        if let Ok(granary_sql::Named::Table(table)) =
            resolve_name(&snapshot, &request.session.database, name)
        {
            core.with.catalog.execute(CommandBody::DropTable { table: table.id }).await?;
        }
    }
    filled.map(|inserted| inserted.rows)
}
