//! `ENGINE = Distributed`: another name of a table, which is distributed by itself.

use std::sync::Arc;

use granary_catalog::{
    CommandBody, Distribution, ExistingView, NewView, Snapshot, Table, ViewKind,
};
use granary_common::{Error, Result};
use granary_sql::{
    AliasArguments, CreateTable, Notice, TableName, find_database, resolve_name, resolve_table,
};

use crate::core::Coordinator;
use crate::query::StatementRequest;

/// Creates an alias.
pub async fn create_alias(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    arguments: AliasArguments,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let name = create.name.as_ref().ok_or_else(|| Error::invalid("CREATE TABLE needs a name"))?;
    if create.or_replace || create.query.is_some() {
        return Err(Error::unsupported(
            "engine Distributed takes neither OR REPLACE nor AS SELECT",
        ));
    }
    let snapshot = core.with.catalog.read_latest().await?;
    let current = &request.session.database;
    if create.if_not_exists && is_taken(&snapshot, current, name) {
        return Ok(());
    }
    let database = find_database(&snapshot, name.database.as_deref().unwrap_or(current))?;
    let target = resolve_table(&snapshot, current, &arguments.target).map_err(|error| {
        error.context("engine Distributed: the table that it stands for must be there")
    })?;
    check_columns(&snapshot, current, create, &target)?;
    notices.push(key_notice(&target, arguments.key.as_deref()));
    let columns = target.visible_columns();
    let view = NewView {
        database,
        name: name.name.clone(),
        query: String::new(),
        query_database: current.clone(),
        columns: columns.map(|column| (column.name.clone(), column.column_type.clone())).collect(),
        kind: ViewKind::Alias { target: target.id },
        comment: create.clauses.comment.clone(),
        inner: None,
    };
    let existing = match create.if_not_exists {
        true => ExistingView::IfNotExists,
        false => ExistingView::Refuse,
    };
    core.with.catalog.execute(CommandBody::CreateView { view, existing }).await.map(drop)
}

/// Whether a table or view of exactly this name is there. It is not compared with the statement.
pub(super) fn is_taken(snapshot: &Snapshot, current_database: &str, name: &TableName) -> bool {
    resolve_name(snapshot, current_database, name).is_ok_and(|found| found.name().1 == name.name)
}

/// Columns that are written out must be the table's, since they cannot be others.
fn check_columns(
    snapshot: &Snapshot,
    current_database: &str,
    create: &CreateTable,
    target: &Table,
) -> Result<()> {
    let like = match &create.like {
        Some(like) => Some(resolve_table(snapshot, current_database, like)?),
        None => None,
    };
    let taken = like.iter().flat_map(|table| table.visible_columns()).map(|column| &column.name);
    let written = create.columns.iter().map(|column| &column.name.value);
    for name in taken.chain(written) {
        if !target.visible_columns().any(|column| column.name == *name) {
            return Err(Error::invalid(format!(
                "column '{name}': engine Distributed shows the columns of table '{}', which has \
                 no such column",
                target.name
            )));
        }
    }
    Ok(())
}

fn key_notice(target: &Table, key: Option<&str>) -> Notice {
    let placed = match &target.distribution {
        Distribution::Rotation => "block by block".to_owned(),
        Distribution::Hash(columns) => {
            let names: Vec<&str> = columns
                .iter()
                .filter_map(|id| target.column(*id))
                .map(|column| column.name.as_str())
                .collect();
            format!("by ({})", names.join(", "))
        }
    };
    let key = match key {
        Some(key) => format!(", and its key {key} has no effect: write DISTRIBUTED BY there"),
        None => String::new(),
    };
    Notice::new(format!(
        "Distributed is another name for table '{}', which is distributed {placed} by itself{key}",
        target.name
    ))
}
