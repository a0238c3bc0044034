use granary_common::{DatabaseId, Error, Result, TableId};

use super::{Draft, history, placement, view};
use crate::command::{NewTable, Outcome};
use crate::model::{BucketHistory, Table, TableOptions};
use crate::row::{Row, RowKey};
use crate::snapshot::TableState;

pub(super) fn create(draft: &mut Draft, new: &NewTable, if_not_exists: bool) -> Result<Outcome> {
    if !draft.next.databases.contains_key(&new.database) {
        return Err(Error::conflict("the database was dropped while the table was created"));
    }
    if let Some(existing) = named(draft, new.database, &new.name) {
        return match if_not_exists {
            true => Ok(Outcome::TableCreated(existing)),
            false => Err(Error::already_exists(format!("table '{}' already exists", new.name))),
        };
    }
    check_no_view(draft, new.database, &new.name)?;
    let mut cluster = draft.cluster()?;
    let id = TableId(cluster.next_table_id);
    cluster.next_table_id += 1;
    let buckets = placement::place(&draft.next, id, new)?;
    draft.put(Row::Cluster(cluster));
    draft.put(Row::Table(Table {
        id,
        database: new.database,
        name: new.name.clone(),
        engine: new.engine.clone(),
        columns: new.columns.clone(),
        next_column_id: new.next_column_id(),
        order_by: new.order_by.clone(),
        primary_key_len: new.primary_key_len,
        partition_by: new.partition_by.clone(),
        distribution: new.distribution.clone(),
        buckets: buckets.len() as u32,
        colocation_group: new.colocation_group.clone(),
        settings: new.settings.clone(),
        comment: new.comment.clone(),
        schema_version: 1,
        view_set_version: 1,
        data_version: 1,
        created: draft.version(),
        dropped: None,
        unique_key: new.unique_key.clone(),
        merges_stopped: false,
        // Numbers of buckets of a table that it was made after.
        options: TableOptions { layout: BucketHistory::default(), ..new.options.clone() },
    }));
    for bucket in buckets {
        draft.put(Row::Bucket(bucket));
    }
    history::begin(draft, id);
    Ok(Outcome::TableCreated(id))
}

pub(super) fn drop(draft: &mut Draft, table: TableId) -> Result<Outcome> {
    find(draft, table)?;
    view::check_unused(draft, table)?;
    remove(draft, table)
}

/// Drops the table, whoever reads it.
pub(super) fn remove(draft: &mut Draft, table: TableId) -> Result<Outcome> {
    let staged: Vec<String> = draft
        .next
        .staged
        .values()
        .filter(|insert| {
            insert.table == table || insert.views.iter().any(|target| target.table == table)
        })
        .map(|insert| insert.transaction.clone())
        .collect();
    for transaction in staged {
        draft.delete(RowKey::StagedInsert(transaction));
    }
    let mut row = (*find(draft, table)?.table).clone();
    row.dropped = Some(draft.version());
    draft.put(Row::Table(row));
    Ok(Outcome::Done)
}

/// Every row that goes with the table.
pub(super) fn rows_of(state: &TableState) -> Vec<RowKey> {
    let table = state.table.id;
    let buckets = state.buckets.keys().map(|index| RowKey::Bucket(table, *index));
    let parts = state.parts.keys().map(|part| RowKey::Part(table, *part));
    let tokens = state.tokens.keys().map(|token| RowKey::InsertToken(table, token.clone()));
    let mutations = state.mutations.keys().map(|version| RowKey::Mutation(table, *version));
    let earlier = state.earlier.keys().map(|until| RowKey::EarlierTable(table, *until));
    let history = state.history.iter().map(|_| RowKey::TableHistory(table));
    let own = earlier.chain(history).chain(std::iter::once(RowKey::Table(table)));
    buckets.chain(parts).chain(tokens).chain(mutations).chain(own).collect()
}

pub(super) fn rename(
    draft: &mut Draft,
    table: TableId,
    database: DatabaseId,
    name: &str,
) -> Result<Outcome> {
    let mut row = (*find(draft, table)?.table).clone();
    if !draft.next.databases.contains_key(&database) {
        return Err(Error::conflict("the database was dropped while the table was renamed"));
    }
    if named(draft, database, name).is_some_and(|other| other != table) {
        return Err(Error::already_exists(format!("table '{name}' already exists")));
    }
    check_no_view(draft, database, name)?;
    row.database = database;
    row.name = name.to_owned();
    draft.put(Row::Table(row));
    Ok(Outcome::Done)
}

pub(super) fn exchange(draft: &mut Draft, first: TableId, second: TableId) -> Result<Outcome> {
    let mut one = (*find(draft, first)?.table).clone();
    let mut other = (*find(draft, second)?.table).clone();
    if first == second {
        return Err(Error::invalid(format!("'{}' cannot be exchanged with itself", one.name)));
    }
    std::mem::swap(&mut one.database, &mut other.database);
    std::mem::swap(&mut one.name, &mut other.name);
    draft.put(Row::Table(one));
    draft.put(Row::Table(other));
    Ok(Outcome::Done)
}

pub(super) fn truncate(draft: &mut Draft, table: TableId) -> Result<Outcome> {
    let state = find(draft, table)?;
    let mut row = (*state.table).clone();
    let version = draft.version();
    let visible: Vec<_> = state.visible_parts(version).map(|part| (**part).clone()).collect();
    row.data_version += 1;
    draft.put(Row::Table(row));
    for mut part in visible {
        part.removed = Some(version);
        draft.put(Row::Part(part));
    }
    Ok(Outcome::Done)
}

/// The table of exactly this name.
pub(super) fn named(draft: &Draft, database: DatabaseId, name: &str) -> Option<TableId> {
    draft.next.tables_of(database).find(|state| state.table.name == name).map(|s| s.table.id)
}

/// Refuses a name that a view has.
pub(super) fn check_no_view(draft: &Draft, database: DatabaseId, name: &str) -> Result<()> {
    match view::named(draft, database, name) {
        Some(_) => Err(Error::already_exists(format!("a view named '{name}' already exists"))),
        None => Ok(()),
    }
}

/// The table, or the error that it was dropped meanwhile.
pub(super) fn find(draft: &Draft, table: TableId) -> Result<&TableState> {
    draft
        .next
        .tables
        .get(&table)
        .filter(|state| state.table.dropped.is_none())
        .ok_or_else(|| Error::not_found("the table does not exist any more; it was dropped"))
}
