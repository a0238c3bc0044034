//! What the scheduler remembers between two looks at the catalog: since when parts are there, and
//! which lanes failed.

use std::collections::{BTreeMap, HashMap, HashSet};

use granary_catalog::replication::holds;
use granary_catalog::{Part, Snapshot, Table, TableState};
use granary_common::{BucketIndex, PartId, WorkerId};
use granary_storage::Tiers;
use granary_storage::merge_pick::{Candidate, Due, PickLimits};
use std::sync::Arc;

use super::book::Lane;
use super::choose::LaneParts;
use super::job::Job;
use super::lives::Lives;
use super::split::merges_after;

/// After a failure a lane is left alone for so long, doubled with each further one.
const BACKOFF_MS: u64 = 2_000;
const BACKOFF_MS_MAX: u64 = 600_000;
/// Between two merges of a lane for the sake of its TTL, unless the table says it itself: what
/// ClickHouse takes.
const TTL_PAUSE_S: u64 = 14_400;

/// The memory of one scheduler. Bounded by what the catalog holds.
#[derive(Debug, Default)]
pub struct Memory {
    /// When a part was first seen, on the monotonic clock; parts carry no time themselves.
    seen_ms: HashMap<PartId, u64>,
    /// How often a lane failed in a row, and until when it is left alone.
    failed: BTreeMap<Lane, (u32, u64)>,
    /// When a merge began that treats rows which are due, and by which version of the TTL.
    treated_ms: BTreeMap<Lane, (u64, u64)>,
}

/// What a look at the lanes depends on beside the catalog.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub worker: WorkerId,
    pub busy: &'a HashSet<PartId>,
    pub lives: &'a Lives,
    /// On the monotonic clock.
    pub now_ms: u64,
    /// Since the epoch.
    pub now_s: i64,
    pub tiers: &'a Tiers,
}

impl Look<'_> {
    /// What of the part is due, as far as that is known.
    fn due(&self, state: &TableState, part: &Part) -> Due {
        if state.table.options.rules.is_empty() {
            return Due::Nothing;
        }
        let Some(life) = self.lives.known(state, part.id) else { return Due::Nothing };
        let place = life.place(self.now_s);
        let only_whole = state.table.settings.get("ttl_only_drop_parts");
        let only_whole = only_whole.is_some_and(|value| value == "1");
        if life.is_gone(self.now_s) {
            Due::All
        } else if life.is_due(self.now_s) && !only_whole {
            Due::Some
        } else if life.recompression(self.now_s).is_some() {
            Due::Recompress
        } else if place.is_some_and(|to| self.tiers.destination(&state.table, to, part).is_some()) {
            Due::Move
        } else {
            Due::Nothing
        }
    }
}

impl Memory {
    /// The lanes that `worker` may merge in now. Tables whose merges are stopped are left out.
    pub fn lanes(
        &mut self,
        snapshot: &Snapshot,
        limits: &PickLimits,
        look: &Look<'_>,
    ) -> Vec<LaneParts> {
        let Look { worker, busy, now_ms, .. } = *look;
        let mut seen_ms = HashMap::with_capacity(self.seen_ms.len());
        let mut lanes: Vec<LaneParts> = Vec::new();
        for state in snapshot.tables.values().filter(|state| may_merge(snapshot, &state.table)) {
            let limits = limits_of(&state.table, limits);
            let after = merges_after(state, snapshot.version);
            for (lane, parts) in led(snapshot, state, worker) {
                // Their parts are split, and merged then.
                if !state.table.takes_rows_in(lane.bucket) {
                    continue;
                }
                let candidate = |part: &Arc<Part>| {
                    let since_ms = self.seen_ms.get(&part.id).copied().unwrap_or(now_ms);
                    seen_ms.insert(part.id, since_ms);
                    let age_ms = now_ms.saturating_sub(since_ms);
                    // What is not here yet is in nobody's merge until it has been fetched.
                    let is_busy = busy.contains(&part.id)
                        || !holds(&part.location, worker)
                        || after.is_some_and(|after| part.inserted.0 <= after);
                    let due = look.due(state, part);
                    Candidate { due, ..Candidate::of(part, snapshot.version, age_ms, is_busy) }
                };
                let mut parts: Vec<Candidate> = parts.iter().map(candidate).collect();
                if self.was_treated(&lane, &state.table, now_ms) {
                    let some = parts.iter_mut().filter(|part| part.due == Due::Some);
                    some.for_each(|part| part.due = Due::Nothing);
                }
                if !self.is_left_alone(&lane, now_ms) {
                    lanes.push(LaneParts { lane, parts, limits: limits.clone() });
                }
            }
        }
        self.seen_ms = seen_ms;
        self.failed.retain(|lane, _| snapshot.tables.contains_key(&lane.table));
        self.treated_ms.retain(|lane, _| snapshot.tables.contains_key(&lane.table));
        lanes
    }

    /// Whether the lane failed a short while ago.
    pub fn is_left_alone(&self, lane: &Lane, now_ms: u64) -> bool {
        self.failed.get(lane).is_some_and(|(_, until_ms)| now_ms < *until_ms)
    }

    /// Whether rows of the lane were treated by the table's TTL a short while ago: a part that always
    /// has a few rows that are due would else be written again and again.
    fn was_treated(&self, lane: &Lane, table: &Table, now_ms: u64) -> bool {
        let pause = table.settings.get("merge_with_ttl_timeout");
        let pause_s = pause.and_then(|text| text.parse().ok()).unwrap_or(TTL_PAUSE_S);
        self.treated_ms.get(lane).is_some_and(|(ttl_version, since_ms)| {
            *ttl_version == table.options.ttl_version
                && now_ms < since_ms.saturating_add(pause_s.saturating_mul(1000))
        })
    }

    /// A merge begins that treats rows which are due.
    pub fn treated(&mut self, job: &Job, now_ms: u64) {
        self.treated_ms.insert(job.lane.clone(), (job.table.options.ttl_version, now_ms));
    }

    /// A merge of the lane failed.
    pub fn failed(&mut self, lane: &Lane, now_ms: u64) {
        let times = self.failed.get(lane).map_or(0, |(times, _)| *times);
        let pause_ms = BACKOFF_MS.saturating_mul(1 << times.min(16)).min(BACKOFF_MS_MAX);
        self.failed.insert(lane.clone(), (times + 1, now_ms + pause_ms));
    }

    /// A merge of the lane went well.
    pub fn succeeded(&mut self, lane: &Lane) {
        self.failed.remove(lane);
    }
}

/// Whether merges of the table may run.
pub fn may_merge(snapshot: &Snapshot, table: &Table) -> bool {
    let all_stopped = snapshot.cluster.as_ref().is_none_or(|cluster| cluster.merges_stopped);
    !all_stopped && !table.merges_stopped && table.dropped.is_none()
}

/// The limits of a table's background merges: its settings, else those of the worker.
pub fn limits_of(table: &Table, limits: &PickLimits) -> PickLimits {
    let number = |name: &str| table.settings.get(name).and_then(|text| text.parse::<u64>().ok());
    let bytes_max = number("max_bytes_to_merge_at_max_space_in_pool");
    PickLimits { merge_bytes_max: bytes_max.unwrap_or(limits.merge_bytes_max), ..limits.clone() }
}

/// The visible parts of the buckets that `worker` leads, by lane, in insert order.
pub fn led(
    snapshot: &Snapshot,
    state: &TableState,
    worker: WorkerId,
) -> BTreeMap<Lane, Vec<Arc<Part>>> {
    let leads = |bucket: BucketIndex| {
        state.buckets.get(&bucket).is_some_and(|bucket| bucket.leader == worker)
    };
    let mut lanes: BTreeMap<Lane, Vec<Arc<Part>>> = BTreeMap::new();
    for part in state.visible_parts(snapshot.version).filter(|part| leads(part.bucket)) {
        let lane =
            Lane { table: state.table.id, bucket: part.bucket, partition: part.partition.clone() };
        lanes.entry(lane).or_default().push(Arc::clone(part));
    }
    for parts in lanes.values_mut() {
        parts.sort_by_key(|part| (part.inserted, part.id));
    }
    lanes
}
