//! Tables whose columns, settings or clauses change.

use std::collections::BTreeSet;

use granary_common::{ColumnId, Error, Result};

use super::{Draft, history, table};
use crate::command::{AlterTable, Outcome};
use crate::model::{Distribution, Table, TableOptions};

/// Refuses with kind `Conflict` what was computed from another state of the table: whoever computed
/// it does so again.
pub(super) fn alter(draft: &mut Draft, alter: &AlterTable) -> Result<Outcome> {
    let state = table::find(draft, alter.table)?;
    let now = &state.table;
    if (now.schema_version, now.view_set_version) != (alter.schema_version, alter.view_set_version)
    {
        return Err(Error::conflict(format!("table '{}' changed meanwhile", now.name)));
    }
    if alter.requires_no_parts
        && state.parts.values().any(|part| part.removed.is_none() || part.detached)
    {
        return Err(Error::conflict(format!("table '{}' got rows meanwhile", now.name)));
    }
    let next = Table {
        columns: alter.columns.clone(),
        next_column_id: alter.next_column_id,
        engine: alter.engine.clone(),
        order_by: alter.order_by.clone(),
        partition_by: alter.partition_by.clone(),
        settings: alter.settings.clone(),
        comment: alter.comment.clone(),
        options: TableOptions { layout: now.options.layout.clone(), ..alter.options.clone() },
        schema_version: now.schema_version + 1,
        ..Table::clone(now)
    };
    check(now, &next, alter.appended_keys)?;
    history::define(draft, next)?;
    Ok(Outcome::Done)
}

/// What holds for every change, whoever computed it.
fn check(now: &Table, next: &Table, appended_keys: usize) -> Result<()> {
    let broken = |what: &str| Err(Error::internal(format!("ALTER TABLE '{}': {what}", now.name)));
    let ids: BTreeSet<ColumnId> = next.columns.iter().map(|column| column.id).collect();
    if ids.len() != next.columns.len() {
        return broken("two columns have one id");
    }
    let is_new = |id: &ColumnId| now.column(*id).is_none();
    let in_range = |id: &ColumnId| *id < next.next_column_id;
    let used_before = |id: &ColumnId| is_new(id) && *id < now.next_column_id;
    if next.next_column_id < now.next_column_id
        || !ids.iter().all(in_range)
        || ids.iter().any(used_before)
    {
        return broken("a column's id is used again");
    }
    let columns = |keys: &[crate::model::KeyExpression]| -> Vec<ColumnId> {
        keys.iter().map(|key| key.column).collect()
    };
    // Every row that is there has the same value in a new column, so that parts stay sorted.
    let (order, mut kept) = (columns(&now.order_by), columns(&next.order_by));
    let appended = kept.split_off(kept.len().saturating_sub(appended_keys));
    if order != kept
        || !appended.iter().all(is_new)
        || columns(&now.partition_by) != columns(&next.partition_by)
    {
        return broken("the keys change");
    }
    let distribution = match &now.distribution {
        Distribution::Hash(columns) => columns.as_slice(),
        Distribution::Rotation => &[],
    };
    let keys = [columns(&now.order_by), columns(&now.partition_by)].concat();
    let mut keys = keys.iter().chain(distribution).chain(&now.unique_key);
    let stays = |id: &ColumnId| {
        let of = |table: &Table| table.column(*id).map(|column| column.column_type.clone());
        of(now) == of(next)
    };
    match keys.all(stays) {
        true => Ok(()),
        false => broken("a column of a key goes or gets another type"),
    }
}
