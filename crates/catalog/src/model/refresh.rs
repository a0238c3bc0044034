//! When the query of a refreshable view runs, and how that went.

use granary_common::{Error, ErrorKind, TableId};
use serde::{Deserialize, Serialize};

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
const WEEK_MS: u64 = 7 * DAY_MS;
/// From the epoch, a Thursday, to the first Monday: weeks begin there.
const MONDAY_MS: u64 = 4 * DAY_MS;
/// The longest pause after a refresh that failed.
const RETRY_PAUSE_MS_MAX: u64 = 60 * SECOND_MS;
/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 500;

/// When a view is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshSchedule {
    /// Milliseconds from one run to the next, at least 1.
    pub every_ms: u64,
    /// By how much the runs of `EVERY` are later than the clock's round times.
    #[serde(default)]
    pub offset_ms: u64,
    /// `AFTER`: counted from the end of the run before, else by the clock, in UTC.
    #[serde(default)]
    pub after_end: bool,
    /// `EMPTY`: the first run is not at the view's creation but when it is due.
    #[serde(default)]
    pub starts_empty: bool,
}

impl RefreshSchedule {
    /// When the run after one that ended at `ended_ms` is due. Times that passed while it ran are
    /// left out.
    pub fn next_ms(&self, ended_ms: u64) -> u64 {
        let every_ms = self.every_ms.max(1);
        if self.after_end {
            return ended_ms.saturating_add(every_ms);
        }
        let monday_ms = if every_ms.is_multiple_of(WEEK_MS) { MONDAY_MS } else { 0 };
        let anchor_ms = monday_ms.saturating_add(self.offset_ms) % every_ms;
        let passed_ms = ended_ms.saturating_add(every_ms - anchor_ms) % every_ms;
        ended_ms.saturating_add(every_ms - passed_ms)
    }
}

/// The schedule of a view as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRefresh {
    pub view: TableId,
    /// When the next run is due, in milliseconds since the epoch.
    pub next_ms: u64,
    /// Whether the schedule is stopped; a run that is asked for is made all the same.
    pub stopped: bool,
    /// Whether a run was asked for, by a statement or by the view's creation, and has not ended.
    pub requested: bool,
    /// Runs begun so far. The number of a run fences it: a later one takes its right to commit.
    pub runs: u64,
    /// Runs that were committed.
    pub successes: u64,
    pub running: Option<RefreshRun>,
    pub last_success: Option<RefreshSuccess>,
    /// Of the run that failed last, unless one succeeded since.
    pub last_failure: Option<RefreshFailure>,
    /// Runs that failed since the last one that succeeded.
    pub failures: u32,
}

/// A run that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRun {
    pub number: u64,
    /// The identity of the coordinator that makes it.
    pub coordinator: String,
    pub started_ms: u64,
    /// Unless it is renewed, another coordinator may begin the next run from then on.
    pub lease_until_ms: u64,
}

/// A run that was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshSuccess {
    pub coordinator: String,
    pub started_ms: u64,
    pub ended_ms: u64,
    /// Rows that it wrote.
    pub rows: u64,
}

/// A run that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshFailure {
    pub coordinator: String,
    pub started_ms: u64,
    pub ended_ms: u64,
    /// The code of its kind.
    pub code: String,
    pub message: String,
}

impl RefreshFailure {
    /// The error as its run had it.
    pub fn error(&self) -> Error {
        Error::new(ErrorKind::from_code(&self.code).unwrap_or(ErrorKind::Internal), &self.message)
    }
}

impl ViewRefresh {
    /// A view that was created at `now_ms`.
    pub fn created(view: TableId, schedule: &RefreshSchedule, now_ms: u64) -> Self {
        let next_ms = match schedule.starts_empty {
            true => schedule.next_ms(now_ms),
            false => now_ms,
        };
        Self {
            view,
            next_ms,
            stopped: false,
            requested: !schedule.starts_empty,
            runs: 0,
            successes: 0,
            running: None,
            last_success: None,
            last_failure: None,
            failures: 0,
        }
    }

    /// From when on a run may begin, as things are; `None`: not before something changes.
    pub fn begins_ms(&self) -> Option<u64> {
        let due_ms = match (self.requested, self.stopped) {
            (true, _) => 0,
            (false, false) => self.next_ms,
            (false, true) => return None,
        };
        let free_ms = self.running.as_ref().map_or(0, |run| run.lease_until_ms);
        Some(due_ms.max(free_ms))
    }

    /// Notes that the run that goes on has failed; gives it again when there is none.
    pub(crate) fn fail(&mut self, schedule: &RefreshSchedule, now_ms: u64, error: &Error) {
        let Some(run) = self.running.take() else { return };
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(RefreshFailure {
            coordinator: run.coordinator,
            started_ms: run.started_ms,
            ended_ms: now_ms,
            code: error.kind().code().to_owned(),
            message: error.message().chars().take(ERROR_CHARS_MAX).collect(),
        });
        self.requested = false;
        let again_ms = now_ms.saturating_add(retry_pause_ms(self.failures));
        self.next_ms = schedule.next_ms(now_ms).min(again_ms);
    }
}

/// The pause before a refresh that failed `failures` times in a row is tried again.
fn retry_pause_ms(failures: u32) -> u64 {
    let doubled = SECOND_MS << failures.saturating_sub(1).min(6);
    doubled.min(RETRY_PAUSE_MS_MAX)
}

/// One step in the life of a refreshable view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshStep {
    /// A coordinator begins a run. Of several that try at the same time one does.
    Begin {
        coordinator: String,
        /// The runs that it knew of.
        runs: u64,
        lease_ms: u64,
    },
    /// The coordinator that makes this run is still at it.
    Renew {
        run: u64,
        lease_ms: u64,
    },
    /// The run failed; `code` is that of the error's kind.
    Fail {
        run: u64,
        code: String,
        message: String,
    },
    /// A run is asked for, now.
    Request,
    /// Runs by schedule end, with the one that goes on.
    Stop,
    Start,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    /// Wednesday, 2023-11-15, at midnight.
    const MIDNIGHT_MS: u64 = 1_700_006_400_000;

    #[test]
    fn a_run_is_due_by_the_clock_or_after_the_one_before() {
        let schedule = |every_ms, offset_ms, after_end| RefreshSchedule {
            every_ms,
            offset_ms,
            after_end,
            starts_empty: false,
        };
        let midnight = MIDNIGHT_MS;
        // (schedule, end of the last run, next one)
        let cases = [
            (schedule(HOUR_MS, 0, false), midnight + 1, midnight + HOUR_MS),
            // One that ended on time does not run twice.
            (schedule(HOUR_MS, 0, false), midnight, midnight + HOUR_MS),
            (schedule(HOUR_MS, 0, false), midnight - 1, midnight),
            // What passed while a run went on is left out.
            (schedule(HOUR_MS, 0, false), midnight + 5 * HOUR_MS + 1, midnight + 6 * HOUR_MS),
            (schedule(HOUR_MS, 600_000, false), midnight + 1, midnight + 600_000),
            (schedule(HOUR_MS, 600_000, false), midnight + 600_000, midnight + HOUR_MS + 600_000),
            (schedule(DAY_MS, 3 * HOUR_MS, false), midnight + HOUR_MS, midnight + 3 * HOUR_MS),
            // Weeks begin on Mondays.
            (schedule(WEEK_MS, 0, false), midnight, midnight + 5 * DAY_MS),
            (schedule(2_000, 0, false), midnight + 999, midnight + 2_000),
            (schedule(HOUR_MS, 0, true), midnight + 17, midnight + 17 + HOUR_MS),
            (schedule(0, 0, false), 5, 6),
        ];
        for (schedule, ended_ms, expected) in cases {
            assert_eq!(schedule.next_ms(ended_ms), expected, "{schedule:?} after {ended_ms}");
        }
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        let pauses: Vec<u64> = (1..9).map(|failures| retry_pause_ms(failures) / 1_000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry_pause_ms(u32::MAX), RETRY_PAUSE_MS_MAX);
    }
}
