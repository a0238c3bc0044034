//! CREATE VIEW and CREATE MATERIALIZED VIEW.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::{
    ColumnType, CommandBody, ExistingView, NewTable, NewView, Outcome, Snapshot, Table, ViewKind,
};
use granary_common::{DatabaseId, Error, Result, TableId};
use granary_planner::PartTable;
use granary_sql::{
    CreateView, MaterializedClause, Notice, RefreshClause, TableName, TableSource, bind_query,
    create_table, find_database, parameter_types, query_columns, reads_past, resolve_table,
    without_secrets,
};

use super::alias::is_taken;
use super::populate::populate;
use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::session::{StatementSettings, parse_settings};
use crate::temporary::is_temporary;

/// Where a view is made.
struct Place<'a> {
    request: &'a StatementRequest,
    snapshot: &'a Arc<Snapshot>,
    settings: &'a StatementSettings,
    state: &'a SessionState,
    database: DatabaseId,
}

/// Creates a view.
pub async fn create_view(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateView,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let current = &request.session.database;
    if create.table.if_not_exists && is_taken(&snapshot, current, &create.name) {
        return Ok(());
    }
    if without_secrets(&create.text) != create.text {
        return Err(Error::invalid(
            "a view keeps its query where everybody can read it: keys have no place in it, let the \
             environment of the servers hold them",
        ));
    }
    let database = create.name.database.as_deref().unwrap_or(current);
    let database = find_database(&snapshot, database)?;
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let plan = bind_query(&state, &create.query, &request.sql).await?;
    if create.materialized.is_some() && reads_past(&create.query) {
        return Err(Error::unsupported(
            "a materialized view reads tables as they are: a version of AS OF would not be kept",
        ));
    }
    check_parameters(create, &plan)?;
    let columns = named(query_columns(&plan)?, &create.columns)?;
    let place =
        Place { request, snapshot: &snapshot, settings: &settings, state: &state, database };
    let (kind, inner) = match &create.materialized {
        None => {
            refuse_storage(create)?;
            (ViewKind::Plain, None)
        }
        Some(clause) => materialized(&place, create, clause, &plan, &columns, notices)?,
    };
    let view = NewView {
        database,
        name: create.name.name.clone(),
        query: create.text.clone(),
        query_database: current.clone(),
        columns,
        kind,
        comment: create.table.clauses.comment.clone(),
        inner,
    };
    let existing = match (create.or_replace, create.table.if_not_exists) {
        (true, _) => ExistingView::OrReplace,
        (_, true) => ExistingView::IfNotExists,
        (_, false) => ExistingView::Refuse,
    };
    let command = CommandBody::CreateView { view, existing };
    let (version, outcome) = core.with.catalog.execute(command).await?;
    match (&create.materialized, outcome) {
        (Some(MaterializedClause { populate: true, .. }), Outcome::ViewCreated(view)) => {
            populate(core, request, &settings, view, version).await
        }
        _ => Ok(()),
    }
}

/// A view takes values for `{name:Type}` each time that it is read; one that keeps rows can't.
fn check_parameters(create: &CreateView, plan: &LogicalPlan) -> Result<()> {
    let parameters = parameter_types(plan)?;
    if !parameters.is_empty() && create.materialized.is_some() {
        return Err(Error::invalid("the query of a materialized view has no parameters"));
    }
    let is_named = |name: &str| !name.trim_start_matches('$').starts_with(|c: char| c.is_numeric());
    if let Some((name, _)) = parameters.iter().find(|(name, _)| !is_named(name)) {
        return Err(Error::invalid(format!(
            "the parameter {name} of a view has a name and a type: write {{name:Type}}"
        )));
    }
    // A text is not read as an array.
    let is_nested = |of: &Option<DataType>| of.as_ref().is_some_and(DataType::is_nested);
    match parameters.iter().find(|(_, of)| is_nested(of)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::unsupported(format!(
            "the parameter {name} of a view is a number, a text or a date; arrays are not supported"
        ))),
    }
}

/// The columns under the names that the statement gives them.
fn named(
    columns: Vec<(String, ColumnType)>,
    names: &[String],
) -> Result<Vec<(String, ColumnType)>> {
    if !names.is_empty() && names.len() != columns.len() {
        return Err(Error::invalid(format!(
            "the view names {} columns, its query gives {}",
            names.len(),
            columns.len()
        )));
    }
    let mut seen = BTreeSet::new();
    let mut renamed = Vec::with_capacity(columns.len());
    for (at, (own, column_type)) in columns.into_iter().enumerate() {
        let name = names.get(at).cloned().unwrap_or(own);
        if !seen.insert(name.clone()) {
            return Err(Error::invalid(format!(
                "the view has the column '{name}' more than once; name its columns with AS"
            )));
        }
        renamed.push((name, column_type));
    }
    Ok(renamed)
}

/// A view without rows of its own has nothing to store.
fn refuse_storage(create: &CreateView) -> Result<()> {
    let clauses = &create.table.clauses;
    let stored = create.table.engine.is_some()
        || clauses.partition_by.is_some()
        || clauses.order_by.is_some()
        || clauses.primary_key.is_some()
        || clauses.distributed_by.is_some();
    match stored {
        true => Err(Error::invalid(
            "a view stores nothing, so it has no engine and no keys; write CREATE MATERIALIZED VIEW",
        )),
        false => Ok(()),
    }
}

fn materialized(
    place: &Place<'_>,
    create: &CreateView,
    clause: &MaterializedClause,
    plan: &LogicalPlan,
    columns: &[(String, ColumnType)],
    notices: &mut Vec<Notice>,
) -> Result<(ViewKind, Option<NewTable>)> {
    if create.or_replace {
        return Err(Error::unsupported(
            "CREATE OR REPLACE MATERIALIZED VIEW is not supported; drop the view first",
        ));
    }
    // A view on a schedule reads whatever it likes, also nothing.
    let source = match (&clause.refresh, source_of(plan)) {
        (Some(_), _) => TableId(0),
        (None, Some(source)) => source,
        (None, None) => {
            return Err(Error::invalid(
                "a materialized view follows the first table after FROM; there is none",
            ));
        }
    };
    if is_temporary(place.snapshot, source) {
        return Err(Error::invalid("a materialized view follows a table that lasts"));
    }
    let kind = |target, owns_target| match clause.refresh {
        Some(RefreshClause { schedule, append }) => {
            ViewKind::Refreshable { target, owns_target, schedule, append }
        }
        None => ViewKind::Materialized { source, target, owns_target },
    };
    match &clause.to {
        Some(to) => {
            if create.table.engine.is_some() {
                return Err(Error::invalid("a view TO a table has no engine of its own"));
            }
            let target = resolve_table(place.snapshot, &place.request.session.database, to)?;
            if is_temporary(place.snapshot, target.id) {
                return Err(Error::invalid("a materialized view fills a table that lasts"));
            }
            check_target(&target, columns, notices)?;
            Ok((kind(target.id, false), None))
        }
        None => {
            let (inner, more) = inner_table(place, create, columns)?;
            notices
                .extend(more.into_iter().filter(|notice| !create.table.notices.contains(notice)));
            // The catalog puts the new table's id in.
            Ok((kind(source, true), Some(inner)))
        }
    }
}

/// The table whose inserts the view follows: the first one that its query reads.
fn source_of(plan: &LogicalPlan) -> Option<TableId> {
    let mut node = plan;
    loop {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source).ok()?;
            let provider: &dyn std::any::Any = provider.as_ref();
            return provider.downcast_ref::<PartTable>().map(|table| table.state().table.id);
        }
        node = node.inputs().into_iter().next()?;
    }
}

/// Columns go by their names.
fn check_target(
    target: &Table,
    columns: &[(String, ColumnType)],
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let (found, unknown): (Vec<&String>, Vec<&String>) = columns
        .iter()
        .map(|(name, _)| name)
        .partition(|name| target.insertable_columns().any(|column| column.name == **name));
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "table '{}' has none of the view's columns; they go by name",
            target.name
        )));
    }
    for name in unknown {
        notices.push(Notice::new(format!(
            "column '{name}' of the view is not stored: table '{}' has no such column",
            target.name
        )));
    }
    Ok(())
}

/// The table that the view keeps its rows in.
fn inner_table(
    place: &Place<'_>,
    create: &CreateView,
    columns: &[(String, ColumnType)],
) -> Result<(NewTable, Vec<Notice>)> {
    let mut table = create.table.clone();
    let database = place.snapshot.databases.get(&place.database);
    let mut name = format!(".inner.{}", create.name.name);
    while place.snapshot.find_relation(place.database, &name).is_some() {
        name.push('\'');
    }
    table.name = Some(TableName { database: database.map(|found| found.name.clone()), name });
    table.if_not_exists = false;
    let source = TableSource {
        snapshot: place.snapshot,
        current_database: &place.request.session.database,
        settings: place.settings.dialect(),
        state: place.state,
        query_columns: columns,
    };
    create_table(&table, source)
}
