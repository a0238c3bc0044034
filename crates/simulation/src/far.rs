//! Object storage that every worker reaches: what is written is there as a whole, whoever dies.

use std::collections::BTreeMap;

use granary_catalog::{PartLocation, Table};
use granary_common::{Error, PartId, Result};
use parking_lot::Mutex;

/// The name of the volume.
const VOLUME: &str = "far";

/// The storage.
#[derive(Debug)]
pub struct Far {
    parts: Mutex<BTreeMap<PartId, Vec<u64>>>,
    /// The table whose parts lie there; none in half of the runs.
    table: Option<&'static str>,
}

impl Far {
    /// Empty storage for the parts of a table.
    pub fn new(table: Option<&'static str>) -> Far {
        Far { parts: Mutex::default(), table }
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
}
