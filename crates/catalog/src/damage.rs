//! What a snapshot knows of damaged copies of parts.

use std::collections::HashSet;
use std::sync::Arc;

use granary_common::{PartId, WorkerId};

use crate::model::{CopyId, Damage, Part, PartLocation};
use crate::snapshot::Snapshot;

impl Part {
    /// The copies of its files.
    pub fn copies(&self) -> Vec<CopyId> {
        let (table, part) = self.file_owner();
        let copy = |worker| CopyId { table, part, worker };
        match &self.location {
            PartLocation::Local { copies, .. } => {
                copies.iter().map(|worker| copy(Some(*worker))).collect()
            }
            PartLocation::Shared { .. } => vec![copy(None)],
        }
    }
}

impl Snapshot {
    /// The damaged copies among those of `part`.
    pub fn damage_of(&self, part: &Part) -> Vec<&Arc<Damage>> {
        if self.damage.is_empty() {
            return Vec::new();
        }
        part.copies().iter().filter_map(|copy| self.damage.get(copy)).collect()
    }

    /// Whether the copy of `part` on `worker` is damaged.
    pub fn is_damaged(&self, part: &Part, worker: WorkerId) -> bool {
        let (table, owner) = part.file_owner();
        let copy = CopyId { table, part: owner, worker: Some(worker) };
        self.damage.contains_key(&copy)
    }

    /// Whether a worker besides `worker` has a copy of `part` that is not damaged.
    pub fn is_whole_elsewhere(&self, part: &Part, worker: WorkerId) -> bool {
        let PartLocation::Local { copies, .. } = &part.location else { return false };
        copies.iter().any(|copy| *copy != worker && !self.is_damaged(part, *copy))
    }

    /// Where `part` is read: the copies that are not damaged, or all of them when each is.
    pub fn readable_location(&self, part: &Part) -> PartLocation {
        let PartLocation::Local { copies, disk } = &part.location else {
            return part.location.clone();
        };
        if self.damage.is_empty() {
            return part.location.clone();
        }
        let whole: Vec<WorkerId> =
            copies.iter().copied().filter(|worker| !self.is_damaged(part, *worker)).collect();
        match whole.is_empty() {
            true => part.location.clone(),
            false => PartLocation::Local { copies: whole, disk: disk.clone() },
        }
    }

    /// The parts that `worker` cannot trust its files of.
    pub fn damaged_on(&self, worker: WorkerId) -> HashSet<PartId> {
        let copies = self.damage.keys();
        let here = copies.filter(|copy| copy.worker.is_none_or(|holder| holder == worker));
        let owners: HashSet<PartId> = here.map(|copy| copy.part).collect();
        if owners.is_empty() {
            return owners;
        }
        let parts = self.tables.values().flat_map(|state| state.parts.values());
        parts.filter(|part| owners.contains(&part.file_owner().1)).map(|part| part.id).collect()
    }

    /// Whether some part of the catalog has its files in `copy`.
    pub fn has_copy(&self, copy: &CopyId) -> bool {
        self.any_part_of(copy, |part| part.copies().contains(copy))
    }

    /// Whether some part has the files that `copy` is one of, wherever its copies are.
    pub(crate) fn has_files_of(&self, copy: &CopyId) -> bool {
        self.any_part_of(copy, |part| part.file_owner() == (copy.table, copy.part))
    }

    fn any_part_of(&self, copy: &CopyId, is_of: impl Fn(&Part) -> bool) -> bool {
        let is_of = |part: &Arc<Part>| is_of(part);
        let own = self.tables.get(&copy.table).and_then(|state| state.parts.get(&copy.part));
        if own.is_some_and(is_of) {
            return true;
        }
        // Only parts that show the files of another one are left, which are few.
        self.shows_files_of(copy.part)
            && self.tables.values().any(|state| state.parts.values().any(is_of))
    }
}
