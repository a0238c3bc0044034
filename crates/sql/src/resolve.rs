//! What a name means: a table, or a view.

use std::sync::Arc;

use granary_catalog::{Relation, Snapshot, Table, TemporaryDatabase, View};
use granary_common::{DatabaseId, Error, Result, did_you_mean};

use crate::TableName;

/// What a name means.
#[derive(Clone, Debug)]
pub enum Named {
    Table(Arc<Table>),
    View(Arc<View>),
}

impl Named {
    /// Its database and its exact name.
    pub fn name(&self) -> (DatabaseId, &str) {
        match self {
            Named::Table(table) => (table.database, &table.name),
            Named::View(view) => (view.database, &view.name),
        }
    }
}

/// The table or view that `name` means in `snapshot`: exactly, else without case when only one
/// matches.
///
/// # Errors
/// NotFound with the nearest name.
pub fn resolve_name(
    snapshot: &Snapshot,
    current_database: &str,
    name: &TableName,
) -> Result<Named> {
    let database = name.database.as_deref().unwrap_or(current_database);
    let id = find_database(snapshot, database)?;
    match snapshot.find_relation(id, &name.name) {
        Some(Relation::Table(state)) => Ok(Named::Table(Arc::clone(&state.table))),
        Some(Relation::View(view)) => Ok(Named::View(Arc::clone(view))),
        None => {
            let tables = snapshot.tables_of(id).map(|state| state.table.name.as_str());
            let views = snapshot.views_of(id).map(|view| view.name.as_str());
            let hint = did_you_mean(&name.name, tables.chain(views));
            Err(Error::not_found(format!("unknown table '{database}.{}'{hint}", name.name)))
        }
    }
}

/// The table whose rows `name` stands for: itself, or the one behind an alias or a materialized
/// view.
///
/// # Errors
/// NotFound with the nearest name, or when the table behind the name was dropped; InvalidInput for
/// a view without rows of its own.
pub fn resolve_table(
    snapshot: &Snapshot,
    current_database: &str,
    name: &TableName,
) -> Result<Arc<Table>> {
    match resolve_name(snapshot, current_database, name)? {
        Named::Table(table) => Ok(table),
        Named::View(view) if view.kind.target().is_none() => {
            Err(Error::invalid(format!("'{name}' is a view: it has no rows of its own")))
        }
        Named::View(view) => match snapshot.table_behind(&view) {
            Some(state) => Ok(Arc::clone(&state.table)),
            None => Err(Error::not_found(format!(
                "the table behind '{name}' does not exist any more; it was dropped"
            ))),
        },
    }
}

/// The database of this name.
///
/// # Errors
/// NotFound with the nearest name.
pub fn find_database(snapshot: &Snapshot, name: &str) -> Result<DatabaseId> {
    match snapshot.find_database(name) {
        Some(database) => Ok(database.id),
        None => {
            let names = snapshot.databases.values().map(|database| database.name.as_str());
            let names = names.filter(|name| TemporaryDatabase::parse(name).is_none());
            let hint = did_you_mean(name, names);
            Err(Error::not_found(format!("unknown database '{name}'{hint}")))
        }
    }
}
