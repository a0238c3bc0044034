//! CREATE TABLE, also AS SELECT.

use std::sync::Arc;

use granary_catalog::{CommandBody, Outcome};
use granary_common::{Error, ErrorKind, Result, TableId};
use datafusion::sql::sqlparser::ast::Query;
use granary_sql::{CreateTable, Notice, TableName, TableSource, create_table};

use super::drop_table;
use crate::core::Coordinator;
use crate::insert;
use crate::query::StatementRequest;
use crate::session::parse_settings;

/// Creates a table, with rows when the statement brings a query. Gives the number of rows.
pub(super) async fn create(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    notices: &mut Vec<Notice>,
) -> Result<u64> {
    let name = create.name.as_ref().ok_or_else(|| Error::invalid("CREATE TABLE needs a name"))?;
    if create.or_replace {
        return Err(Error::unsupported(
            "CREATE OR REPLACE TABLE is not supported; drop the table first",
        ));
    }
    let before = core.with.catalog.read_latest().await?;
    let existed = find(&before, request, name).is_some();
    if existed && create.if_not_exists {
        return Ok(0);
    }
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(&before, &request.session, &settings)?;
    let source = TableSource {
        snapshot: &before,
        current_database: &request.session.database,
        settings: settings.dialect(),
        state: &state,
    };
    let (table, more) = create_table(create, source)?;
    notices.extend(more.into_iter().filter(|notice| !create.notices.contains(notice)));
    let if_not_exists = create.if_not_exists;
    let command = CommandBody::CreateTable { table, if_not_exists };
    let Outcome::TableCreated(id) = core.with.catalog.execute(command).await?.1 else {
        return Err(Error::internal("a table was created without an id"));
    };
    match &create.query {
        None => Ok(0),
        Some(query) => fill(core, request, name, id, query).await,
    }
}

/// The rows of AS SELECT. A table that could not be filled is dropped again.
async fn fill(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    name: &TableName,
    id: TableId,
    query: &Query,
) -> Result<u64> {
    let outcome = insert::from_query(core, request, name, None, query, &[]).await;
    match outcome {
        Ok(done) => Ok(done.rows),
        Err(error) => {
            if let Err(failed) = drop_table(core, id).await {
                tracing::warn!(%failed, table = %name, "a half-made table could not be dropped");
            }
            Err(error)
        }
    }
}

fn find(
    snapshot: &granary_catalog::Snapshot,
    request: &StatementRequest,
    name: &TableName,
) -> Option<TableId> {
    let found = granary_sql::resolve_table(snapshot, &request.session.database, name);
    match found {
        Ok(table) if table.name == name.name => Some(table.id),
        Ok(_) => None,
        Err(error) => {
            debug_assert_eq!(error.kind(), ErrorKind::NotFound);
            None
        }
    }
}
