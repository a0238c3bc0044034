//! What follows from a write's origin.

use granary_common::{Result, TableId};

use super::{Draft, refresh};
use crate::command::CommitWrite;
use crate::model::{MUTATIONS_PER_TABLE_MAX, Mutation, MutationNote, WriteOrigin};
use crate::row::{Row, RowKey};
use crate::snapshot::TableState;

/// Refuses a write whose origin has lost its right to it.
pub(super) fn check(draft: &Draft, commit: &CommitWrite) -> Result<()> {
    match &commit.origin {
        WriteOrigin::Refresh { view, run } => refresh::check(draft, *view, *run),
        WriteOrigin::Insert | WriteOrigin::Mutation(_) | WriteOrigin::Populate { .. } => Ok(()),
    }
}

/// Notes that the write is done.
pub(super) fn note(draft: &mut Draft, target: TableId, commit: &CommitWrite) -> Result<()> {
    match &commit.origin {
        WriteOrigin::Insert | WriteOrigin::Populate { .. } => Ok(()),
        WriteOrigin::Refresh { view, run } => refresh::succeeded(draft, *view, *run, commit.rows),
        WriteOrigin::Mutation(note) => {
            remember(draft, target, note, parts_of(commit));
            Ok(())
        }
    }
}

/// Keeps the mutation and lets the oldest one go when there are many.
fn remember(draft: &mut Draft, table: TableId, note: &MutationNote, parts: u64) {
    let known = draft.next.tables.get(&table).map(|state: &TableState| &state.mutations);
    let full = known.filter(|known| known.len() >= MUTATIONS_PER_TABLE_MAX);
    let oldest = full.and_then(|known| known.get_min()).map(|(version, _)| *version);
    if let Some(version) = oldest {
        draft.delete(RowKey::Mutation(table, version));
    }
    draft.put(Row::Mutation(Mutation {
        table,
        version: draft.version(),
        note: note.clone(),
        done_ms: draft.time_ms,
        parts,
    }));
}

/// Parts that lose rows.
fn parts_of(commit: &CommitWrite) -> u64 {
    let buckets = commit.tables.iter().take(1).flat_map(|write| &write.buckets);
    buckets.map(|bucket| (bucket.deletions.len() + bucket.removed.len()) as u64).sum()
}
