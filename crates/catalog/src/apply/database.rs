use granary_common::{ClusterId, DatabaseId, Error, Result};

use super::{Draft, table, view};
use crate::command::Outcome;
use crate::model::{Cluster, Database};
use crate::protocol::FIRST_PROTOCOL;
use crate::row::{Row, RowKey};

/// The database that every cluster begins with.
const DEFAULT_DATABASE: &str = "default";
/// Names that views of the system use.
const RESERVED: [&str; 2] = ["system", "information_schema"];

pub(super) fn init_cluster(draft: &mut Draft, id: &ClusterId) -> Result<Outcome> {
    if draft.next.cluster.is_some() {
        return Ok(Outcome::Done);
    }
    draft.put(Row::Cluster(Cluster {
        id: id.clone(),
        next_database_id: 1,
        next_table_id: 1,
        next_worker_id: 1,
        next_part_id: 1,
        horizon: draft.version(),
        merges_stopped: false,
        protocol: FIRST_PROTOCOL,
    }));
    create(draft, DEFAULT_DATABASE, false)
}

pub(super) fn create(draft: &mut Draft, name: &str, if_not_exists: bool) -> Result<Outcome> {
    let reserved = RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    if draft.next.databases.values().any(|database| database.name == name) || reserved {
        return match if_not_exists {
            true => Ok(Outcome::Done),
            false => Err(Error::already_exists(format!("database '{name}' already exists"))),
        };
    }
    let mut cluster = draft.cluster()?;
    let id = DatabaseId(cluster.next_database_id);
    cluster.next_database_id += 1;
    draft.put(Row::Cluster(cluster));
    draft.put(Row::Database(Database { id, name: name.to_owned() }));
    Ok(Outcome::Done)
}

pub(super) fn drop(draft: &mut Draft, name: &str, if_exists: bool) -> Result<Outcome> {
    let Some(database) = draft.next.find_database(name).map(|database| database.id) else {
        return match if_exists {
            true => Ok(Outcome::Done),
            false => Err(Error::not_found(format!("database '{name}' does not exist"))),
        };
    };
    view::check_readers_elsewhere(draft, database)?;
    let views: Vec<_> = draft.next.views_of(database).map(|view| view.id).collect();
    for id in views {
        view::forget(draft, id)?;
    }
    // Without those that went with their views.
    let tables: Vec<_> = draft.next.tables_of(database).map(|state| state.table.id).collect();
    for id in tables {
        table::remove(draft, id)?;
    }
    draft.delete(RowKey::Database(database));
    Ok(Outcome::Done)
}
