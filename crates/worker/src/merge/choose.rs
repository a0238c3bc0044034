//! Which merges a worker starts now, over all buckets that it leads: pure functions.

use granary_common::PartId;
use granary_storage::merge_pick::{Candidate, Pick, PickLimits, Pool, Reason, pick};

use super::book::Lane;

/// A lane with its parts.
#[derive(Clone, Debug)]
pub struct LaneParts {
    pub lane: Lane,
    pub parts: Vec<Candidate>,
    pub limits: PickLimits,
}

/// A merge to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub lane: Lane,
    /// In insert order.
    pub parts: Vec<PartId>,
    pub bytes: u64,
    pub reason: Reason,
}

/// From so many parts on a lane goes before those with fewer, whatever its merges cost.
const CROWD: usize = 100;
/// Memory of a merge beside that of its inputs: what it gathers for the part that it writes.
const OUTPUT_BYTES: u64 = 64 << 20;
/// Memory for each part that a merge reads: decoded granules of its columns, read ahead.
const INPUT_BYTES: u64 = 8 << 20;
/// How long merges wait for queries and inserts at most before the next one starts anyway.
const PAUSE_MS_MAX: u64 = 10_000;

/// The merges to start, the most useful first, within `pool`.
pub fn choose(mut lanes: Vec<LaneParts>, pool: Pool) -> Vec<Start> {
    let mut pool = pool;
    let mut starts = Vec::new();
    loop {
        let mut best: Option<(usize, Pick)> = None;
        for (place, lane) in lanes.iter().enumerate() {
            let Some(found) = pick(&lane.parts, pool, &lane.limits).into_iter().next() else {
                continue;
            };
            let is_better = best.as_ref().is_none_or(|(other, other_pick)| {
                urgency(lane, &found).total_cmp_to(&urgency(&lanes[*other], other_pick))
            });
            if is_better {
                best = Some((place, found));
            }
        }
        let Some((place, found)) = best else { return starts };
        let lane = &mut lanes[place];
        for part in lane.parts.iter_mut().filter(|part| found.parts.contains(&part.part)) {
            part.is_busy = true;
        }
        pool.merges_running += 1;
        pool.bytes_running += found.bytes;
        let Pick { parts, bytes, reason, .. } = found;
        starts.push(Start { lane: lane.lane.clone(), parts, bytes, reason });
    }
}

/// What costs nothing first; then crowded lanes, the most crowded before all; then merges because of sizes, which pay off
/// most; then the cheapest.
struct Urgency {
    /// Nothing is read or written.
    is_free: bool,
    crowd: usize,
    is_for_sizes: bool,
    score: f64,
}

impl Urgency {
    fn total_cmp_to(&self, other: &Urgency) -> bool {
        let key = |urgency: &Urgency| (urgency.is_free, urgency.crowd, urgency.is_for_sizes);
        match key(self).cmp(&key(other)) {
            std::cmp::Ordering::Equal => self.score < other.score,
            order => order.is_gt(),
        }
    }
}

fn urgency(lane: &LaneParts, pick: &Pick) -> Urgency {
    let crowd = if lane.parts.len() >= CROWD { lane.parts.len() } else { 0 };
    Urgency {
        is_free: pick.reason == Reason::Expired,
        crowd,
        is_for_sizes: pick.reason == Reason::Sizes,
        score: pick.score,
    }
}

/// Parts that a merge may read within `memory_bytes` of its own. Where their columns need more together,
/// it takes them in groups.
pub fn parts_for_memory(memory_bytes: u64) -> usize {
    let parts = memory_bytes.saturating_sub(OUTPUT_BYTES) / INPUT_BYTES;
    parts.clamp(2, 64) as usize
}

/// Whether a merge may start while `active` queries and inserts run on `threads` threads, after it
/// has waited for `waited_ms`. Merges make room, but never starve.
pub fn may_start(active: usize, threads: usize, waited_ms: u64) -> bool {
    active <= threads || waited_ms >= PAUSE_MS_MAX
}

#[cfg(test)]
mod tests {
    use granary_catalog::PartitionValue;
    use granary_common::{BucketIndex, CatalogVersion, TableId};

    use super::*;

    fn lane(table: u64, parts: u64, mib: u64) -> LaneParts {
        let candidate = |place: u64| {
            let order = (CatalogVersion(place), 0);
            Candidate {
                part: PartId(table * 1000 + place),
                rows: 100,
                rows_deleted: 0,
                bytes: mib << 20,
                level: 0,
                inserted: (order, order),
                age_ms: 0,
                is_busy: false,
                due: Default::default(),
            }
        };
        LaneParts {
            lane: Lane {
                table: TableId(table),
                bucket: BucketIndex(0),
                partition: PartitionValue::default(),
            },
            parts: (0..parts).map(candidate).collect(),
            limits: PickLimits::default(),
        }
    }

    fn pool(merges_max: usize) -> Pool {
        Pool { merges_max, merges_running: 0, bytes_running: 0, bytes_max: u64::MAX }
    }

    #[track_caller]
    fn check(lanes: &[LaneParts], merges_max: usize, expected: &[u64]) {
        let starts = choose(lanes.to_vec(), pool(merges_max));
        let tables: Vec<u64> = starts.iter().map(|start| start.lane.table.0).collect();
        assert_eq!(tables, expected);
    }

    #[test]
    fn the_cheapest_goes_first_unless_a_lane_is_crowded() {
        check(&[], 1, &[]);
        check(&[lane(1, 3, 10)], 1, &[]);
        check(&[lane(1, 8, 90), lane(2, 8, 10)], 1, &[2]);
        check(&[lane(1, 8, 90), lane(2, 8, 10)], 2, &[2, 1]);
        check(&[lane(1, 120, 90), lane(2, 8, 10)], 1, &[1]);
        check(&[lane(1, 120, 9), lane(2, 140, 90)], 1, &[2]);
        check(&[lane(1, 8, 10)], 0, &[]);
    }

    #[test]
    fn memory_bounds_the_parts_of_a_merge() {
        for (mib, expected) in [(0, 2), (64, 2), (128, 8), (256, 24), (4096, 64)] {
            assert_eq!(parts_for_memory(mib << 20), expected, "{mib} MiB");
        }
    }

    #[test]
    fn merges_make_room_and_never_starve() {
        for (active, threads, waited_ms, expected) in [
            (0, 1, 0, true),
            (2, 2, 0, true),
            (3, 2, 0, false),
            (3, 2, 9_999, false),
            (9, 2, 10_000, true),
        ] {
            assert_eq!(may_start(active, threads, waited_ms), expected, "{active} {waited_ms}");
        }
    }
}
