//! Files of deletion vectors, beside the files of their parts: which of them somebody may still read.
//!
//! ```text
//!   written, its id leased ─► committed, named by its part ─► replaced by a later one ─► forgotten
//! ```
//!
//! A part names vectors until a later commit finds that its table's history has passed them, which may
//! never come. So the sweep does not go by what is named but by what is needed: a vector is, as long as
//! the next one of its part is newer than what the history has forgotten. Below that nobody may read,
//! restore or clone any more, and whoever pins a version keeps the history above it.

use std::collections::BTreeSet;

use granary_common::{CatalogVersion, PartId, TableId};

use crate::model::{DeletionContent, DeletionVector, Part};
use crate::snapshot::{Snapshot, TableState};

/// What the catalog says of files of deletion vectors, by the ids in their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionFiles {
    /// A reader of some version that is kept may ask for them.
    pub needed: BTreeSet<PartId>,
    /// They were committed, so that they are not again once they are not needed.
    pub committed: BTreeSet<PartId>,
}

impl DeletionFiles {
    /// What `snapshot` says; `before` are files that an earlier one needed.
    pub fn of(snapshot: &Snapshot, before: &BTreeSet<PartId>) -> DeletionFiles {
        let mut files = DeletionFiles { needed: BTreeSet::new(), committed: before.clone() };
        for state in snapshot.tables.values() {
            for part in state.parts.values() {
                files.committed.extend(part.deletions.iter().filter_map(file_of));
                let needed = snapshot.needed_deletions(state, part).iter();
                files.needed.extend(needed.filter_map(file_of));
            }
        }
        files
    }

    /// Whether nobody can read `file` any more, nor commit it: `is_leased` says whether its id was
    /// leased when the catalog was read, which must have been after the file was found.
    pub fn is_orphan(&self, file: PartId, is_leased: bool) -> bool {
        !self.needed.contains(&file) && (self.committed.contains(&file) || !is_leased)
    }
}

fn file_of(vector: &DeletionVector) -> Option<PartId> {
    match &vector.content {
        DeletionContent::File { name, .. } => DeletionContent::id_of_file(name),
        DeletionContent::Inline(_) => None,
    }
}

impl Snapshot {
    /// The version below which nobody reads the table any more, nor ever will.
    pub fn forgotten(&self, state: &TableState) -> CatalogVersion {
        let horizon = || self.cluster.as_ref().map_or(CatalogVersion(0), |cluster| cluster.horizon);
        // Tables of an earlier build get a history with the first step.
        state.history.as_ref().map_or_else(horizon, |history| history.forgotten)
    }

    /// The vectors of a part that a reader of some version that is kept may ask for.
    pub fn needed_deletions<'a>(&self, state: &TableState, part: &'a Part) -> &'a [DeletionVector] {
        part.deletions_from(self.forgotten(state))
    }

    /// Whether somebody may ask for a file of deletions beside the files of that table and part.
    pub fn needs_deletions(&self, owner: (TableId, PartId), file: PartId) -> bool {
        self.tables.values().any(|state| {
            let mut shown = state.parts.values().filter(|part| part.file_owner() == owner);
            shown.any(|part| {
                self.needed_deletions(state, part).iter().filter_map(file_of).any(|at| at == file)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way that a file may stand, and whether it goes.
    #[test]
    fn what_goes() {
        let file = PartId(7);
        let set = |has: bool| has.then_some(file).into_iter().collect::<BTreeSet<PartId>>();
        for (case, is_needed, was_committed, is_leased, goes) in [
            ("the newest of its part", true, true, true, false),
            ("the newest of its part, for long", true, true, false, false),
            ("shown by a clone that has not been seen yet", true, false, false, false),
            ("replaced, and its lease lives", false, true, true, true),
            ("replaced long ago", false, true, false, true),
            ("written and not committed yet", false, false, true, false),
            ("can never be committed", false, false, false, true),
        ] {
            let files = DeletionFiles { needed: set(is_needed), committed: set(was_committed) };
            assert_eq!(files.is_orphan(file, is_leased), goes, "{case}");
        }
    }
}
