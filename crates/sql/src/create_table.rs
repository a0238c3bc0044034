//! CREATE TABLE to the catalog's command: every rule that a table has to keep.

mod columns;
mod distribution;
mod engine;
mod keys;
mod options;

use std::sync::Arc;

use datafusion::execution::SessionState;
use granary_catalog::{NewTable, Snapshot, Table};
use granary_common::{Error, Result};

use crate::error::did_you_mean;
use crate::{CreateTable, DialectSettings, Notice, TableName};
use columns::Columns;

/// Where a CREATE TABLE looks things up.
#[derive(Clone, Copy, Debug)]
pub struct TableSource<'a> {
    /// The catalog that the statement is bound at.
    pub snapshot: &'a Snapshot,
    /// The session's database, for names without one.
    pub current_database: &'a str,
    pub settings: DialectSettings,
    /// Plans key and default expressions: any session with the dialect's functions.
    pub state: &'a SessionState,
}

/// The command that makes the table, and what it asked for without effect.
///
/// # Errors
/// InvalidInput for every rule that is broken, NotFound for an unknown database, Unsupported for
/// engines and options that are not offered.
pub fn create_table(
    create: &CreateTable,
    source: TableSource<'_>,
) -> Result<(NewTable, Vec<Notice>)> {
    let mut create = create.clone();
    let mut notices = std::mem::take(&mut create.notices);
    let name = create.name.take().ok_or_else(|| Error::invalid("the table has no name"))?;
    let database = name.database.as_deref().unwrap_or(source.current_database);
    let database = find_database(source.snapshot, database)?;
    refuse_what_is_not_offered(&create)?;

    let mut columns = match &create.like {
        Some(like) => {
            let table = resolve_table(source.snapshot, source.current_database, like)?;
            options::take_over(&mut create, &table)?;
            Columns::of_table(&table)
        }
        None => Columns::default(),
    };
    columns.declare(&create.columns, source, &mut notices)?;
    let keys = keys::keys(&create, &mut columns, source, &mut notices)?;
    let engine = engine::engine(create.engine.as_ref(), &columns, &keys, &mut notices)?;
    let distribution = distribution::distribution(
        &create.clauses,
        &columns,
        engine.kind.collapses().then_some(keys.order_by.as_slice()),
        source,
        &mut notices,
    )?;
    let settings = options::settings(&create.clauses, &mut notices)?;
    Ok((
        NewTable {
            database,
            name: name.name,
            engine,
            columns: columns.into_columns(),
            order_by: keys.order_by,
            primary_key_len: keys.primary_key_len,
            partition_by: keys.partition_by,
            distribution: distribution.distribution,
            buckets: distribution.buckets,
            colocation_group: distribution.colocation_group,
            settings,
            comment: create.clauses.comment,
            unique_key: Vec::new(),
        },
        notices,
    ))
}

fn refuse_what_is_not_offered(create: &CreateTable) -> Result<()> {
    if create.or_replace {
        return Err(Error::unsupported("CREATE OR REPLACE TABLE is not supported yet"));
    }
    if create.query.is_some() {
        return Err(Error::unsupported(
            "CREATE TABLE ... AS SELECT is not supported yet; create the table, then \
             INSERT INTO ... SELECT",
        ));
    }
    match create.columns.is_empty() && create.like.is_none() {
        true => Err(Error::invalid("a table needs at least one column")),
        false => Ok(()),
    }
}

fn find_database(snapshot: &Snapshot, name: &str) -> Result<granary_common::DatabaseId> {
    match snapshot.find_database(name) {
        Some(database) => Ok(database.id),
        None => {
            let names = snapshot.databases.values().map(|database| database.name.as_str());
            let hint = did_you_mean(name, names);
            Err(Error::not_found(format!("unknown database '{name}'{hint}")))
        }
    }
}

/// The table that `name` means in `snapshot`: exactly, else without case when only one matches.
///
/// # Errors
/// NotFound with the nearest name.
pub fn resolve_table(
    snapshot: &Snapshot,
    current_database: &str,
    name: &TableName,
) -> Result<Arc<Table>> {
    let database = name.database.as_deref().unwrap_or(current_database);
    let id = find_database(snapshot, database)?;
    match snapshot.find_table(id, &name.name) {
        Some(state) => Ok(Arc::clone(&state.table)),
        None => {
            let names = snapshot.tables_of(id).map(|state| state.table.name.as_str());
            let hint = did_you_mean(&name.name, names);
            Err(Error::not_found(format!("unknown table '{database}.{}'{hint}", name.name)))
        }
    }
}
