//! Statements that run or ran on this coordinator: what `system.queries` shows and what
//! cancellation finds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use granary_common::{CatalogVersion, Clock, Error, ErrorKind, QueryId, Random};
use granary_sql::without_secrets;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::mutate::MutationLog;

const RUNNING: &str = "granary_coordinator_statements_running";
const STATEMENTS: &str = "granary_coordinator_statements_total";
const ROWS: &str = "granary_coordinator_statement_rows_total";
const SECONDS: &str = "granary_coordinator_statement_seconds";

/// Characters of a statement that are kept.
const STATEMENT_CHARS_MAX: usize = 4096;

/// A statement for people: its beginning, without keys.
pub(crate) fn shown(statement: &str, chars_max: usize) -> String {
    without_secrets(statement).chars().take(chars_max).collect()
}

/// The client waits for us, not we for it.
const BUSY: u64 = u64::MAX;

/// What is known of one statement.
#[derive(Clone, Debug)]
pub struct QueryRecord {
    pub id: QueryId,
    pub user: String,
    pub database: String,
    /// Cut to a bounded length.
    pub statement: String,
    pub started_ms: u64,
    /// `None` while it runs.
    pub ended_ms: Option<u64>,
    /// The version that it reads.
    pub version: Option<CatalogVersion>,
    /// Rows that its client received, or that it wrote.
    pub rows: u64,
    pub error: Option<Error>,
}

/// A running statement.
#[derive(Debug)]
struct Running {
    record: Mutex<QueryRecord>,
    rows: AtomicU64,
    /// When the client last took something, on the monotonic clock; [`BUSY`] while we work.
    touched_ms: AtomicU64,
    cancel: CancellationToken,
    /// Why it was cancelled.
    reason: Mutex<Option<Error>>,
}

#[derive(Debug, Default)]
struct Entries {
    running: BTreeMap<String, Arc<Running>>,
    finished: VecDeque<QueryRecord>,
}

/// The statements of a coordinator.
#[derive(Debug)]
pub struct QueryRegistry {
    entries: Arc<Mutex<Entries>>,
    finished_max: usize,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Those of the statements that change or delete rows.
    pub(crate) mutations: MutationLog,
}

impl QueryRegistry {
    /// A registry that remembers the last `finished_max` statements.
    pub fn new(finished_max: usize, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        describe();
        let mutations = MutationLog::default();
        Self { entries: Arc::default(), finished_max, clock, random, mutations }
    }

    /// A new id.
    pub fn draw_id(&self) -> QueryId {
        QueryId(self.random.next_hex())
    }

    /// Registers a statement that begins now. An `id` that runs already gets another one.
    pub fn begin(&self, id: &QueryId, user: &str, database: &str, statement: &str) -> QueryHandle {
        let mut entries = self.entries.lock();
        let taken = entries.running.contains_key(&id.0);
        let id = if taken { self.draw_id() } else { id.clone() };
        let record = QueryRecord {
            id: id.clone(),
            user: user.to_owned(),
            database: database.to_owned(),
            statement: shown(statement, STATEMENT_CHARS_MAX),
            started_ms: self.clock.now_ms(),
            ended_ms: None,
            version: None,
            rows: 0,
            error: None,
        };
        let running = Arc::new(Running {
            record: Mutex::new(record),
            rows: AtomicU64::new(0),
            touched_ms: AtomicU64::new(BUSY),
            cancel: CancellationToken::new(),
            reason: Mutex::new(None),
        });
        entries.running.insert(id.0.clone(), Arc::clone(&running));
        let count = entries.running.len();
        metrics::gauge!(RUNNING).set(count as f64);
        QueryHandle {
            id,
            running,
            entries: Arc::clone(&self.entries),
            finished_max: self.finished_max,
            clock: Arc::clone(&self.clock),
        }
    }

    /// Cancels a running statement. Gives whether there is one of this id.
    pub fn cancel(&self, id: &QueryId, why: Error) -> bool {
        let running = self.entries.lock().running.get(&id.0).cloned();
        let found = running.is_some();
        running.into_iter().for_each(|running| running.stop(why.clone()));
        found
    }

    /// Cancels every statement.
    pub fn cancel_all(&self, why: &Error) -> usize {
        self.cancel_where(why, |_| true)
    }

    /// Cancels every statement that reads a pinned version.
    pub fn cancel_pinned(&self, why: &Error) -> usize {
        self.cancel_where(why, |running| running.record.lock().version.is_some())
    }

    /// Cancels statements whose client took nothing since `idle_ms`.
    pub fn cancel_idle(&self, idle_ms: u64, why: &Error) -> usize {
        let now_ms = self.clock.monotonic_ms();
        self.cancel_where(why, |running| {
            now_ms.saturating_sub(running.touched_ms.load(Ordering::Relaxed)) > idle_ms
        })
    }

    fn cancel_where(&self, why: &Error, chosen: impl Fn(&Running) -> bool) -> usize {
        let all: Vec<Arc<Running>> = self.entries.lock().running.values().cloned().collect();
        let stopped: Vec<_> = all.into_iter().filter(|running| chosen(running)).collect();
        stopped.iter().for_each(|running| running.stop(why.clone()));
        stopped.len()
    }

    /// Running statements, then finished ones, the newest first.
    pub fn list(&self) -> Vec<QueryRecord> {
        let entries = self.entries.lock();
        let mut records: Vec<QueryRecord> =
            entries.running.values().map(|running| running.snapshot()).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.started_ms));
        records.extend(entries.finished.iter().rev().cloned());
        records
    }

    /// Statements that run now.
    pub fn running(&self) -> usize {
        self.entries.lock().running.len()
    }
}

impl Running {
    fn stop(&self, why: Error) {
        self.reason.lock().get_or_insert(why);
        self.cancel.cancel();
    }

    fn snapshot(&self) -> QueryRecord {
        let rows = self.rows.load(Ordering::Relaxed);
        QueryRecord { rows, ..self.record.lock().clone() }
    }
}

/// A statement's own entry. Dropping it without [`QueryHandle::finish`] means that its client went
/// away.
#[derive(Debug)]
pub struct QueryHandle {
    id: QueryId,
    running: Arc<Running>,
    entries: Arc<Mutex<Entries>>,
    finished_max: usize,
    clock: Arc<dyn Clock>,
}

impl QueryHandle {
    /// The id under which it is listed.
    pub fn id(&self) -> &QueryId {
        &self.id
    }

    /// Cancelled when the statement is to stop, and when it has ended.
    pub fn cancelled(&self) -> CancellationToken {
        self.running.cancel.clone()
    }

    /// Why it is to stop.
    pub fn reason(&self) -> Error {
        let reason = self.running.reason.lock().clone();
        reason.unwrap_or_else(|| Error::cancelled("the query was cancelled"))
    }

    /// Notes the version that it reads.
    pub fn reads(&self, version: CatalogVersion) {
        self.running.record.lock().version = Some(version);
    }

    /// Counts rows that went to the client, or were written.
    pub fn add_rows(&self, rows: u64) {
        self.running.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Notes that it is the client's turn from now on.
    pub fn wait_for_client(&self) {
        self.running.touched_ms.store(self.clock.monotonic_ms(), Ordering::Relaxed);
    }

    /// Notes that it is our turn.
    pub fn busy(&self) {
        self.running.touched_ms.store(BUSY, Ordering::Relaxed);
    }

    /// Runs `work` unless the statement is cancelled first.
    pub async fn run<T>(
        &self,
        work: impl Future<Output = granary_common::Result<T>>,
    ) -> granary_common::Result<T> {
        match self.cancelled().run_until_cancelled(work).await {
            Some(done) => done,
            None => Err(self.reason()),
        }
    }

    /// Notes how it ended.
    pub fn finish(&self, error: Option<&Error>) {
        self.end(error.cloned());
    }

    fn end(&self, error: Option<Error>) {
        let mut entries = self.entries.lock();
        if entries.running.remove(&self.id.0).is_none() {
            return;
        }
        self.running.cancel.cancel();
        let mut record = self.running.snapshot();
        record.ended_ms = Some(self.clock.now_ms());
        record.error = error;
        measure(&record, entries.running.len());
        while entries.finished.len() >= self.finished_max {
            if entries.finished.pop_front().is_none() {
                return;
            }
        }
        entries.finished.push_back(record);
    }
}

/// Their counters are there before the first statement is.
fn describe() {
    use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
    describe_gauge!(RUNNING, "Statements that run now.");
    describe_counter!(STATEMENTS, "Statements that have ended, by their outcome.");
    describe_counter!(ROWS, "Rows that they gave or wrote.");
    describe_histogram!(SECONDS, "How long they took.");
    gauge!(RUNNING).set(0.0);
    counter!(STATEMENTS, "outcome" => "OK").increment(0);
    counter!(ROWS).increment(0);
}

/// What `/metrics` says of statements.
fn measure(record: &QueryRecord, running: usize) {
    let outcome = record.error.as_ref().map_or("OK", |error| error.kind().code());
    metrics::counter!(STATEMENTS, "outcome" => outcome).increment(1);
    metrics::counter!(ROWS).increment(record.rows);
    let elapsed_ms = record.ended_ms.map_or(0, |ended| ended.saturating_sub(record.started_ms));
    metrics::histogram!(SECONDS).record(elapsed_ms as f64 / 1e3);
    metrics::gauge!(RUNNING).set(running as f64);
}

impl Drop for QueryHandle {
    fn drop(&mut self) {
        let cancelled = self.running.cancel.is_cancelled();
        let error = match cancelled {
            true => self.reason(),
            false => Error::new(ErrorKind::Cancelled, "its client went away"),
        };
        self.end(Some(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::TestClock;
    use granary_common::random::SeededRandom;
    use std::time::Duration;

    fn registry(finished_max: usize) -> (QueryRegistry, Arc<TestClock>) {
        let clock = TestClock::at(1_000);
        let random = Arc::new(SeededRandom::new(1));
        (QueryRegistry::new(finished_max, clock.clone(), random), clock)
    }

    fn begin(registry: &QueryRegistry, statement: &str) -> QueryHandle {
        registry.begin(&registry.draw_id(), "ann", "default", statement)
    }

    #[test]
    fn finished_statements_are_remembered_up_to_a_number() {
        let (registry, _) = registry(2);
        for statement in ["a", "b", "c"] {
            begin(&registry, statement).finish(None);
        }
        let statements: Vec<String> =
            registry.list().into_iter().map(|record| record.statement).collect();
        assert_eq!(statements, ["c", "b"]);
    }

    #[tokio::test]
    async fn cancellation_reaches_the_statement_with_its_reason() {
        let (registry, clock) = registry(8);
        let handle = begin(&registry, "select 1");
        assert!(!registry.cancel(&QueryId("unknown".into()), Error::cancelled("x")));
        assert_eq!(registry.cancel_idle(0, &Error::cancelled("idle")), 0, "it is our turn");
        handle.wait_for_client();
        clock.advance(Duration::from_secs(5));
        assert_eq!(registry.cancel_idle(10_000, &Error::cancelled("idle")), 0);
        clock.advance(Duration::from_secs(6));
        assert_eq!(registry.cancel_idle(10_000, &Error::cancelled("idle")), 1);
        let error = handle.run(std::future::pending::<granary_common::Result<()>>()).await;
        assert_eq!(error.unwrap_err().message(), "idle");
        drop(handle);
        assert_eq!(registry.list()[0].error.as_ref().unwrap().message(), "idle");
    }

    #[test]
    fn a_dropped_statement_lost_its_client() {
        let (registry, _) = registry(8);
        drop(begin(&registry, "select 1"));
        assert_eq!(registry.running(), 0);
        assert_eq!(registry.list()[0].error.as_ref().unwrap().kind(), ErrorKind::Cancelled);
    }
}
