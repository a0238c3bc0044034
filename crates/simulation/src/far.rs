//! Object storage that every worker reaches: what is written is there as a whole, whoever dies.

use std::collections::{BTreeMap, BTreeSet};

use granary_catalog::{DeletionContent, PartLocation, Table};
use granary_common::{Error, PartId, Result};
use parking_lot::Mutex;

/// The name of the volume.
const VOLUME: &str = "far";

/// The storage.
#[derive(Debug)]
pub struct Far {
    parts: Mutex<BTreeMap<PartId, Vec<u64>>>,
    /// Files of deletions, by the ids in their names.
    deletions: Mutex<BTreeMap<PartId, BTreeSet<u64>>>,
    /// The table whose parts lie there; none in some of the runs.
    table: Option<&'static str>,
}

impl Far {
    /// Empty storage for the parts of a table.
    pub fn new(table: Option<&'static str>) -> Far {
        Far { parts: Mutex::default(), deletions: Mutex::default(), table }
    }

    /// Where new parts of a table are written; by whom is said later.
    pub fn location_of(&self, table: &Table) -> PartLocation {
        match self.table == Some(&*table.name) {
            true => PartLocation::Shared { volume: VOLUME.to_owned() },
            false => PartLocation::Local { copies: Vec::new(), disk: None },
        }
    }

    /// A whole part has arrived.
    pub fn put(&self, part: PartId, rows: Vec<u64>) {
        self.parts.lock().insert(part, rows);
    }

    /// The rows of a part. Kind `NotFound` for one that is not there.
    pub fn read(&self, part: PartId) -> Result<Vec<u64>> {
        let rows = self.parts.lock().get(&part).cloned();
        rows.ok_or_else(|| Error::not_found(format!("part {part} is not on the shared volume")))
    }

    pub fn delete(&self, part: PartId) {
        self.parts.lock().remove(&part);
    }

    /// Every part that is there.
    pub fn parts(&self) -> Vec<PartId> {
        self.parts.lock().keys().copied().collect()
    }

    /// A whole file of deletions has arrived.
    pub fn put_deletions(&self, file: PartId, rows: BTreeSet<u64>) {
        self.deletions.lock().insert(file, rows);
    }

    /// The rows in a file of deletions. Kind `NotFound` for one that is not there.
    pub fn read_deletions(&self, name: &str) -> Result<BTreeSet<u64>> {
        let id = DeletionContent::id_of_file(name);
        let rows = id.and_then(|id| self.deletions.lock().get(&id).cloned());
        rows.ok_or_else(|| Error::not_found(format!("{name} is not on the shared volume")))
    }

    pub fn delete_deletions(&self, file: PartId) {
        self.deletions.lock().remove(&file);
    }

    /// Every file of deletions that is there.
    pub fn deletions(&self) -> Vec<PartId> {
        self.deletions.lock().keys().copied().collect()
    }
}
