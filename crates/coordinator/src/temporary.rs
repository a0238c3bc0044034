//! Temporary tables: tables of the catalog in a database of their session, which is dropped with it.
//!
//! ```text
//!   CREATE TEMPORARY TABLE ──► database `_temporary_<coordinator>_<session>`, which the session names
//!   name in a statement ──► that database first        CloseSession ──► dropped at once
//!   connection closed, idle for too long ──► dropped by the coordinator that made it
//!   coordinator gone ──► dropped by the controller of the metadata group
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{CommandBody, Snapshot, TemporaryDatabase};
use granary_common::{DatabaseId, Error, Result, TableId};
use granary_sql::{
    CreateTable, Notice, Statement, TableName, TemporaryTables, alias_arguments, with_temporary,
};

use crate::core::Coordinator;
use crate::ddl::{Done, create_table};
use crate::query::{StatementRequest, snapshot_at};
use crate::session::Session;

/// How often a coordinator looks for sessions that have ended. Their tables go at the second look
/// that finds none, so that a statement which has just made a table can still tell its session.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Lets the names of a statement mean the session's temporary tables first.
///
/// Kind `NotFound` when the session has made some and they are gone with their coordinator.
pub async fn settle(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &mut Statement,
) -> Result<()> {
    let session = &request.session;
    let Some(database) = session.temporary.as_deref() else {
        let none = TemporaryTables { database: "", find: &|_| Ok(None) };
        return match statement {
            Statement::DropTables { temporary: true, .. } => with_temporary(statement, &none),
            _ => Ok(()),
        };
    };
    let (snapshot, _pin) = snapshot_at(core, request.version).await?;
    let find = |name: &str| find(&snapshot, session, database, name);
    with_temporary(statement, &TemporaryTables { database, find: &find })
}

/// The name of a table that a client gave without a statement.
///
/// Kind as of [`settle`].
pub async fn named(
    core: &Arc<Coordinator>,
    session: &Session,
    table: TableName,
) -> Result<TableName> {
    let (Some(database), None) = (&session.temporary, &table.database) else { return Ok(table) };
    let snapshot = core.with.catalog.read_latest().await?;
    Ok(match find(&snapshot, session, database, &table.name)? {
        Some(name) => TableName { database: Some(database.clone()), name },
        None => table,
    })
}

/// The exact name of the temporary table that `name` means.
fn find(
    snapshot: &Snapshot,
    session: &Session,
    database: &str,
    name: &str,
) -> Result<Option<String>> {
    let id = id_of(snapshot, database).ok_or_else(|| {
        // Else the same names would mean tables that last, all of a sudden.
        Error::not_found(
            "the temporary tables of this session are gone with the coordinator that kept them; \
             begin a new session",
        )
    })?;
    let Some(found) = snapshot.find_relation(id, name) else { return Ok(None) };
    let is_lasting = || {
        let lasting = snapshot.find_database(&session.database);
        let lasting = lasting.and_then(|database| snapshot.find_relation(database.id, name));
        lasting.is_some_and(|lasting| lasting.name() == name)
    };
    // A table of exactly this name comes first.
    Ok((found.name() == name || !is_lasting()).then(|| found.name().to_owned()))
}

fn id_of(snapshot: &Snapshot, database: &str) -> Option<DatabaseId> {
    let mut databases = snapshot.databases.values();
    databases.find(|row| row.name == database).map(|row| row.id)
}

/// The names of the session's temporary tables.
pub fn names(snapshot: &Snapshot, session: &Session) -> Vec<String> {
    let id = session.temporary.as_deref().and_then(|database| id_of(snapshot, database));
    let tables = id.into_iter().flat_map(|id| snapshot.tables_of(id));
    tables.map(|state| state.table.name.clone()).collect()
}

/// Whether it is a temporary table of any session.
pub fn is_temporary(snapshot: &Snapshot, table: TableId) -> bool {
    let state = snapshot.tables.get(&table);
    let database = state.and_then(|state| snapshot.databases.get(&state.table.database));
    database.is_some_and(|database| TemporaryDatabase::parse(&database.name).is_some())
}

/// CREATE TEMPORARY TABLE.
pub async fn create(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    mut create: CreateTable,
    done: &mut Done,
) -> Result<()> {
    let name = match create.name.take() {
        Some(TableName { database: None, name }) => name,
        Some(name) => {
            return Err(Error::invalid(format!(
                "a temporary table belongs to its session and not to a database: write '{}'",
                name.name
            )));
        }
        None => return Err(Error::invalid("CREATE TABLE needs a name")),
    };
    if alias_arguments(create.engine.as_ref())?.is_some() {
        return Err(Error::unsupported("a temporary table is no name for another table"));
    }
    let _held = core.sessions.hold(&request.session.id);
    let session = with_database(core, &request.session).await?;
    create.name = Some(TableName { database: session.temporary.clone(), name });
    let request = StatementRequest { session: session.clone(), ..request.clone() };
    let mut notices: Vec<Notice> = std::mem::take(&mut done.notices);
    done.rows = create_table(core, &request, &create, &mut notices).await?;
    done.notices = notices;
    done.session = Some(session);
    Ok(())
}

/// The session with a database for its temporary tables, which is made when there is none.
pub async fn with_database(core: &Arc<Coordinator>, session: &Session) -> Result<Session> {
    // Without a lease the controller would take the coordinator for dead, and drop the database.
    let mut backoff = core.backoff();
    while core.lease_left().is_none() {
        if !backoff.wait().await {
            return Err(Error::unavailable("the metadata group does not answer"));
        }
    }
    let snapshot = core.with.catalog.read_latest().await?;
    let is_there = |database: &String| id_of(&snapshot, database).is_some();
    if session.temporary.as_ref().is_some_and(is_there) {
        return Ok(session.clone());
    }
    let of = TemporaryDatabase { coordinator: &core.identity, session: &session.id };
    let name = of.name();
    let command = CommandBody::CreateDatabase { name: name.clone(), if_not_exists: true };
    core.with.catalog.execute(command).await?;
    Ok(Session { temporary: Some(name), ..session.clone() })
}

/// Drops the temporary tables of a session that was closed.
pub async fn drop_all(core: &Coordinator, session: &Session) {
    let Some(name) = &session.temporary else { return };
    drop_database(core, name).await;
}

/// What fails is tried again by whoever finds the database without a session.
async fn drop_database(core: &Coordinator, name: &str) {
    let command = CommandBody::DropDatabase { name: name.to_owned(), if_exists: true };
    if let Err(error) = core.with.catalog.execute(command).await {
        tracing::warn!(%error, database = name, "temporary tables could not be dropped");
    }
}

/// Drops the temporary tables of sessions that have ended, for as long as the coordinator runs.
pub(crate) async fn keep_sweeping(core: Arc<Coordinator>) {
    let mut suspects = BTreeSet::new();
    loop {
        core.with.clock.sleep(LOOK_EVERY).await;
        suspects = sweep(&core, &suspects).await;
    }
}

/// Drops what the last look found without a session, too; gives what this one found.
async fn sweep(core: &Coordinator, suspects: &BTreeSet<String>) -> BTreeSet<String> {
    let snapshot = core.with.catalog.snapshot();
    let ended: BTreeSet<String> = snapshot
        .temporary_databases()
        .filter(|(_, of)| of.coordinator == core.identity && !core.sessions.is_live(of.session))
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in ended.intersection(suspects) {
        drop_database(core, name).await;
    }
    ended
}
