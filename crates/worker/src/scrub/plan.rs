//! When a scrub goes on, and with which parts. Pure.

use std::time::Duration;

use granary_catalog::replication::replicated_parts;
use granary_catalog::{Part, PartLocation, Snapshot, TableState};
use granary_common::{PartId, TableId, WorkerId};
use serde::{Deserialize, Serialize};

/// The clock is looked at again after so long: it may have been set.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How far the scrub has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The last part that was looked at in the round that goes on.
    #[serde(default)]
    pub last: Option<PartId>,
    /// When the last round ended, in milliseconds since the epoch.
    #[serde(default)]
    pub ended_ms: Option<u64>,
}

/// How long to wait until the round goes on, or a new one begins. A round begins `period` after the
/// last one has ended, so that no part is read more often.
pub fn pause(progress: &Progress, now_ms: u64, period: Duration) -> Duration {
    let (None, Some(ended_ms)) = (progress.last, progress.ended_ms) else { return Duration::ZERO };
    let due_ms = ended_ms.saturating_add(period.as_millis() as u64);
    Duration::from_millis(due_ms.saturating_sub(now_ms)).min(period).min(PAUSE_MAX)
}

/// The parts whose files `worker` looks after, in the order of their ids, beyond `last`: those that
/// it has copies of, and those on shared volumes of the buckets that it leads.
pub fn held(snapshot: &Snapshot, worker: WorkerId, last: Option<PartId>) -> Vec<(PartId, TableId)> {
    let tables = snapshot.tables.values().filter(|state| state.table.dropped.is_none());
    let mut parts: Vec<(PartId, TableId)> = tables
        .flat_map(|state| {
            let parts = replicated_parts(snapshot, state);
            parts.filter(|part| looks_after(state, part, worker))
        })
        .map(|part| (part.id, part.table))
        .filter(|(part, _)| last.is_none_or(|last| *part > last))
        .collect();
    parts.sort_unstable();
    parts
}

/// Whether the files of `part` are for `worker` to look at.
pub fn looks_after(state: &TableState, part: &Part, worker: WorkerId) -> bool {
    match &part.location {
        PartLocation::Local { copies, .. } => copies.contains(&worker),
        PartLocation::Shared { .. } => {
            state.buckets.get(&part.bucket).is_some_and(|bucket| bucket.leader == worker)
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_catalog::Row;
    use granary_common::CatalogVersion;

    use super::*;
    use crate::replicate::plan_tests::{bucket, part, snapshot, table};

    #[test]
    fn rounds_begin_a_period_after_the_last_one_has_ended() {
        let (period, hour) = (Duration::from_secs(7200), Duration::from_secs(3600));
        let ms = Duration::from_millis;
        let at = |last: Option<u64>, ended_ms| Progress { last: last.map(PartId), ended_ms };
        for (progress, now_ms, expected) in [
            (at(None, None), 0, Duration::ZERO),
            (at(Some(7), None), 0, Duration::ZERO),
            // A round that was broken off goes on, whatever the clock says.
            (at(Some(7), Some(50)), 60, Duration::ZERO),
            (at(None, Some(0)), 7_200_000, Duration::ZERO),
            (at(None, Some(0)), 7_199_999, ms(1)),
            (at(None, Some(0)), 0, hour),
            // The clock was set back.
            (at(None, Some(90_000_000)), 1_000, hour),
        ] {
            assert_eq!(pause(&progress, now_ms, period), expected, "{progress:?} {now_ms}");
        }
        let short = Duration::from_secs(2);
        assert_eq!(pause(&at(None, Some(1_000)), 1_000, short), short);
    }

    #[test]
    fn a_worker_looks_at_its_own_copies_in_turn() {
        let removed = Part { removed: Some(CatalogVersion(3)), ..part(5, 1, &[1]) };
        let shared = PartLocation::Shared { volume: "far".into() };
        let far = Part { location: shared, ..part(6, 1, &[]) };
        let parts = [part(4, 1, &[1, 2]), part(2, 1, &[2]), part(3, 1, &[1]), part(1, 1, &[1, 3])];
        let rows = parts.into_iter().chain([removed, far]).map(Row::Part);
        let rows = [table(None), bucket(&[2, 1], &[1, 2])].into_iter().chain(rows);
        let snapshot = snapshot(rows.collect());
        let ids = |worker, last: Option<u64>| {
            let held = held(&snapshot, WorkerId(worker), last.map(PartId));
            held.into_iter().map(|(part, _)| part.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(1, None), [1, 3, 4]);
        assert_eq!(ids(1, Some(1)), [3, 4]);
        assert_eq!(ids(1, Some(4)), [0; 0]);
        // The leader of a bucket looks at what everybody could.
        assert_eq!(ids(2, None), [2, 4, 6]);
        assert_eq!(ids(9, None), [0; 0]);
    }
}
