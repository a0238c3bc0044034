//! Ids of files: only those of leases that hold may be committed, since the sweep deletes the others.

use granary_common::{Error, PartId, Result};

use super::Draft;
use crate::model::DeletionContent;

/// Whether `id` is of a lease that holds.
pub(super) fn is_leased(draft: &Draft, id: PartId) -> bool {
    draft.next.is_leased(id)
}

/// Refuses deletions in a file that may be swept already, since the lease of its id has expired.
pub(super) fn check_deletions(draft: &Draft, content: &DeletionContent) -> Result<()> {
    let DeletionContent::File { name, .. } = content else { return Ok(()) };
    match DeletionContent::id_of_file(name) {
        Some(id) if !is_leased(draft, id) => Err(Error::conflict(format!(
            "the deletions {name} were written under a lease of ids that has expired"
        ))),
        _ => Ok(()),
    }
}
