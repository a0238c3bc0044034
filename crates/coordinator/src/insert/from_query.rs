//! INSERT INTO ... VALUES | SELECT.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Query;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_sql::{Insert, TableName, bind_insert_source, resolve_table, with_parameters};

use super::digest::statement_digest;
use super::{InsertRequest, Inserted, insert};
use crate::core::Coordinator;
use crate::query::{StatementRequest, edge_schema, snapshot_at, to_edge};
use crate::session::parse_settings;

/// Runs an INSERT statement.
pub async fn insert_statement(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &Insert,
) -> Result<Inserted> {
    let columns = statement.columns.clone();
    from_query(core, request, &statement.table, columns, &statement.source, &statement.settings)
        .await
}

/// Inserts the rows of `query`, all rows of parameters in one insert.
pub async fn from_query(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    table: &TableName,
    columns: Option<Vec<String>>,
    query: &Query,
    own_settings: &[(String, String)],
) -> Result<Inserted> {
    core.check_accepting()?;
    let mut settings = parse_settings(&request.session.settings)?;
    for (name, value) in own_settings {
        settings.set(name, value)?;
    }
    let (snapshot, _pin) = snapshot_at(core, request.version).await?;
    // Before the query runs: an unknown table is the clearer error.
    resolve_table(&snapshot, &request.session.database, table)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let plan = bind_insert_source(&state, query, &request.sql).await?;
    let schema = edge_schema(plan.schema().as_arrow());
    let parameters = request.parameters.to_bytes()?;
    let insert_request = InsertRequest {
        id: request.id.clone(),
        session: request.session.clone(),
        table: table.clone(),
        columns,
        settings,
        digest: Some(statement_digest(&request.sql, &parameters)),
        text: request.sql.clone(),
    };
    let _permit = core.query_admission.admit().await?;
    let rows = rows_of(core, &state, plan, request)?;
    let plain = {
        let schema = Arc::clone(&schema);
        rows.map(move |batch| to_edge(&batch?, &schema)).boxed()
    };
    insert(core, insert_request, schema, plain).await
}

/// The rows of the plan, once for each row of parameters.
fn rows_of<'a>(
    core: &'a Arc<Coordinator>,
    state: &'a SessionState,
    plan: LogicalPlan,
    request: &'a StatementRequest,
) -> Result<BoxStream<'a, Result<arrow::record_batch::RecordBatch>>> {
    let plans: Vec<LogicalPlan> = match request.parameters.is_empty() {
        true => vec![plan],
        false => (0..request.parameters.rows())
            .map(|row| with_parameters(plan.clone(), request.parameters.row(row)?))
            .collect::<Result<_>>()?,
    };
    let streams = futures::stream::iter(plans).then(move |plan| async move {
        let physical = core.with.engine.physical_plan(state, &plan).await?;
        let batches = core.with.engine.execute(&physical, state)?;
        Ok::<_, Error>(batches.map_err(|error| from_datafusion(&error)))
    });
    Ok(streams.try_flatten().boxed())
}
