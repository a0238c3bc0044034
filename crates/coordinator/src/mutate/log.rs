//! Mutations that run on this coordinator and the last ones that failed on it. One that is done is
//! in the catalog, where its own commit has put it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use granary_common::{Error, QueryId};
use parking_lot::Mutex;

use super::Removals;

/// Failed mutations that are remembered.
const FAILED_MAX: usize = 1_000;
/// Characters of a statement that are kept.
pub(super) const COMMAND_CHARS_MAX: usize = 1_000;

/// A mutation that runs or has failed.
#[derive(Clone, Debug)]
pub(crate) struct MutationRecord {
    /// The id of its statement.
    pub id: String,
    pub database: String,
    pub table: String,
    /// Cut to a bounded length.
    pub command: String,
    pub created_ms: u64,
    pub is_running: bool,
    pub is_killed: bool,
    /// Parts in which it has found rows so far.
    pub parts: u64,
    /// When the last attempt failed, and why.
    pub failure: Option<(u64, Error)>,
}

#[derive(Debug)]
struct Entry {
    record: Mutex<MutationRecord>,
    is_killed: AtomicBool,
    /// What the attempt that goes on takes away.
    attempt: Mutex<Weak<Removals>>,
}

impl Entry {
    fn snapshot(&self) -> MutationRecord {
        let attempt = self.attempt.lock().upgrade();
        MutationRecord {
            parts: attempt.map_or(0, |removals| removals.part_count()),
            is_killed: self.is_killed.load(Ordering::SeqCst),
            ..self.record.lock().clone()
        }
    }
}

#[derive(Debug, Default)]
struct Entries {
    running: BTreeMap<String, Arc<Entry>>,
    failed: VecDeque<MutationRecord>,
}

/// The mutations of a coordinator that are not done.
#[derive(Debug, Default)]
pub(crate) struct MutationLog {
    entries: Arc<Mutex<Entries>>,
}

impl MutationLog {
    /// Notes that a mutation begins.
    pub fn begin(&self, record: MutationRecord) -> RunningMutation {
        let id = record.id.clone();
        let entry = Arc::new(Entry {
            record: Mutex::new(record),
            is_killed: AtomicBool::new(false),
            attempt: Mutex::default(),
        });
        self.entries.lock().running.insert(id.clone(), Arc::clone(&entry));
        RunningMutation { id, entry, entries: Arc::clone(&self.entries), is_done: false }
    }

    /// Notes that the mutation is to end. Gives whether it runs here.
    pub fn kill(&self, id: &QueryId) -> bool {
        let entry = self.entries.lock().running.get(&id.0).cloned();
        entry.is_some_and(|entry| {
            entry.is_killed.store(true, Ordering::SeqCst);
            true
        })
    }

    /// Those that run, then those that failed, the newest first.
    pub fn list(&self) -> Vec<MutationRecord> {
        let entries = self.entries.lock();
        let mut records: Vec<MutationRecord> =
            entries.running.values().map(|entry| entry.snapshot()).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.created_ms));
        records.extend(entries.failed.iter().rev().cloned());
        records
    }
}

/// A mutation's own entry. Dropping it without [`RunningMutation::done`] means that it failed.
#[derive(Debug)]
pub(crate) struct RunningMutation {
    id: String,
    entry: Arc<Entry>,
    entries: Arc<Mutex<Entries>>,
    is_done: bool,
}

impl RunningMutation {
    /// An attempt begins, which takes these rows away.
    pub fn attempts(&self, removals: &Arc<Removals>) {
        *self.entry.attempt.lock() = Arc::downgrade(removals);
    }

    /// An attempt failed.
    pub fn failed(&self, now_ms: u64, error: &Error) {
        self.entry.record.lock().failure = Some((now_ms, error.clone()));
    }

    /// It is committed, or there was nothing to do.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for RunningMutation {
    fn drop(&mut self) {
        let mut entries = self.entries.lock();
        entries.running.remove(&self.id);
        if self.is_done {
            return;
        }
        let mut record = self.entry.snapshot();
        record.is_running = false;
        if record.failure.is_none() || record.is_killed {
            let why = match record.is_killed {
                true => "KILL MUTATION ended it",
                false => "its statement was cancelled, or its client went away",
            };
            let at_ms = record.failure.as_ref().map_or(record.created_ms, |(at_ms, _)| *at_ms);
            record.failure = Some((at_ms, Error::cancelled(why)));
        }
        while entries.failed.len() >= FAILED_MAX {
            entries.failed.pop_front();
        }
        entries.failed.push_back(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, created_ms: u64) -> MutationRecord {
        MutationRecord {
            id: id.to_owned(),
            database: "default".to_owned(),
            table: "t".to_owned(),
            command: "DELETE FROM t".to_owned(),
            created_ms,
            is_running: true,
            is_killed: false,
            parts: 0,
            failure: None,
        }
    }

    fn check(log: &MutationLog, expected: &[(&str, bool, bool, Option<&str>)]) {
        let records = log.list();
        let found: Vec<(&str, bool, bool, Option<&str>)> = records
            .iter()
            .map(|record| {
                let why = record.failure.as_ref().map(|(_, error)| error.message());
                (record.id.as_str(), record.is_running, record.is_killed, why)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_done_is_left_to_the_catalog() {
        let log = MutationLog::default();
        let (first, second) = (log.begin(record("a", 1)), log.begin(record("b", 2)));
        check(&log, &[("b", true, false, None), ("a", true, false, None)]);
        first.failed(3, &Error::conflict("moved"));
        check(&log, &[("b", true, false, None), ("a", true, false, Some("moved"))]);
        second.done();
        drop(first);
        check(&log, &[("a", false, false, Some("moved"))]);
        let third = log.begin(record("c", 4));
        assert!(log.kill(&QueryId("c".into())) && !log.kill(&QueryId("a".into())));
        drop(third);
        let killed = ("c", false, true, Some("KILL MUTATION ended it"));
        check(&log, &[killed, ("a", false, false, Some("moved"))]);
    }

    #[test]
    fn failures_are_remembered_up_to_a_number() {
        let log = MutationLog::default();
        for number in 0..FAILED_MAX as u64 + 2 {
            drop(log.begin(record(&number.to_string(), number)));
        }
        assert_eq!(log.list().len(), FAILED_MAX);
        assert_eq!(log.list().last().map(|record| record.created_ms), Some(2));
    }
}
