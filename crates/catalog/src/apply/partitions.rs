//! Whole partitions: dropped, put aside, brought back, shown in another table.

use granary_common::{Error, PartId, Result, TableId};

use super::{Draft, replicas, table};
use crate::command::{CopyPartitions, Outcome, PartitionChange, Partitions};
use crate::model::{Column, Part, Table};
use crate::row::Row;

pub(super) fn change(
    draft: &mut Draft,
    table: TableId,
    change: &PartitionChange,
) -> Result<Outcome> {
    let is_unique = !table::find(draft, table)?.table.unique_key.is_empty();
    if is_unique && matches!(change, PartitionChange::Detach(_) | PartitionChange::Attach(_)) {
        return Err(Error::unsupported(
            "partitions of a table with a UNIQUE KEY cannot be detached and attached: rows of the \
             same key could be inserted meanwhile",
        ));
    }
    match change {
        PartitionChange::Drop(partitions) => remove(draft, table, partitions, false)?,
        PartitionChange::Detach(partitions) => remove(draft, table, partitions, true)?,
        PartitionChange::Attach(partitions) => attach(draft, table, partitions)?,
        PartitionChange::DropDetached(partitions) => drop_detached(draft, table, partitions)?,
    }
    Ok(Outcome::Done)
}

/// Hides what is in `partitions` by now, and cuts inserts in flight off from it.
pub(super) fn remove(
    draft: &mut Draft,
    table: TableId,
    partitions: &Partitions,
    detached: bool,
) -> Result<()> {
    let version = draft.version();
    for part in visible(draft, table, partitions)? {
        draft.put(Row::Part(Part { removed: Some(version), detached, ..part }));
    }
    data_moved(draft, table)
}

fn attach(draft: &mut Draft, table: TableId, partitions: &Partitions) -> Result<()> {
    for (ordinal, part) in detached(draft, table, partitions)?.into_iter().enumerate() {
        // Queries at earlier versions still see, or do not see, the part that was detached.
        let files = Some(part.shown_files());
        show(draft, table, ordinal, Part { files, ..part.clone() })?;
        draft.put(Row::Part(Part { detached: false, ..part }));
    }
    data_moved(draft, table)
}

fn drop_detached(draft: &mut Draft, table: TableId, partitions: &Partitions) -> Result<()> {
    for part in detached(draft, table, partitions)? {
        draft.put(Row::Part(Part { detached: false, ..part }));
    }
    Ok(())
}

pub(super) fn copy(draft: &mut Draft, copy: &CopyPartitions) -> Result<Outcome> {
    let source = &table::find(draft, copy.from)?.table;
    let target = &table::find(draft, copy.to)?.table;
    check_alike(source, target)?;
    let parts = renumbered(source, target, visible(draft, copy.from, &copy.partitions)?)?;
    if copy.replace {
        remove(draft, copy.to, &copy.partitions, false)?;
    }
    if copy.remove {
        remove(draft, copy.from, &copy.partitions, false)?;
    }
    for (ordinal, part) in parts.into_iter().enumerate() {
        let files = Some(part.shown_files());
        show(draft, copy.to, ordinal, Part { files, ..part })?;
    }
    data_moved(draft, copy.to)?;
    Ok(Outcome::Done)
}

/// Parts of `source` in the buckets of `target`, of which there are as many.
fn renumbered(source: &Table, target: &Table, mut parts: Vec<Part>) -> Result<Vec<Part>> {
    for part in &mut parts {
        if !source.takes_rows_in(part.bucket) {
            return Err(Error::unavailable(format!(
                "rows of table '{}' are still on their way to its buckets; run it again when they \
                 are not in system.bucket_changes any more",
                source.name
            )));
        }
        part.bucket = target.bucket_at(part.bucket.0 - source.options.layout.first);
    }
    Ok(parts)
}

/// Makes a part of `table`, under a new id and at the end of the insert order.
fn show(draft: &mut Draft, table: TableId, ordinal: usize, part: Part) -> Result<()> {
    let order = (draft.version(), ordinal as u32);
    show_as(draft, table, Part { inserted: (order, order), ..part })
}

/// The same, at its place in the insert order.
pub(super) fn show_as(draft: &mut Draft, table: TableId, part: Part) -> Result<()> {
    let mut cluster = draft.cluster()?;
    let id = PartId(cluster.next_part_id);
    cluster.next_part_id += 1;
    draft.put(Row::Cluster(cluster));
    let version = draft.version();
    let mut deletions = part.deletions;
    deletions.drain(..deletions.len().saturating_sub(1));
    let shown =
        Part { id, table, added: version, removed: None, detached: false, deletions, ..part };
    // The replicas of the other table's bucket may be others; they fetch what they lack.
    replicas::keep_in_sync(draft, &shown)?;
    draft.put(Row::Part(shown));
    Ok(())
}

fn visible(draft: &Draft, table: TableId, partitions: &Partitions) -> Result<Vec<Part>> {
    let parts = table::find(draft, table)?.visible_parts(draft.version());
    let chosen = parts.filter(|part| partitions.contains(&part.partition));
    Ok(chosen.map(|part| (**part).clone()).collect())
}

fn detached(draft: &Draft, table: TableId, partitions: &Partitions) -> Result<Vec<Part>> {
    let parts = table::find(draft, table)?.parts.values();
    let chosen = parts.filter(|part| part.detached && partitions.contains(&part.partition));
    Ok(chosen.map(|part| (**part).clone()).collect())
}

pub(super) fn data_moved(draft: &mut Draft, table: TableId) -> Result<()> {
    let mut row = (*table::find(draft, table)?.table).clone();
    row.data_version += 1;
    draft.put(Row::Table(row));
    Ok(())
}

/// Files fit another table only if columns, keys and buckets are the same.
fn check_alike(source: &Table, target: &Table) -> Result<()> {
    let columns = |table: &Table| -> Vec<_> {
        let column = |c: &Column| {
            // Parts that lack a column, or have an earlier form of it, must read the same.
            let then = (c.earlier.clone(), c.added.clone(), c.computed.clone());
            (c.id, c.name.clone(), c.column_type.clone(), then)
        };
        table.columns.iter().map(column).collect()
    };
    let differs = if columns(source) != columns(target) {
        "columns"
    } else if source.order_by != target.order_by {
        "sort keys"
    } else if source.partition_by != target.partition_by {
        "partition keys"
    } else if (&source.distribution, source.buckets) != (&target.distribution, target.buckets) {
        "buckets"
    } else if !target.options.constraints.is_empty()
        && source.options.constraints != target.options.constraints
    {
        "constraints"
    } else if !target.unique_key.is_empty() {
        return Err(Error::unsupported("a table with a unique key takes no parts of another"));
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "tables '{}' and '{}' have different {differs}; use INSERT ... SELECT",
        source.name, target.name
    )))
}
