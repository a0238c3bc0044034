//! What must be true of a table with a UNIQUE KEY.

use std::collections::BTreeMap;

use granary_common::CatalogVersion;

use crate::coordinator::Done;
use crate::rows::{id_of, row, value_of};

/// Upserts by their values, of which each has its own.
#[derive(Debug, Default)]
pub struct Keys {
    sent: BTreeMap<u64, Upsert>,
}

#[derive(Debug, Default)]
struct Upsert {
    keys: Vec<u64>,
    done: Option<CatalogVersion>,
}

impl Keys {
    /// An upsert is sent for the first time.
    pub fn send(&mut self, value: u64, keys: &[u64]) {
        self.sent.entry(value).or_default().keys = keys.to_vec();
    }

    /// An upsert is acknowledged, perhaps once more; gives what is wrong with that.
    pub fn acknowledge(&mut self, value: u64, done: Done) -> Option<String> {
        let upsert = self.sent.entry(value).or_default();
        match upsert.done {
            None => {
                upsert.done = Some(done.version);
                None
            }
            Some(first) if first == done.version && done.duplicate => None,
            Some(first) => Some(format!(
                "upsert {value} was acknowledged at version {first} and then as {done:?}"
            )),
        }
    }

    /// Upserts that are acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.sent.values().filter(|upsert| upsert.done.is_some()).count() as u64
    }

    /// Checks what was read at each version, now that every upsert has its answer: of each key there
    /// is the row that was upserted last until then, and nothing else.
    pub fn finish<'a>(
        &self,
        seen: impl Iterator<Item = (CatalogVersion, &'a Vec<u64>)>,
    ) -> Vec<String> {
        let mut changes: BTreeMap<CatalogVersion, Vec<(u64, u64)>> = BTreeMap::new();
        for (value, upsert) in &self.sent {
            let Some(version) = upsert.done else { continue };
            let rows = upsert.keys.iter().map(|key| (*key, *value));
            changes.entry(version).or_default().extend(rows);
        }
        let mut changes = changes.into_iter().peekable();
        let (mut rows, mut wrong) = (BTreeMap::new(), Vec::new());
        for (at, seen) in seen {
            while let Some((_, changed)) = changes.next_if(|(version, _)| *version <= at) {
                rows.extend(changed);
            }
            let expected: Vec<u64> = rows.iter().map(|(key, value)| row(*key, *value)).collect();
            if *seen != expected {
                wrong.push(format!(
                    "keys and values at {at}: {:?} are there too many, {:?} are not there",
                    without(seen, &expected),
                    without(&expected, seen)
                ));
            }
        }
        wrong
    }
}

/// Rows of the one that the other has not, or not as often.
fn without(rows: &[u64], others: &[u64]) -> Vec<(u64, u64)> {
    let mut others = others.to_vec();
    let mut rows = rows.to_vec();
    rows.retain(|row| match others.iter().position(|other| other == row) {
        Some(place) => {
            others.swap_remove(place);
            false
        }
        None => true,
    });
    rows.iter().map(|row| (id_of(*row), value_of(*row))).collect()
}
