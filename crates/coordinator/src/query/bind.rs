//! Parse and bind at a pinned snapshot.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::{Partitions, Snapshot};
use granary_common::units::display_bytes;
use granary_common::{CatalogVersion, Error, Result};
use granary_sql::{Notice, Statement, TableName, query_of_table, query_settings, resolve_table};

use super::check::{CopyToCheck, check_schema, copies_to_check};
use super::stale::{Readable, readable};
use super::{Pin, StatementRequest, edge_schema, hold_past};
use crate::core::Coordinator;
use crate::ddl;
use crate::session::{StatementSettings, parse_settings};
use crate::temporary;
use crate::views::by_views;

/// What gives the rows.
pub enum Bound {
    /// A plan, with the session that it was bound in.
    Plan { state: Box<SessionState>, plan: LogicalPlan },
    /// The text of a plan; with `analyze` after running it.
    Explain { state: Box<SessionState>, plan: LogicalPlan, analyze: bool, verbose: bool },
    /// Rows of the catalog.
    Rows(RecordBatch),
    /// What workers find in these copies of parts.
    Check(Vec<CopyToCheck>),
    /// Nothing any more: it runs.
    Taken,
}

/// A query that knows what it reads.
pub struct BoundQuery {
    pub request: StatementRequest,
    pub snapshot: Arc<Snapshot>,
    pub settings: StatementSettings,
    pub bound: Bound,
    /// As the client gets it.
    pub schema: SchemaRef,
    pub notices: Vec<Notice>,
    /// Keeps the version readable.
    pub pin: Pin,
    /// The metadata group was away: the pin protects nothing.
    pub is_stale: bool,
}

/// Whether a statement gives rows and changes nothing.
pub fn is_query(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ExplainBalance
            | Statement::ShowDatabases { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowCreateTable { .. }
            | Statement::ShowCreateDatabase { .. }
            | Statement::Describe { .. }
            | Statement::DescribeQuery { .. }
            | Statement::Exists(_)
            | Statement::CheckTable(_)
    )
}

/// The only statement of a request; its names mean the session's temporary tables first.
pub async fn one_statement(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
) -> Result<Statement> {
    let mut statement = parsed(core, &request.sql)?;
    temporary::settle(core, request, &mut statement).await?;
    Ok(statement)
}

fn parsed(core: &Coordinator, sql: &str) -> Result<Statement> {
    let limit = core.config.limits.statement_bytes_max;
    if sql.len() > limit {
        return Err(Error::exhausted(format!(
            "a statement of {}; at most {} are taken, send rows by bulk insert",
            display_bytes(sql.len() as u64),
            display_bytes(limit as u64)
        )));
    }
    let mut statements = granary_sql::parse(sql)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Error::invalid("the statement is empty")),
        (Some(_), more) => Err(Error::invalid(format!(
            "{} statements in one call; send them one by one",
            more + 1
        ))),
    }
}

/// Binds a parsed query at the version that it asks for.
pub async fn bind_statement(
    core: &Arc<Coordinator>,
    request: StatementRequest,
    statement: Statement,
) -> Result<BoundQuery> {
    let mut settings = parse_settings(&request.session.settings)?;
    if let Statement::Query(query) | Statement::Explain { query, .. } = &statement {
        settings.set_all(&query_settings(query))?;
    }
    let Readable { snapshot, mut pin, stale } = readable(core, &request, &settings).await?;
    let is_stale = stale.is_some();
    let mut notices = statement.notices().to_vec();
    notices.extend(stale);
    let bound = match statement {
        Statement::Query(query) => {
            let state = core.session_state(&snapshot, &request.session, &settings)?;
            let plan = granary_sql::bind_query(&state, &query, &request.sql).await?;
            let plan = with_values(plan, &request, &settings)?;
            let plan =
                by_views(core, &snapshot, (&request.session, &settings), &state, plan).await?;
            // A lower pin protects what the higher one does.
            pin = hold_past(core, &plan).await?.unwrap_or(pin);
            let plan = granary_sql::as_shown(plan, &state)?;
            Bound::Plan { state: Box::new(state), plan }
        }
        Statement::Explain { analyze, verbose, query } => {
            let state = core.session_state(&snapshot, &request.session, &settings)?;
            let plan = granary_sql::bind_query(&state, &query, &request.sql).await?;
            let plan = with_values(plan, &request, &settings)?;
            let plan =
                by_views(core, &snapshot, (&request.session, &settings), &state, plan).await?;
            pin = hold_past(core, &plan).await?.unwrap_or(pin);
            Bound::Explain { state: Box::new(state), plan, analyze, verbose }
        }
        Statement::DescribeQuery { query } => {
            let state = core.session_state(&snapshot, &request.session, &settings)?;
            let plan = granary_sql::bind_query(&state, &query, &request.sql).await?;
            Bound::Rows(ddl::describe_query(&plan, None)?)
        }
        Statement::Describe { table, like } if is_of_system(&request, &table) => {
            let state = core.session_state(&snapshot, &request.session, &settings)?;
            let plan =
                granary_sql::bind_query(&state, &query_of_table(&table)?, &request.sql).await?;
            Bound::Rows(ddl::describe_query(&plan, like.as_ref())?)
        }
        Statement::CheckTable(check) => {
            let table = resolve_table(&snapshot, &request.session.database, &check.table)?;
            let partitions = match &check.partition {
                None => Partitions::All,
                Some(clause) => {
                    let state = core.session_state(&snapshot, &request.session, &settings)?;
                    ddl::partitions_of(&snapshot, &table, clause, &state)?
                }
            };
            let state = snapshot.tables.get(&table.id);
            let copies = state.map(|state| copies_to_check(&snapshot, state, &partitions));
            Bound::Check(copies.unwrap_or_default())
        }
        Statement::ExplainBalance => Bound::Rows(ddl::balance(core, &snapshot).await?),
        other => Bound::Rows(ddl::show(core, &snapshot, &request.session, &other)?),
    };
    notices.extend(settings.notices.iter().cloned());
    let schema = bound.schema();
    Ok(BoundQuery { request, snapshot, settings, bound, schema, notices, pin, is_stale })
}

/// Whether it is a table that the server makes up.
fn is_of_system(request: &StatementRequest, table: &TableName) -> bool {
    let database = table.database.as_ref().unwrap_or(&request.session.database);
    crate::system::is_system_schema(database)
}

/// Values that come with the statement stand first; those of the session have names.
fn with_values(
    plan: LogicalPlan,
    request: &StatementRequest,
    settings: &StatementSettings,
) -> Result<LogicalPlan> {
    let plan = match settings.parameters.is_empty() {
        true => plan,
        false => granary_sql::with_named_parameters(plan, &settings.parameters)?,
    };
    match request.parameters.is_empty() {
        true => Ok(plan),
        false => granary_sql::with_parameters(plan, request.parameters.only_row()?),
    }
}

impl Bound {
    fn schema(&self) -> SchemaRef {
        match self {
            Bound::Plan { plan, .. } => edge_schema(plan.schema().as_arrow()),
            Bound::Explain { .. } => explain_schema(),
            Bound::Rows(rows) => rows.schema(),
            Bound::Check(_) => check_schema(),
            Bound::Taken => Arc::new(Schema::empty()),
        }
    }
}

fn explain_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("explain", DataType::Utf8, false)]))
}

/// A plan's text as rows, a line each.
pub(super) fn explain_rows(text: &str) -> Result<RecordBatch> {
    let lines: StringArray = text.lines().map(Some).collect();
    RecordBatch::try_new(explain_schema(), vec![Arc::new(lines)])
        .map_err(|error| Error::internal(error.to_string()))
}

/// The catalog at `version`, or with everything that is acknowledged; pinned.
///
/// Kind `Conflict` when the version is not retained any more.
pub async fn snapshot_at(
    core: &Arc<Coordinator>,
    version: Option<CatalogVersion>,
) -> Result<(Arc<Snapshot>, Pin)> {
    if !core.holds_lease() {
        return Err(Error::unavailable(
            "this coordinator has lost the metadata group; run the query again, or through another",
        ));
    }
    // Pinned before it is looked at, so that the check of the horizon holds from then on.
    let early = core.pins.pin(version.unwrap_or_else(|| core.with.catalog.snapshot().version));
    let latest = core.with.catalog.read_latest().await?;
    let Some(version) = version.filter(|version| *version != latest.version) else {
        let pin = core.pins.pin(latest.version);
        return Ok((latest, pin));
    };
    let horizon = latest.cluster.as_ref().map_or(CatalogVersion(0), |cluster| cluster.horizon);
    if version < horizon || version > latest.version {
        return Err(Error::conflict(format!(
            "version {version} of the catalog is not retained any more; run the query again"
        )));
    }
    Ok((Arc::new(view_at(&latest, version)), early))
}

/// `latest` as it was at `version`: parts are filtered by their readers, tables here.
pub(super) fn view_at(latest: &Snapshot, version: CatalogVersion) -> Snapshot {
    let mut view = latest.clone();
    view.version = version;
    for (id, made) in &latest.views {
        if made.created > version {
            view.views.remove(id);
        }
    }
    for (id, state) in &latest.tables {
        if state.table.created > version {
            view.tables.remove(id);
        } else if state.table.dropped.is_some_and(|dropped| dropped > version) {
            let mut state = state.clone();
            let mut table = (*state.table).clone();
            table.dropped = None;
            state.table = Arc::new(table);
            view.tables.insert(*id, state);
        }
    }
    view
}
