//! When parts have rows that are due: looked at once for each part and TTL, and remembered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granary_catalog::{Part, Snapshot, TableState};
use granary_common::{CatalogVersion, PartId, Result, WorkerId};
use granary_storage::ttl::PartLife;
use parking_lot::Mutex;

use super::job::Merger;
use super::lanes::led;

/// Parts that one round looks at, at most.
const LOOKS_MAX: usize = 64;
/// A part that cannot be looked at is left alone for so long.
const FAILED_MS: u64 = 60_000;

/// What is known of a part under one version of its table's TTL.
#[derive(Clone, Debug)]
struct Known {
    ttl_version: u64,
    /// `None`: it could not be looked at, and is not before `again_ms`.
    life: Option<Arc<PartLife>>,
    again_ms: u64,
}

/// The lives of parts. Bounded by what the catalog holds.
#[derive(Debug, Default)]
pub struct Lives {
    known: Mutex<HashMap<PartId, Known>>,
}

impl Lives {
    /// The life of a part, if it is known.
    pub fn known(&self, state: &TableState, part: PartId) -> Option<Arc<PartLife>> {
        let known = self.known.lock();
        let known = known.get(&part)?;
        let is_current = known.ttl_version == state.table.options.ttl_version;
        known.life.clone().filter(|_| is_current)
    }

    /// The life of a part, which is looked at unless it is known.
    pub async fn of(
        &self,
        state: &TableState,
        part: &Arc<Part>,
        version: CatalogVersion,
        merger: &dyn Merger,
    ) -> Result<Arc<PartLife>> {
        if state.table.options.rules.is_empty() {
            return Ok(Arc::default());
        }
        if let Some(life) = self.known(state, part.id) {
            return Ok(life);
        }
        let life = Arc::new(merger.life(&state.table, part, version).await?);
        let ttl_version = state.table.options.ttl_version;
        let known = Known { ttl_version, life: Some(Arc::clone(&life)), again_ms: 0 };
        self.known.lock().insert(part.id, known);
        Ok(life)
    }

    /// Looks at parts of the buckets that `worker` leads and that are not known yet, and forgets those
    /// that are gone. Returns whether something became known.
    pub async fn look(
        &self,
        snapshot: &Snapshot,
        worker: WorkerId,
        busy: &HashSet<PartId>,
        merger: &dyn Merger,
        now_ms: u64,
    ) -> bool {
        let mut there: HashSet<PartId> = HashSet::new();
        let mut unknown: Vec<(&TableState, Arc<Part>)> = Vec::new();
        let with_rules = snapshot
            .tables
            .values()
            .filter(|state| state.table.dropped.is_none() && !state.table.options.rules.is_empty());
        for state in with_rules {
            for part in led(snapshot, state, worker).into_values().flatten() {
                there.insert(part.id);
                if !busy.contains(&part.id) && self.is_unknown(state, part.id, now_ms) {
                    unknown.push((state, part));
                }
            }
        }
        self.known.lock().retain(|part, _| there.contains(part));
        unknown.truncate(LOOKS_MAX);
        let mut found = false;
        for (state, part) in unknown {
            match self.of(state, &part, snapshot.version, merger).await {
                Ok(_) => found = true,
                Err(error) => {
                    tracing::warn!(part = %part.id, table = state.table.name, %error,
                        "it is not known when rows of a part are due");
                    let ttl_version = state.table.options.ttl_version;
                    let again_ms = now_ms.saturating_add(FAILED_MS);
                    let known = Known { ttl_version, life: None, again_ms };
                    self.known.lock().insert(part.id, known);
                }
            }
        }
        found
    }

    fn is_unknown(&self, state: &TableState, part: PartId, now_ms: u64) -> bool {
        let known = self.known.lock();
        known.get(&part).is_none_or(|known| {
            known.ttl_version != state.table.options.ttl_version
                || (known.life.is_none() && known.again_ms <= now_ms)
        })
    }
}
