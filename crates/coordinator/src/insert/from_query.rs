//! INSERT INTO ... VALUES | SELECT.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{Partitions, Snapshot, Table};
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_sql::{
    Insert, LazySession, OverwriteClause, Query, SessionSource, TableName, bind_insert_source,
    insert_values, resolve_table, with_formatted_rows, with_overwritten_columns, with_parameters,
};

use super::digest::statement_digest;
use super::{Effect, InsertRequest, Inserted, insert_with};
use crate::core::Coordinator;
use crate::ddl::partitions_of;
use crate::query::{
    Parameters, StatementRequest, edge_schema, edge_type_of, hold_past, snapshot_at, to_edge,
};
use crate::session::{StatementSettings, parse_settings};

pub(crate) type Rows<'a> = (SchemaRef, BoxStream<'a, Result<RecordBatch>>);

/// Runs an INSERT statement; all rows of parameters are one insert.
pub async fn insert_statement(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &Insert,
) -> Result<Inserted> {
    core.check_accepting()?;
    let mut settings = parse_settings(&request.session.settings)?;
    settings.set_all(&statement.settings)?;
    let (snapshot, _pin) = snapshot_at(core, request.version).await?;
    let table = resolve_table(&snapshot, &request.session.database, &statement.table)?;
    let of_session = (Arc::clone(&snapshot), settings.clone());
    let session = LazySession::new(move || {
        let (snapshot, settings) = &of_session;
        core.session_state(snapshot, &request.session, settings)
    });
    let statement = &with_formatted_rows(statement, &table)?;
    let statement = &with_overwritten_columns(statement, &table)?;
    let effect = effect_of(statement, &snapshot, &table, &session)?;
    let insert_request = InsertRequest {
        id: request.id.clone(),
        session: request.session.clone(),
        table: statement.table.clone(),
        columns: statement.columns.clone(),
        settings,
        digest: Some(statement_digest(&request.sql, &request.parameters.to_bytes()?)),
        text: request.sql.clone(),
    };
    let values = match request.parameters.is_empty() {
        true => insert_values(statement, &table, &session)?,
        false => None,
    };
    if let Some(values) = values {
        let schema = values.schema();
        return insert_with(core, insert_request, effect, schema, once(values)).await;
    }
    let state = session.session()?;
    let plan = bind_insert_source(state, &statement.source, &request.sql).await?;
    let _past = hold_past(core, &plan).await?;
    if let Some((schema, rows)) = placed(&plan, &request.parameters)? {
        return insert_with(core, insert_request, effect, schema, rows).await;
    }
    let _permit = core.query_admission.admit().await?;
    let (schema, rows) = rows_of(core, state, plan, request)?;
    insert_with(core, insert_request, effect, schema, rows).await
}

/// What the statement says that goes away.
fn effect_of(
    statement: &Insert,
    snapshot: &Snapshot,
    table: &Table,
    session: &dyn SessionSource,
) -> Result<Effect> {
    Ok(match &statement.overwrite {
        None => Effect::Add,
        Some(OverwriteClause::Table) => Effect::Overwrite(Partitions::All),
        Some(OverwriteClause::Partition(clause)) => {
            Effect::Overwrite(partitions_of(snapshot, table, clause, session.session()?)?)
        }
        Some(OverwriteClause::Columns(_)) => {
            return Err(Error::internal("the columns of PARTITION were not taken apart"));
        }
    })
}

/// Inserts the rows of a query, for CREATE TABLE ... AS SELECT.
pub async fn insert_query(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    table: &TableName,
    query: &Query,
    settings: StatementSettings,
) -> Result<Inserted> {
    let (snapshot, _pin) = snapshot_at(core, request.version).await?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let insert_request = InsertRequest {
        id: core.queries.draw_id(),
        session: request.session.clone(),
        table: table.clone(),
        columns: None,
        settings,
        digest: Some(statement_digest(&request.sql, &request.parameters.to_bytes()?)),
        text: request.sql.clone(),
    };
    let plan = bind_insert_source(&state, query, &request.sql).await?;
    let _past = hold_past(core, &plan).await?;
    let _permit = core.query_admission.admit().await?;
    let (schema, rows) = rows_of(core, &state, plan, request)?;
    insert_with(core, insert_request, Effect::Add, schema, rows).await
}

fn once<'a>(rows: RecordBatch) -> BoxStream<'a, Result<RecordBatch>> {
    futures::stream::iter([Ok(rows)]).boxed()
}

/// The rows of the plan, once for each row of parameters.
pub(crate) fn rows_of<'a>(
    core: &'a Arc<Coordinator>,
    state: &'a SessionState,
    plan: LogicalPlan,
    request: &'a StatementRequest,
) -> Result<Rows<'a>> {
    let plans: Vec<LogicalPlan> = match request.parameters.is_empty() {
        true => vec![plan],
        false => (0..request.parameters.rows())
            .map(|row| with_parameters(plan.clone(), request.parameters.row(row)?))
            .collect::<Result<_>>()?,
    };
    let first = plans.first().ok_or_else(|| Error::invalid("no row of parameters was sent"))?;
    let schema = edge_schema(first.schema().as_arrow());
    let streams = futures::stream::iter(plans).then(move |plan| async move {
        let physical = core.with.engine.physical_plan(state, &plan).await?;
        let batches = core.with.engine.execute(&physical, state)?;
        Ok::<_, Error>(batches.map_err(|error| from_datafusion(&error)))
    });
    let edge = Arc::clone(&schema);
    let rows = streams.try_flatten().map(move |batch| to_edge(&batch?, &edge)).boxed();
    Ok((schema, rows))
}

/// `VALUES (?, ?)`: the parameters are the rows, however many there are.
fn placed<'a>(plan: &LogicalPlan, parameters: &Parameters) -> Result<Option<Rows<'a>>> {
    let (Some(places), Some(rows)) = (placeholder_columns(plan), parameters.batch()) else {
        return Ok(None);
    };
    let known = places.iter().max().is_none_or(|place| *place < rows.num_columns());
    if !known || places.len() != rows.num_columns() {
        return Err(Error::invalid(format!(
            "the statement has {} parameters, {} were given",
            places.len(),
            rows.num_columns()
        )));
    }
    let rows = rows.project(&places).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(Some((rows.schema(), once(rows))))
}

/// The place among the parameters of each column of a single `VALUES` row that has nothing but
/// placeholders, each once.
pub fn placeholder_columns(plan: &LogicalPlan) -> Option<Vec<usize>> {
    let LogicalPlan::Values(values) = plan else { return None };
    let [row] = values.values.as_slice() else { return None };
    let place = |expression: &Expr| match expression {
        Expr::Placeholder(placeholder) => {
            let number = placeholder.id.trim_start_matches('$').parse::<usize>().ok()?;
            number.checked_sub(1)
        }
        _ => None,
    };
    let places = row.iter().map(place).collect::<Option<Vec<usize>>>()?;
    let mut sorted = places.clone();
    sorted.sort_unstable();
    (sorted == (0..places.len()).collect::<Vec<_>>()).then_some(places)
}

/// The types of the columns that an INSERT names, as Arrow carries them; unknown names are left to
/// the insert itself.
pub fn column_types(table: &Table, named: Option<&[String]>) -> Vec<DataType> {
    match named {
        None => {
            table.insertable_columns().map(|column| edge_type_of(&column.column_type)).collect()
        }
        Some(names) => names
            .iter()
            .map(|name| {
                let found = table.visible_columns().find(|c| c.name.eq_ignore_ascii_case(name));
                found.map_or(DataType::Utf8, |column| edge_type_of(&column.column_type))
            })
            .collect(),
    }
}
