//! Copies of parts that were found damaged, or whole again.

use granary_common::{Result, WorkerId};

use super::Draft;
use crate::command::Outcome;
use crate::model::{CopyId, Damage, Part};
use crate::row::{Row, RowKey};

/// Notes that a copy is damaged, or with no reason that it is whole. A copy that the catalog does
/// not know has left it meanwhile; nothing is noted then.
pub(super) fn mark(draft: &mut Draft, copy: CopyId, reason: Option<&str>) -> Result<Outcome> {
    let known = draft.next.damage.get(&copy);
    match reason {
        None if known.is_some() => draft.delete(RowKey::Damage(copy)),
        Some(reason)
            if known.is_none_or(|row| row.reason != reason) && draft.next.has_copy(&copy) =>
        {
            let found_ms = known.map_or(draft.time_ms, |row| row.found_ms);
            draft.put(Row::Damage(Damage { copy, reason: reason.to_owned(), found_ms }));
        }
        _ => {}
    }
    Ok(Outcome::Done)
}

/// A worker has a copy anew, and compared every byte of it.
pub(super) fn forget(draft: &mut Draft, part: &Part, worker: WorkerId) {
    let (table, owner) = part.file_owner();
    let copy = CopyId { table, part: owner, worker: Some(worker) };
    if draft.next.damage.contains_key(&copy) {
        draft.delete(RowKey::Damage(copy));
    }
}

/// Forgets the damage of parts that are gone. That of a copy which was given up stays until the
/// worker has it anew: its files are still there, and a query of before may ask for them.
pub(super) fn forget_departed(draft: &mut Draft) {
    let departed: Vec<CopyId> =
        draft.next.damage.keys().filter(|copy| !draft.next.has_files_of(copy)).copied().collect();
    for copy in departed {
        draft.delete(RowKey::Damage(copy));
    }
}
