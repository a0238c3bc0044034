//! Statements that change the catalog or the session, and SHOW.
//!
//! ```text
//!   Statement ─┬─ CREATE, DROP, ...  ──► CommandBody ──► Catalog::execute
//!              ├─ USE, SET           ──► a changed Session
//!              └─ SHOW, DESCRIBE     ──► rows of the snapshot
//! ```

mod alter;
mod balance;
mod buckets;
mod cluster;
mod create_table;
mod functions;
mod merges;
mod partitions;
mod past;
mod replace_table;
mod show;
mod tiers;
mod users;

use std::sync::Arc;

use granary_catalog::CommandBody;
use granary_catalog::temporary::is_reserved;
use granary_common::{Error, ErrorKind, QueryId, Result};
use granary_sql::{
    CreateTable, Named, Notice, Statement, TableName, find_database, resolve_name, resolve_table,
};

use crate::cancel::{Cancellation, What, cancel};
use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::refresh::system_view;
use crate::session::{Session, StatementSettings, is_known, parse_settings};
use crate::temporary;
use crate::views::create_view;

pub(crate) use balance::balance;
pub(crate) use create_table::create as create_table;
pub(crate) use partitions::partitions_of;
pub(crate) use replace_table::{check_unused, take_place};
pub use show::{describe_query, show};

/// What a statement without rows brought about.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Rows that it wrote.
    pub rows: u64,
    /// The session as it is from now on, when the statement changed it.
    pub session: Option<Session>,
    pub notices: Vec<Notice>,
}

/// Runs a statement that is neither a query nor an INSERT.
pub async fn change(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: Statement,
) -> Result<Done> {
    let mut done = Done { notices: statement.notices().to_vec(), ..Done::default() };
    match statement {
        Statement::CreateDatabase { name, if_not_exists, .. } => {
            create_database(core, name, if_not_exists).await?;
        }
        Statement::DropDatabase { name, if_exists, .. } => {
            execute(core, CommandBody::DropDatabase { name, if_exists }).await?;
        }
        Statement::CreateTable(create) => {
            Box::pin(create_any(core, request, *create, &mut done)).await?;
        }
        Statement::CreateView(create) => {
            create_view(core, request, &create, &mut done.notices).await?;
        }
        Statement::DropTables { tables, if_exists, .. } => {
            drop_all(core, find_all(core, request, &tables, if_exists).await?).await?;
        }
        Statement::DropViews { views, if_exists, .. } => {
            let found = find_all(core, request, &views, if_exists).await?;
            only_views(&found)?;
            drop_all(core, found).await?;
        }
        Statement::TruncateTable { table, if_exists, .. } => {
            truncate(core, request, &table, if_exists).await?;
        }
        Statement::AlterPartition(alter) => partitions::alter(core, request, &alter).await?,
        Statement::AlterTable(table) => {
            alter::alter(core, request, &table, &mut done.notices).await?;
        }
        Statement::RenameTables { renames, .. } => {
            for (from, to) in renames {
                rename(core, request, &from, &to).await?;
            }
        }
        Statement::ExchangeTables { first, second, .. } => {
            exchange(core, request, &first, &second).await?;
        }
        Statement::Nothing { .. } => {}
        Statement::Optimize(optimize) => {
            merges::optimize(core, request, &optimize, &mut done.notices).await?;
        }
        Statement::SetMerges { table, stopped, .. } => {
            merges::set_merges(core, request, table.as_ref(), stopped).await?;
        }
        Statement::Past(statement) => past::run(core, request, &statement).await?,
        Statement::SystemView(of) => system_view(core, request, &of).await?,
        Statement::KillMutation { mutation_id, .. } => {
            kill_mutation(core, &QueryId(mutation_id)).await?;
            done.rows = 1;
        }
        Statement::Cluster(statement) => cluster::change(core, statement).await?,
        Statement::Use { database } => {
            done.session = Some(use_database(core, request, &database).await?)
        }
        Statement::KillQuery { query_id, .. } => {
            kill(core, &QueryId(query_id)).await?;
            done.rows = 1;
        }
        Statement::Set { assignments } => set(core, request, assignments, &mut done)?,
        Statement::AlterUser(user) => users::alter(core, *user, &mut done).await?,
        other => functions::change(core, request, other).await?,
    }
    Ok(done)
}

async fn create_database(core: &Coordinator, name: String, if_not_exists: bool) -> Result<()> {
    if is_reserved(&name) {
        let message = format!("'{name}' is a name for databases of temporary tables");
        return Err(Error::invalid(message));
    }
    execute(core, CommandBody::CreateDatabase { name, if_not_exists }).await
}

/// CREATE TABLE, of one that lasts or of a temporary one.
async fn create_any(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: CreateTable,
    done: &mut Done,
) -> Result<()> {
    if create.temporary {
        return temporary::create(core, request, create, done).await;
    }
    done.rows = create_table::create(core, request, &create, &mut done.notices).await?;
    Ok(())
}

fn only_views(found: &[Named]) -> Result<()> {
    match found.iter().find(|found| matches!(found, Named::Table(_))) {
        Some(Named::Table(table)) => Err(Error::invalid(format!(
            "'{}' is a table, not a view; write DROP TABLE",
            table.name
        ))),
        _ => Ok(()),
    }
}

/// Cancels a query of any coordinator, whether it runs or waits to be fetched.
async fn kill(core: &Coordinator, id: &QueryId) -> Result<()> {
    let wish = Cancellation::new(id, What::Query, "KILL QUERY cancelled it");
    match cancel(core, &wish).await? {
        true => Ok(()),
        false => Err(Error::not_found(format!("no query '{id}' runs on any coordinator"))),
    }
}

/// Cancels a mutation of any coordinator. It changes nothing then, unless it is committed already.
async fn kill_mutation(core: &Coordinator, id: &QueryId) -> Result<()> {
    let wish = Cancellation::new(id, What::Mutation, "KILL MUTATION ended it");
    match cancel(core, &wish).await? {
        true => Ok(()),
        false => Err(Error::not_found(format!(
            "no mutation '{id}' runs on any coordinator; one that is done cannot be taken back"
        ))),
    }
}

async fn execute(core: &Coordinator, command: CommandBody) -> Result<()> {
    core.with.catalog.execute(command).await.map(drop)
}

/// Drops tables and views; one that somebody else dropped meanwhile is gone as wanted.
async fn drop_all(core: &Coordinator, found: Vec<Named>) -> Result<()> {
    for named in found {
        let command = match named {
            Named::Table(table) => CommandBody::DropTable { table: table.id },
            Named::View(view) => CommandBody::DropView { view: view.id },
        };
        match execute(core, command).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// What these names mean; all are looked up before any is touched.
async fn find_all(
    core: &Coordinator,
    request: &StatementRequest,
    names: &[TableName],
    if_exists: bool,
) -> Result<Vec<Named>> {
    let snapshot = core.with.catalog.read_latest().await?;
    let mut found = Vec::new();
    for name in names {
        match resolve_name(&snapshot, &request.session.database, name) {
            Ok(named) => found.push(named),
            Err(error) if if_exists && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Empties a table, or the one behind a name.
async fn truncate(
    core: &Coordinator,
    request: &StatementRequest,
    name: &TableName,
    if_exists: bool,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    match resolve_table(&snapshot, &request.session.database, name) {
        Ok(table) => execute(core, CommandBody::TruncateTable { table: table.id }).await,
        Err(error) if if_exists && error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn rename(
    core: &Coordinator,
    request: &StatementRequest,
    from: &TableName,
    to: &TableName,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let found = resolve_name(&snapshot, &request.session.database, from)?;
    let database = match &to.database {
        Some(name) => find_database(&snapshot, name)?,
        None => found.name().0,
    };
    let name = to.name.clone();
    let command = match found {
        Named::Table(table) => CommandBody::RenameTable { table: table.id, database, name },
        Named::View(view) => CommandBody::RenameView { view: view.id, database, name },
    };
    execute(core, command).await
}

async fn exchange(
    core: &Coordinator,
    request: &StatementRequest,
    first: &TableName,
    second: &TableName,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let table = |name: &TableName| match resolve_name(&snapshot, &request.session.database, name)? {
        Named::Table(table) => Ok(table.id),
        Named::View(view) => Err(Error::unsupported(format!(
            "'{}' is a view; EXCHANGE TABLES takes tables",
            view.name
        ))),
    };
    let (first, second) = (table(first)?, table(second)?);
    execute(core, CommandBody::ExchangeTables { first, second }).await
}

async fn use_database(
    core: &Coordinator,
    request: &StatementRequest,
    name: &str,
) -> Result<Session> {
    let snapshot = core.with.catalog.read_latest().await?;
    let database = match crate::system::is_system_schema(name) {
        true => name.to_ascii_lowercase(),
        false => {
            find_database(&snapshot, name)?;
            // The exact name, which find_database may have found without regard to case.
            let found = snapshot.find_database(name).map(|database| database.name.clone());
            found.unwrap_or_else(|| name.to_owned())
        }
    };
    Ok(Session { database, ..request.session.clone() })
}

fn set(
    core: &Coordinator,
    request: &StatementRequest,
    assignments: Vec<(String, String)>,
    done: &mut Done,
) -> Result<()> {
    let mut session = request.session.clone();
    for (name, value) in assignments {
        let name = name.to_ascii_lowercase();
        if value.eq_ignore_ascii_case("default") && is_known(&name) {
            core.reset_setting(&mut session, &name);
            continue;
        }
        let notices = StatementSettings::check(&name, &value)?;
        if notices.is_empty() {
            session.settings.insert(name, value);
        }
        done.notices.extend(notices);
    }
    parse_settings(&session.settings)?;
    done.session = Some(session);
    Ok(())
}
