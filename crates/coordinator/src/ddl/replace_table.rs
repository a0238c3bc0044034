//! CREATE OR REPLACE TABLE: the new table is made and filled under a name of its own, then the two
//! names are exchanged in one step, so that a reader sees the old table or the new one.

use std::sync::Arc;

use granary_catalog::{CommandBody, Snapshot, Table};
use granary_common::{Error, ErrorKind, Result, TableId};
use granary_sql::{CreateTable, Named, Notice, TableName, resolve_name};

use super::create_table::create_new;
use crate::core::Coordinator;
use crate::query::StatementRequest;

/// Creates the table, in the place of the one that has its name. Gives the rows that its query filled
/// it with.
pub(super) async fn replace(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: &CreateTable,
    notices: &mut Vec<Notice>,
) -> Result<u64> {
    let name = create.name.as_ref().ok_or_else(|| Error::invalid("CREATE TABLE needs a name"))?;
    if create.if_not_exists {
        return Err(Error::invalid("CREATE TABLE takes OR REPLACE or IF NOT EXISTS, not both"));
    }
    let snapshot = core.with.catalog.read_latest().await?;
    let Some(old) = table_of(&snapshot, request, name)? else {
        return create_new(core, request, create, notices).await;
    };
    check_unused(&snapshot, &old)?;
    // Should the process die between the steps, the name says what the table was made for.
    let own = TableName {
        database: name.database.clone(),
        name: format!("{}.replacing.{}", old.name, request.id),
    };
    let new = CreateTable { name: Some(own.clone()), or_replace: false, ..create.clone() };
    let rows = create_new(core, request, &new, notices).await?;
    let snapshot = core.with.catalog.read_latest().await?;
    let new = table_of(&snapshot, request, &own)?
        .ok_or_else(|| Error::conflict("the new table was dropped before it had its name"))?;
    take_place(core, new.id, old.id).await?;
    Ok(rows)
}

/// Gives the table `new` the name of `old`, which is dropped; when that fails, `new` is.
pub(crate) async fn take_place(core: &Coordinator, new: TableId, old: TableId) -> Result<()> {
    let exchange = CommandBody::ExchangeTables { first: new, second: old };
    if let Err(error) = core.with.catalog.execute(exchange).await {
        // When nobody knows whether the names were exchanged, the new table may have the name already.
        if error.kind() != ErrorKind::DeadlineExceeded {
            core.with.catalog.execute(CommandBody::DropTable { table: new }).await?;
        }
        return Err(error);
    }
    core.with.catalog.execute(CommandBody::DropTable { table: old }).await?;
    Ok(())
}

/// The table of exactly this name, if there is one.
fn table_of(
    snapshot: &Snapshot,
    request: &StatementRequest,
    name: &TableName,
) -> Result<Option<Arc<Table>>> {
    match resolve_name(snapshot, &request.session.database, name) {
        Ok(found) if found.name().1 != name.name => Ok(None),
        Ok(Named::Table(table)) => Ok(Some(table)),
        Ok(Named::View(view)) => Err(Error::already_exists(format!(
            "'{}' is a view; drop it, or write CREATE OR REPLACE VIEW",
            view.name
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A materialized view keeps to the table that it reads or fills, not to a name.
pub(crate) fn check_unused(snapshot: &Snapshot, table: &Table) -> Result<()> {
    let reads = snapshot.materialized_views_of(table.id).next();
    let fills = || snapshot.views.values().find(|view| view.kind.target() == Some(table.id));
    match reads.or_else(fills) {
        Some(view) => Err(Error::invalid(format!(
            "view '{}' uses '{}'; drop the view before the table is replaced",
            view.name, table.name
        ))),
        None => Ok(()),
    }
}
