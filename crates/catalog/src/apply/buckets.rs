//! Tables get another number of buckets.

use granary_common::{BucketIndex, Error, Result, TableId};

use super::{Draft, history, insert, leased, placement, replicas, table};
use crate::command::{BucketChange, Outcome, SplitParts};
use crate::model::{BucketHistory, DeletionVector, EarlierBuckets, Part, Table, TableOptions};
use crate::row::{Row, RowKey};

pub(super) fn change(draft: &mut Draft, change: &BucketChange) -> Result<Outcome> {
    match change {
        BucketChange::Count { table, schema_version, buckets } => {
            count(draft, *table, *schema_version, *buckets)
        }
        BucketChange::Split(moved) => split(draft, moved),
    }
}

/// New buckets beside those that there are. The schema version moves, so that whatever was dealt out
/// to the buckets of before and is not committed yet is dealt out again.
fn count(draft: &mut Draft, id: TableId, schema_version: u64, buckets: u32) -> Result<Outcome> {
    let state = table::find(draft, id)?;
    let now = &state.table;
    if now.schema_version != schema_version {
        return Err(Error::conflict(format!("table '{}' changed meanwhile", now.name)));
    }
    if now.buckets == buckets {
        return Ok(Outcome::Done);
    }
    if let Some(group) = &now.colocation_group {
        return Err(Error::invalid(format!(
            "table '{}' is in colocation group '{group}', whose tables all have {} buckets",
            now.name, now.buckets
        )));
    }
    let is_under_way =
        draft.next.staged.values().any(|insert| {
            insert.table == id || insert.views.iter().any(|target| target.table == id)
        });
    if is_under_way {
        // Its rows are dealt out already, and it could not be sent again.
        return Err(Error::conflict(format!(
            "a long insert into table '{}' is under way; try again when it has ended",
            now.name
        )));
    }
    let broken = || Error::internal(format!("{buckets} buckets of table '{}'", now.name));
    let first = now.options.layout.first.checked_add(now.buckets).ok_or_else(broken)?;
    if buckets == 0 || first.checked_add(buckets).is_none() {
        return Err(broken());
    }
    let placed = placement::place_again(&draft.next, now, first, buckets)?;
    let mut earlier = now.options.layout.earlier.clone();
    let until = draft.version();
    earlier.push(EarlierBuckets { first: now.options.layout.first, buckets: now.buckets, until });
    let next = Table {
        buckets,
        options: TableOptions { layout: BucketHistory { first, earlier }, ..now.options.clone() },
        schema_version: now.schema_version + 1,
        ..Table::clone(now)
    };
    history::define(draft, next)?;
    for bucket in placed {
        draft.put(Row::Bucket(bucket));
    }
    forget_unused(draft, id)?;
    Ok(Outcome::Done)
}

/// Forgets buckets of before in which no part is any more.
pub(super) fn forget_unused(draft: &mut Draft, id: TableId) -> Result<()> {
    let state = table::find(draft, id)?;
    let unused = state.unused_buckets();
    if unused.is_empty() {
        return Ok(());
    }
    let mut next = Table::clone(&state.table);
    next.options.layout.earlier.retain(|earlier| !unused.contains(earlier));
    let gone = |index: &&BucketIndex| unused.iter().any(|earlier| earlier.has(**index));
    let gone: Vec<BucketIndex> = state.buckets.keys().filter(gone).copied().collect();
    draft.put(Row::Table(next));
    for index in gone {
        draft.delete(RowKey::Bucket(id, index));
    }
    Ok(())
}

/// Refuses with kind `Conflict` when an input was replaced or got other deletions, or when the table
/// has other buckets again: the worker then carries the deletions over, or drops what it made.
fn split(draft: &mut Draft, split: &SplitParts) -> Result<Outcome> {
    let state = table::find(draft, split.table)?;
    let row = state.table.clone();
    let led_alike =
        state.buckets.get(&split.bucket).is_some_and(|bucket| bucket.epoch == split.epoch);
    let to_current = split.outputs.iter().all(|(bucket, _)| row.takes_rows_in(*bucket));
    if !led_alike || row.takes_rows_in(split.bucket) || !to_current {
        return Err(Error::conflict(format!(
            "the buckets of table '{}' changed, or have other leaders, since",
            row.name
        )));
    }
    let mut inputs = Vec::with_capacity(split.inputs.len());
    for known in &split.inputs {
        inputs.push(insert::known_part(draft, split.table, split.bucket, known)?);
    }
    check_rows(split, &inputs)?;
    let (Some(first), Some(last)) = (
        inputs.iter().map(|part| part.inserted.0).min(),
        inputs.iter().map(|part| part.inserted.1).max(),
    ) else {
        return Err(Error::internal("a split has no inputs"));
    };
    // Rows of one part stay what they are to each other; those of several have not met yet.
    let level = if let [only] = inputs.as_slice() { only.level } else { 0 };
    let version = draft.version();
    for (bucket, output) in &split.outputs {
        insert::check_part(draft, &output.part)?;
        replicas::check_least(draft, split.table, &output.part)?;
        let of = (split.table, *bucket, split.schema_version);
        let mut part = insert::new_part(draft, of, &output.part);
        (part.inserted, part.level) = ((first, last), level);
        if let Some((rows, content)) = &output.deletions {
            leased::check_deletions(draft, content)?;
            let vector = DeletionVector { since: version, rows: *rows, content: content.clone() };
            part.deletions.push(vector);
        }
        // A replica that has not taken it in time fetches it.
        replicas::keep_in_sync(draft, &part)?;
        draft.put(Row::Part(part));
    }
    for input in inputs {
        draft.put(Row::Part(Part { removed: Some(version), ..input }));
    }
    Ok(Outcome::Done)
}

/// No row may be lost or doubled on its way.
fn check_rows(split: &SplitParts, inputs: &[Part]) -> Result<()> {
    let deleted = |part: &Part| part.deletions.last().map_or(0, |vector| vector.rows);
    let taken: u64 = inputs.iter().map(|part| part.rows.saturating_sub(deleted(part))).sum();
    let given = split.outputs.iter().map(|(_, output)| {
        let deleted = output.deletions.as_ref().map_or(0, |(rows, _)| *rows);
        output.part.rows.saturating_sub(deleted)
    });
    let given: u64 = given.sum();
    let partition = inputs.first().map(|part| &part.partition);
    let is_one = inputs.iter().all(|part| Some(&part.partition) == partition)
        && split.outputs.iter().all(|(_, output)| Some(&output.part.partition) == partition);
    match taken == given && is_one {
        true => Ok(()),
        false => Err(Error::internal(format!(
            "parts with {taken} rows were split into parts with {given}"
        ))),
    }
}
