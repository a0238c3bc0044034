//! The past: which versions can be read, when they were, and what may be forgotten.
//!
//! A part that was replaced stays, files included, until its table's history has passed it. Forgetting
//! takes two steps, each a command of its own:
//!
//! ```text
//!   readable_from ──► refuses older readers        settled ──► what older readers need goes
//!        ▲ moves up to min(pinned, now - retention)      ▲ takes over the last readable_from
//! ```
//!
//! Deletions in files are forgotten by later commits, up to what the last step has forgotten.
//!
//! So whoever has a version pinned by a heartbeat that was answered, and afterwards still finds
//! `readable_from` at or below it, is safe: a command that was decided before the heartbeat forgets
//! no more than what was refused already, and one that is decided after it knows the pin.

use std::collections::BTreeMap;
use std::sync::Arc;

use granary_common::{CatalogVersion, Error, Result};

use crate::model::{EarlierTable, Part, Table, TableOptions};
use crate::snapshot::{Snapshot, TableState};

/// The table's setting that says for how many seconds its earlier versions are kept.
pub const RETENTION_SETTING: &str = "history_retention_seconds";
/// Retention of a table that says nothing: as long as ClickHouse keeps replaced parts.
pub const RETENTION_S_DEFAULT: u64 = 480;
/// The longest retention: 90 days.
pub const RETENTION_S_MAX: u64 = 90 * 24 * 3600;

/// Moments that are kept whatever their age.
const NEWEST_KEPT: usize = 20_000;
/// Ages up to which one moment is kept of each so many milliseconds, the last one.
const SLOTS: [(u64, u64); 4] = [
    (60_000, 1),
    (3_600_000, 1_000),
    (7 * 24 * 3_600_000, 60_000),
    ((RETENTION_S_MAX + 24 * 3600) * 1000, 3_600_000),
];
/// Moments that one command forgets at most.
const FORGOTTEN_AT_ONCE: usize = 10_000;

/// A point of the past as a query names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Past {
    Version(CatalogVersion),
    /// Milliseconds since the epoch.
    TimeMs(u64),
}

/// For how long earlier versions of a table with `settings` are kept.
pub fn retention_ms(settings: &BTreeMap<String, String>) -> u64 {
    let set = settings.get(RETENTION_SETTING).and_then(|text| text.parse().ok());
    set.unwrap_or(RETENTION_S_DEFAULT).min(RETENTION_S_MAX) * 1000
}

/// A table as it was.
#[derive(Clone, Debug)]
pub struct PastTable {
    pub version: CatalogVersion,
    pub table: Arc<Table>,
}

/// What the next step does to a table's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryStep {
    pub readable_from: CatalogVersion,
    /// What was replaced, dropped or changed at this version or before is forgotten.
    pub forget: CatalogVersion,
}

impl Snapshot {
    /// The oldest version at which a table can be read.
    pub fn readable_from(&self, state: &TableState) -> CatalogVersion {
        // Tables of an earlier build: they get a history with the first step.
        state.history.as_ref().map_or(self.version, |history| history.readable_from)
    }

    /// The newest version that had taken effect by then; `None` before all that is known.
    pub fn version_at(&self, time_ms: u64) -> Option<CatalogVersion> {
        let known = self.moments.iter().rev().find(|(_, at)| **at <= time_ms);
        known.map(|(version, _)| *version)
    }

    /// When `version` took effect, or the next one that is known.
    pub fn time_of(&self, version: CatalogVersion) -> Option<u64> {
        self.moments.range(version..).next().map(|(_, at)| *at)
    }

    /// What a table was at `version`.
    pub fn definition_at(&self, state: &TableState, version: CatalogVersion) -> Arc<Table> {
        let changed = state.earlier.range(CatalogVersion(version.0 + 1)..).next();
        match changed {
            // Where rows are is not of the past: a part is in the bucket that its row says, and the
            // table as it is knows them all.
            Some((_, earlier)) => Arc::new(Table {
                buckets: state.table.buckets,
                options: TableOptions {
                    layout: state.table.options.layout.clone(),
                    ..earlier.definition.options.clone()
                },
                ..earlier.definition.clone()
            }),
            None => Arc::clone(&state.table),
        }
    }

    /// The table of `state` at a point of the past.
    ///
    /// Kind `InvalidInput` when it is not kept or has not come, `NotFound` when the table was not
    /// there yet.
    pub fn past(&self, state: &TableState, past: Past) -> Result<PastTable> {
        let name = &state.table.name;
        let from = self.readable_from(state).max(state.table.created);
        let version = match past {
            Past::Version(version) if version > self.version => {
                return Err(Error::invalid(format!(
                    "there is no version {version} yet; the newest is {}",
                    self.version
                )));
            }
            Past::Version(version) => version,
            Past::TimeMs(time_ms) => match self.version_at(time_ms) {
                Some(version) => version.min(self.version),
                None => return Err(self.not_kept(state, "of that time")),
            },
        };
        if version < state.table.created {
            return Err(Error::not_found(format!(
                "table '{name}' was not there at version {version}; it was created at version {}",
                state.table.created
            )));
        }
        if version < from {
            return Err(self.not_kept(state, &format!("{version}")));
        }
        Ok(PastTable { version, table: self.definition_at(state, version) })
    }

    fn not_kept(&self, state: &TableState, version: &str) -> Error {
        let from = self.readable_from(state).max(state.table.created);
        let time = match self.time_of(from) {
            Some(time_ms) => format!(" of {}", granary_common::units::display_time_ms(time_ms)),
            None => String::new(),
        };
        Error::invalid(format!(
            "version {version} of table '{}' is not kept any more; the oldest is version {from}{time} \
             ({RETENTION_SETTING} = {})",
            state.table.name,
            retention_ms(&state.table.settings) / 1000
        ))
    }

    /// Whether [`crate::CommandBody::AdvanceHorizon`] would forget something, or begin to.
    pub fn can_forget(&self, pinned: CatalogVersion, now_ms: u64) -> bool {
        self.tables.values().any(|state| self.history_step(state, pinned, now_ms).is_some())
            || self.excess_moments(now_ms).len() >= FORGOTTEN_AT_ONCE / 10
    }

    /// The next step of a table's history; `None` when it would bring nothing.
    pub(crate) fn history_step(
        &self,
        state: &TableState,
        pinned: CatalogVersion,
        now_ms: u64,
    ) -> Option<HistoryStep> {
        let horizon = self.cluster.as_ref().map_or(CatalogVersion(0), |cluster| cluster.horizon);
        let (from, settled, forgotten) = match &state.history {
            Some(history) => (history.readable_from, history.settled, history.forgotten),
            None => (horizon, horizon, horizon),
        };
        let retention_ms = retention_ms(&state.table.settings);
        let due = match retention_ms {
            0 => Some(pinned),
            _ => self.version_at(now_ms.saturating_sub(retention_ms)),
        };
        let readable_from = due.map_or(from, |due| due.min(pinned).max(from));
        let forget = settled.min(pinned);
        let advances = readable_from > settled;
        let goes = |at: CatalogVersion| at <= forget || (advances && at <= readable_from);
        let is_due = |part: &Part| {
            let is_unseen = !part.detached && part.removed.is_some_and(goes);
            // The first vector is needed only below the second one.
            let second = part.deletions.get(1).map(|vector| vector.since);
            is_unseen || second.is_some_and(|since| since > forgotten && goes(since))
        };
        let is_useful = state.table.dropped.is_some_and(goes)
            || state.earlier.keys().next().is_some_and(|until| goes(*until))
            || state.parts.values().any(|part| is_due(part));
        let forget = forget.max(forgotten);
        is_useful.then_some(HistoryStep { readable_from, forget })
    }

    /// Moments that are not needed to tell times as exactly as they are told, the oldest first: the
    /// newest ones and those of the last minute are all kept, then the last one of each second for an
    /// hour, of each minute for a week, and of each hour.
    pub(crate) fn excess_moments(&self, now_ms: u64) -> Vec<CatalogVersion> {
        let known = self.moments.len();
        let mut excess = Vec::new();
        let mut moments = self.moments.iter().enumerate().peekable();
        while let Some((place, (version, at))) = moments.next() {
            let Some((_, (_, next_at))) = moments.peek() else { break };
            let age_ms = now_ms.saturating_sub(*at);
            let slot = SLOTS.iter().find(|(age_ms_max, _)| age_ms <= *age_ms_max);
            // Of times that are in no slot any more, one is enough.
            let slot_ms = slot.map_or(u64::MAX, |(_, slot_ms)| *slot_ms);
            let is_last = at.div_ceil(slot_ms) != next_at.div_ceil(slot_ms);
            let is_new = slot_ms == 1 && place + NEWEST_KEPT >= known;
            let is_kept = match slot_ms {
                1 => is_new || at.div_ceil(1_000) != next_at.div_ceil(1_000),
                _ => is_last,
            };
            if !is_kept {
                excess.push(*version);
            }
            if excess.len() == FORGOTTEN_AT_ONCE {
                break;
            }
        }
        excess
    }
}

/// Definitions of a table that are kept.
pub(crate) const DEFINITIONS_MAX: usize = 100;

/// The definitions that are too many, the oldest first.
pub(crate) fn excess_definitions(state: &TableState) -> Vec<Arc<EarlierTable>> {
    let excess = (state.earlier.len() + 1).saturating_sub(DEFINITIONS_MAX);
    state.earlier.values().take(excess).map(Arc::clone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Moment;
    use crate::row::{Change, Row};

    fn with_moments(moments: impl IntoIterator<Item = (u64, u64)>) -> Snapshot {
        let row = |(version, time_ms)| {
            Change::Put(Row::Moment(Moment { version: CatalogVersion(version), time_ms }))
        };
        let changes: Vec<Change> = moments.into_iter().map(row).collect();
        Snapshot::default().with_changes(CatalogVersion(1_000_000), &changes)
    }

    #[test]
    fn a_time_is_the_newest_version_by_then() {
        let snapshot = with_moments([(3, 100), (7, 200), (9, 200), (12, 300)]);
        for (time_ms, version) in
            [(99, None), (100, Some(3)), (199, Some(3)), (200, Some(9)), (1_000, Some(12))]
        {
            let found = snapshot.version_at(time_ms).map(|version| version.0);
            assert_eq!(found, version, "{time_ms}");
        }
        assert_eq!(snapshot.time_of(CatalogVersion(4)), Some(200));
        assert_eq!(snapshot.time_of(CatalogVersion(13)), None);
    }

    #[test]
    fn old_times_are_told_to_the_second_then_to_the_minute_then_to_the_hour() {
        const HOUR: u64 = 3_600_000;
        let now = 1_000 * HOUR;
        // Two moments in one second, minute or hour: the first one goes; the end of one belongs to it.
        for (age_ms, slot_ms, thinned) in [
            (30_000, 1, false),
            (HOUR / 2, 1_000, true),
            (24 * HOUR, 60_000, true),
            (240 * HOUR, HOUR, true),
        ] {
            let end = (now - age_ms).div_ceil(slot_ms) * slot_ms;
            let first = end - slot_ms / 2;
            let moments = [(1, first), (2, end), (3, end + 1), (4, now)];
            let excess = with_moments(moments).excess_moments(now);
            let expected: Vec<CatalogVersion> =
                if thinned { vec![CatalogVersion(1)] } else { Vec::new() };
            assert_eq!(excess, expected, "{age_ms}");
        }
    }

    #[test]
    fn moments_are_bounded() {
        let now = 2_000_000;
        let many = NEWEST_KEPT as u64 + 5_000;
        let snapshot = with_moments((0..many).map(|nth| (nth + 1, now - 1_000)));
        assert_eq!(snapshot.excess_moments(now).len(), 5_000);
    }
}
