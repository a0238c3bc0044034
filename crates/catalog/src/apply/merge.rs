//! Parts replaced by what they were merged into.

use granary_common::{Error, Result, TableId};

use super::{Draft, insert, leased, replicas, table};
use crate::command::{MergeParts, Outcome};
use crate::model::{DeletionVector, Part};
use crate::row::Row;

/// Refuses with kind `Conflict` when an input was replaced or got other deletions: the worker then
/// drops what it made, or carries the deletions over and tries again.
pub(super) fn commit(draft: &mut Draft, merge: &MergeParts) -> Result<Outcome> {
    let MergeParts { table, bucket, .. } = *merge;
    let under = (merge.epoch, merge.in_sync_version);
    insert::check_leadership(draft, table, bucket, under, &merge.synced)?;
    let row = &table::find(draft, table)?.table;
    if row.options.ttl_version != merge.ttl_version {
        return Err(Error::conflict(format!("the TTL of table '{}' changed meanwhile", row.name)));
    }
    let mut inputs = Vec::with_capacity(merge.inputs.len());
    for known in &merge.inputs {
        inputs.push(insert::known_part(draft, table, bucket, known)?);
    }
    let (Some(first), Some(last), Some(level)) = (
        inputs.iter().map(|part| part.inserted.0).min(),
        inputs.iter().map(|part| part.inserted.1).max(),
        inputs.iter().map(|part| part.level).max(),
    ) else {
        return Err(Error::internal("a merge has no inputs"));
    };
    if merge.is_move {
        check_move(merge, &inputs)?;
    }
    let version = draft.version();
    for output in &merge.outputs {
        insert::check_part(draft, &output.part)?;
        replicas::check_copies(draft, table, bucket, &output.part)?;
        let of = (table, bucket, merge.schema_version);
        let mut part = insert::new_part(draft, of, &output.part);
        part.inserted = (first, last);
        part.level = level + 1;
        if let (true, [moved]) = (merge.is_move, inputs.as_slice()) {
            (part.level, part.schema_version) = (moved.level, moved.schema_version);
        }
        if let Some((rows, content)) = &output.deletions {
            leased::check_deletions(draft, content)?;
            let vector = DeletionVector { since: version, rows: *rows, content: content.clone() };
            part.deletions.push(vector);
        }
        draft.put(Row::Part(part));
    }
    for input in inputs {
        draft.put(Row::Part(Part { removed: Some(version), ..input }));
    }
    Ok(Outcome::Done)
}

fn check_move(merge: &MergeParts, inputs: &[Part]) -> Result<()> {
    match (inputs, merge.outputs.as_slice()) {
        ([input], [output]) if input.rows == output.part.rows => Ok(()),
        _ => Err(Error::internal("a move has one part, with as many rows as before")),
    }
}

pub(super) fn set_stopped(
    draft: &mut Draft,
    table: Option<TableId>,
    stopped: bool,
) -> Result<Outcome> {
    match table {
        Some(table) => {
            let mut row = (*table::find(draft, table)?.table).clone();
            row.merges_stopped = stopped;
            draft.put(Row::Table(row));
        }
        None => {
            let mut cluster = draft.cluster()?;
            cluster.merges_stopped = stopped;
            draft.put(Row::Cluster(cluster));
        }
    }
    Ok(Outcome::Done)
}
