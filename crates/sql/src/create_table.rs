//! CREATE TABLE to the catalog's command: every rule that a table has to keep.

use std::sync::Arc;

use datafusion::execution::SessionState;
use granary_catalog::{NewTable, Snapshot, Table};
use granary_common::{Error, Result};

use crate::error::did_you_mean;
use crate::{CreateTable, DialectSettings, Notice, TableName};

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
pub fn create_table(create: &CreateTable, source: TableSource<'_>) -> Result<(NewTable, Vec<Notice>)> {
    let _ = (create, source);
    Err(Error::unsupported("not yet"))
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
    let Some(found) = snapshot.find_database(database) else {
        let names = snapshot.databases.values().map(|database| database.name.as_str());
        let hint = did_you_mean(database, names);
        return Err(Error::not_found(format!("unknown database '{database}'{hint}")));
    };
    match snapshot.find_table(found.id, &name.name) {
        Some(state) => Ok(Arc::clone(&state.table)),
        None => {
            let names = snapshot.tables_of(found.id).map(|state| state.table.name.as_str());
            let hint = did_you_mean(&name.name, names);
            Err(Error::not_found(format!("unknown table '{}.{}'{hint}", found.name, name.name)))
        }
    }
}
