//! ALTER TABLE of columns, clauses and settings.
//!
//! One command of the catalog, at once, whatever the table holds. Only a change that gives every row
//! a value of its own takes longer: a hidden column is added first, the table is rewritten with it,
//! and then it becomes the one that was asked for. Where only NULLs are in the way, the rows that are
//! there are read instead, and nothing is written. Nobody sees anything in between, and a
//! coordinator that fails on the way leaves a hidden column that the next ALTER TABLE takes away.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use granary_catalog::{CommandBody, Part, Partitions, Scalar, Snapshot, Table, View};
use granary_common::{ColumnId, Error, ErrorKind, Result};
use granary_execution::Cleared;
use granary_sql::{
    AlterAction, AlterSource, AlterTable, AlteredTable, Notice, Preparation, Rebuilt, Statement,
    TableName, TableSource, Update, alter_table, resolve_table,
};
use granary_storage::volume::tiers::DEFAULT_POLICY;
use granary_storage::{scalar_at, to_arrow_scalar};

use super::buckets::modify_buckets;
use super::merges::{clear, materialize_index, materialize_projection, materialize_ttl};
use super::partitions_of;
use super::tiers::{check_policy, unknown_places};
use crate::core::Coordinator;
use crate::mutate::mutate;
use crate::query::{self, StatementRequest};
use crate::session::{Session, parse_settings};

/// Changes a table, or the one behind a name. Kind `Conflict`: others changed it at the same time
/// again and again, nothing happened.
pub(super) async fn alter(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    alter: &AlterTable,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    if let [AlterAction::ModifyBuckets(buckets)] = alter.actions.as_slice() {
        return modify_buckets(core, request, &alter.table, *buckets, notices).await;
    }
    let mut prepared: Vec<ColumnId> = Vec::new();
    let mut backoff = core.backoff();
    loop {
        let snapshot = core.with.catalog.read_latest().await?;
        let table = resolve_table(&snapshot, &request.session.database, &alter.table)?;
        let AlteredTable { command, preparation, notices: more } =
            altered(core, request, alter, &snapshot, &table, &prepared)?;
        let policy = command.settings.get("storage_policy");
        check_policy(&core.config.tiers, policy)?;
        let policy = policy.map_or(DEFAULT_POLICY, String::as_str);
        let places = match command.options.rules == table.options.rules {
            true => Vec::new(),
            false => unknown_places(&core.config.tiers, policy, &command.options),
        };
        let outcome = match preparation {
            None => {
                let command = CommandBody::AlterTable(Box::new(command));
                core.with.catalog.execute(command).await.map(|_| None)
            }
            Some(preparation) => {
                check_none_detached(&snapshot, &table)?;
                let command = CommandBody::AlterTable(Box::new(preparation.command.clone()));
                core.with.catalog.execute(command).await.map(|_| Some(preparation))
            }
        };
        match outcome {
            Ok(None) => {
                notices.extend(more);
                notices.extend(places);
                return materialize(core, request, alter, notices).await;
            }
            Ok(Some(preparation)) => {
                let done = match preparation.rewrites {
                    true => rewrite(core, request, &snapshot, &table).await,
                    false => check_rows(core, request, &snapshot, &table, &preparation).await,
                };
                if let Err(error) = done {
                    give_up(core, request, alter).await;
                    return Err(error);
                }
                prepared = preparation.columns;
                backoff = core.backoff();
            }
            Err(error) if error.kind() == ErrorKind::Conflict && backoff.wait().await => {
                tracing::debug!(%error, "planning a change of a table again");
            }
            Err(error) => return Err(error),
        }
    }
}

/// What the statement asks for beside the change of the table's row.
async fn materialize(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    alter: &AlterTable,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    for action in &alter.actions {
        let (AlterAction::MaterializeTtl(partition)
        | AlterAction::Rebuild { partition, .. }
        | AlterAction::Clear { partition, .. }) = action
        else {
            continue;
        };
        let snapshot = core.with.catalog.read_latest().await?;
        let table = resolve_table(&snapshot, &request.session.database, &alter.table)?;
        let partitions = match partition {
            None => Partitions::All,
            Some(clause) => {
                let settings = parse_settings(&request.session.settings)?;
                let state = core.session_state(&snapshot, &request.session, &settings)?;
                partitions_of(&snapshot, &table, clause, &state)?
            }
        };
        match action {
            AlterAction::Rebuild { what: Rebuilt::Index, name, .. } => {
                materialize_index(core, &table, partitions, name, notices).await?;
            }
            AlterAction::Rebuild { what: Rebuilt::Projection, name, .. } => {
                materialize_projection(core, &table, partitions, name).await?;
            }
            AlterAction::Clear { what, name, .. } => {
                let cleared = match what {
                    Rebuilt::Index => Cleared::Index(name.clone()),
                    Rebuilt::Projection => Cleared::Projection(name.clone()),
                };
                clear(core, &table, partitions, cleared).await?;
            }
            _ => materialize_ttl(core, &table, partitions).await?,
        }
    }
    Ok(())
}

fn altered(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    alter: &AlterTable,
    snapshot: &Arc<Snapshot>,
    table: &Table,
    prepared: &[ColumnId],
) -> Result<AlteredTable> {
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(snapshot, &request.session, &settings)?;
    let views: Vec<&View> = snapshot.views.values().map(Arc::as_ref).collect();
    let source = AlterSource {
        table: TableSource {
            snapshot,
            current_database: &request.session.database,
            settings: settings.dialect(),
            state: &state,
            query_columns: &[],
        },
        has_parts: parts(snapshot, table).next().is_some(),
        views: &views,
        prepared,
        to_scalar,
        to_array,
    };
    alter_table(alter, table, source)
}

/// Parts that are there or may come back.
fn parts<'a>(snapshot: &'a Snapshot, table: &Table) -> impl Iterator<Item = &'a Arc<Part>> {
    let parts = snapshot.tables.get(&table.id).into_iter().flat_map(|state| state.parts.values());
    parts.filter(|part| part.removed.is_none() || part.detached)
}

fn to_scalar(values: &dyn Array, row: usize) -> Result<Scalar> {
    scalar_at(values, row)
}

fn to_array(value: &Scalar, data_type: &DataType) -> Result<ArrayRef> {
    to_arrow_scalar(value, data_type).map(|scalar| scalar.into_inner())
}

/// Takes hidden columns away that will not be needed, so that inserts no longer compute them. When
/// this fails as well, the next ALTER TABLE does it.
async fn give_up(core: &Arc<Coordinator>, request: &StatementRequest, alter: &AlterTable) {
    let nothing = AlterTable { actions: Vec::new(), ..alter.clone() };
    let forgotten = async {
        let snapshot = core.with.catalog.read_latest().await?;
        let table = resolve_table(&snapshot, &request.session.database, &alter.table)?;
        let altered = altered(core, request, &nothing, &snapshot, &table, &[])?;
        let command = CommandBody::AlterTable(Box::new(altered.command));
        core.with.catalog.execute(command).await
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(table = %alter.table, %error, "a hidden column stays for now");
    }
}

/// Detached parts cannot be rewritten.
fn check_none_detached(snapshot: &Snapshot, table: &Table) -> Result<()> {
    match parts(snapshot, table).any(|part| part.detached) {
        true => Err(Error::invalid(format!(
            "table '{}' has detached partitions, whose rows cannot get their values; attach or \
             drop them first",
            table.name
        ))),
        false => Ok(()),
    }
}

/// Looks whether some row of the table is NULL where it may no longer be. Rows that come meanwhile are
/// checked as they come, since the preparation.
async fn check_rows(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    snapshot: &Snapshot,
    table: &Table,
    preparation: &Preparation,
) -> Result<()> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let database = snapshot.databases.get(&table.database);
    let database = database.map_or_else(String::new, |it| format!("{}.", quoted(&it.name)));
    let version = core.with.catalog.read_latest().await?.version;
    for (name, condition) in &preparation.checks {
        let from = format!("{database}{}", quoted(&table.name));
        let mut rows = query::execute(
            core,
            StatementRequest {
                id: core.queries.draw_id(),
                sql: format!("SELECT 1 FROM {from} WHERE {condition} LIMIT 1"),
                // Settings might leave rows out.
                session: Session { settings: Default::default(), ..request.session.clone() },
                parameters: Default::default(),
                version: Some(version),
            },
        )
        .await?;
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 {
                return Err(Error::invalid(format!(
                    "column '{name}' of table '{}' holds NULL, which it could not any more; update or \
                     delete these rows first",
                    table.name
                )));
            }
        }
    }
    Ok(())
}

/// Writes every row of the table again, which computes its hidden columns.
async fn rewrite(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    snapshot: &Snapshot,
    table: &Table,
) -> Result<()> {
    let database = snapshot.databases.get(&table.database).map(|database| database.name.clone());
    let update = Statement::Update(Box::new(Update {
        table: TableName { database, name: table.name.clone() },
        alias: None,
        with: None,
        assignments: Vec::new(),
        predicate: None,
        partition: None,
        keeps_keys: true,
        settings: Vec::new(),
        notices: Vec::new(),
    }));
    let session = &request.session;
    let id = core.queries.draw_id();
    let handle = core.queries.begin(&id, &session.user, &session.database, &request.sql);
    let outcome = handle.run(mutate(core, request, &update, &handle)).await;
    handle.finish(outcome.as_ref().err());
    outcome.map(drop)
}
