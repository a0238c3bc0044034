//! Which views to refresh now: a pure decision from the catalog and the time.

use std::collections::BTreeSet;

use granary_catalog::Snapshot;
use granary_common::TableId;

/// A view to refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub view: TableId,
    /// Its runs so far: whoever begins the next one first makes it.
    pub runs: u64,
}

/// What to do now, and when to look again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub begin: Vec<Due>,
    /// When the next view that waits is due, always in the future.
    pub next_ms: Option<u64>,
}

/// Views are begun in the order in which they became due, until `running_max` are busy here. What
/// has no room waits: another coordinator may take it.
pub(super) fn plan(
    snapshot: &Snapshot,
    now_ms: u64,
    busy: &BTreeSet<TableId>,
    running_max: usize,
) -> Plan {
    let waiting = snapshot.refreshes.values().filter(|row| !busy.contains(&row.view));
    let mut waiting: Vec<(u64, Due)> = waiting
        .filter_map(|row| Some((row.begins_ms()?, Due { view: row.view, runs: row.runs })))
        .collect();
    waiting.sort_by_key(|(begins_ms, due)| (*begins_ms, due.view));
    let room = running_max.saturating_sub(busy.len());
    let due = waiting.iter().take_while(|(begins_ms, _)| *begins_ms <= now_ms);
    let begin = due.take(room).map(|(_, due)| *due).collect();
    let next = waiting.iter().find(|(begins_ms, _)| *begins_ms > now_ms);
    Plan { begin, next_ms: next.map(|(begins_ms, _)| *begins_ms) }
}

#[cfg(test)]
mod tests {
    use granary_catalog::{Change, RefreshRun, RefreshSchedule, Row, ViewRefresh};
    use granary_common::CatalogVersion;

    use super::*;

    const NOW_MS: u64 = 1_000_000;

    fn row(view: u64, next_ms: u64) -> ViewRefresh {
        let schedule =
            RefreshSchedule { every_ms: 1, offset_ms: 0, after_end: true, starts_empty: false };
        let created = ViewRefresh::created(TableId(view), &schedule, next_ms);
        ViewRefresh { runs: 10 * view, requested: false, ..created }
    }

    fn running(row: ViewRefresh, lease_until_ms: u64) -> ViewRefresh {
        let coordinator = "c".to_owned();
        let (number, started_ms) = (row.runs, 0);
        let run = RefreshRun { number, coordinator, started_ms, lease_until_ms };
        ViewRefresh { running: Some(run), ..row }
    }

    fn check(rows: &[ViewRefresh], busy: &[u64], begin: &[u64], next_ms: Option<u64>) {
        let changes: Vec<Change> =
            rows.iter().map(|row| Change::Put(Row::ViewRefresh(row.clone()))).collect();
        let snapshot = Snapshot::default().with_changes(CatalogVersion(1), &changes);
        let busy = busy.iter().map(|view| TableId(*view)).collect();
        let begin =
            begin.iter().map(|view| Due { view: TableId(*view), runs: 10 * view }).collect();
        assert_eq!(plan(&snapshot, NOW_MS, &busy, 2), Plan { begin, next_ms });
    }

    #[test]
    fn what_is_due_is_begun() {
        let stopped = |row| ViewRefresh { stopped: true, ..row };
        let requested = |row| ViewRefresh { requested: true, ..row };
        let (past, now, future) = (NOW_MS - 1, NOW_MS, NOW_MS + 1);
        check(&[], &[], &[], None);
        check(&[row(1, now)], &[], &[1], None);
        check(&[row(1, future)], &[], &[], Some(future));
        check(&[row(1, future), row(2, past)], &[], &[2], Some(future));
        // Stopped views have no time, but can be asked for.
        check(&[stopped(row(1, past))], &[], &[], None);
        check(&[requested(stopped(row(1, past)))], &[], &[1], None);
        check(&[requested(row(1, future))], &[], &[1], None);
    }

    #[test]
    fn a_run_of_another_coordinator_is_left_alone_until_its_lease_ends() {
        let (past, now, future) = (NOW_MS - 1, NOW_MS, NOW_MS + 7);
        check(&[running(row(1, past), future)], &[], &[], Some(future));
        check(&[running(row(1, past), now)], &[], &[1], None);
        check(&[running(row(1, future), now)], &[], &[], Some(future));
        let requested = ViewRefresh { requested: true, ..running(row(1, past), future) };
        check(&[requested], &[], &[], Some(future));
    }

    #[test]
    fn room_goes_to_what_waits_longest() {
        let past = |ago_ms: u64| NOW_MS - ago_ms;
        let rows = [row(1, past(1)), row(2, past(3)), row(3, past(2)), row(4, past(3))];
        check(&rows, &[], &[2, 4], None);
        check(&rows, &[2], &[4], None);
        check(&rows, &[2, 4], &[], None);
        // A view that is busy here is not begun twice.
        check(&[row(1, past(1))], &[1], &[], None);
    }
}
