//! What is seen of the cluster while it is mistreated: how long writes and reads stood still, and
//! whether an answer ever was wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use granary_common::{Clock, SystemClock, TaskOwner};

use crate::load::{BATCH_ROWS, Load};
use crate::{SqlClient, TestResult};

const BETWEEN_QUERIES: Duration = Duration::from_millis(50);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A client gives a query up after so long and asks again.
const QUERY_LIMIT: Duration = Duration::from_secs(20);
/// The table and its view, seen by one query at one version.
const LOOK: &str = "SELECT (SELECT count(*) FROM events), (SELECT count(DISTINCT id) FROM events), \
     (SELECT coalesce(sum(rows), 0) FROM events_by_batch)";

/// What happened. `lost`, `duplicated`, `stale` and `torn` must be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Faults that are over.
    pub faults: u64,
    /// Inserts of 100 rows.
    pub inserts_acknowledged: u64,
    /// Acknowledged rows that are not there at the end.
    pub rows_lost: u64,
    /// Rows that are there more often than once, at any time.
    pub rows_duplicated: u64,
    /// Queries that missed rows that were acknowledged before they began.
    pub stale_reads: u64,
    /// Queries that saw part of an insert, or the table and its view at different versions.
    pub torn_reads: u64,
    /// Queries that were answered.
    pub queries_answered: u64,
    /// Queries that failed, with an error, while something was wrong.
    pub queries_failed: u64,
    /// The longest time without an acknowledgement.
    pub write_gap_ms: u64,
    /// The longest time without an answer through a coordinator.
    pub read_gap_ms: u64,
}

impl Summary {
    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        [self.rows_lost, self.rows_duplicated, self.stale_reads, self.torn_reads] == [0; 4]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "faults {}, inserts acknowledged {}, rows lost {}, duplicated {}, stale reads {}, torn {}; \
             queries answered {}, failed {}; longest write gap {:.1} s, read gap {:.1} s",
            self.faults,
            self.inserts_acknowledged,
            self.rows_lost,
            self.rows_duplicated,
            self.stale_reads,
            self.torn_reads,
            self.queries_answered,
            self.queries_failed,
            self.write_gap_ms as f64 / 1e3,
            self.read_gap_ms as f64 / 1e3,
        )
    }
}

/// How far writes and the reads of each coordinator have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    writes: u64,
    reads: Vec<u64>,
}

impl Progress {
    /// Whether everything has gone on since `before`.
    pub fn is_past(&self, before: &Progress) -> bool {
        self.lacking(before).is_empty()
    }

    /// What has not.
    pub fn lacking(&self, before: &Progress) -> Vec<String> {
        let writes = (self.writes == before.writes).then(|| "write".to_owned());
        let pairs = self.reads.iter().zip(&before.reads).enumerate();
        let reads = pairs.filter(|(_, (now, then))| now == then);
        writes
            .into_iter()
            .chain(reads.map(|(at, _)| format!("query of coordinator {at}")))
            .collect()
    }
}

/// Counters that the watchers share.
#[derive(Debug, Default)]
struct Counters {
    faults: AtomicU64,
    duplicated: AtomicU64,
    stale: AtomicU64,
    torn: AtomicU64,
    failed: AtomicU64,
    write_gap_ms: AtomicU64,
    read_gap_ms: AtomicU64,
    stop: AtomicBool,
}

/// Readers of every coordinator, and an eye on the writer.
#[derive(Debug)]
pub struct Watch {
    counters: Arc<Counters>,
    acknowledged: Arc<AtomicU64>,
    answered: Vec<Arc<AtomicU64>>,
}

impl Watch {
    /// Begins to watch.
    pub fn start(tasks: &TaskOwner, urls: &[String], load: &Load) -> Watch {
        let counters = Arc::new(Counters::default());
        let acknowledged = load.counter();
        let mut answered = Vec::new();
        for url in urls {
            let count = Arc::new(AtomicU64::new(0));
            answered.push(Arc::clone(&count));
            let reader = Reader {
                url: url.clone(),
                acknowledged: Arc::clone(&acknowledged),
                answered: count,
                counters: Arc::clone(&counters),
            };
            tasks.spawn(reader.run());
        }
        tasks.spawn(watch_writes(Arc::clone(&acknowledged), Arc::clone(&counters)));
        Watch { counters, acknowledged, answered }
    }

    /// The watchers leave.
    pub fn stop(&self) {
        self.counters.stop.store(true, SeqCst);
    }

    /// Notes that so many more faults are over.
    pub fn count_faults(&self, faults: u64) {
        self.counters.faults.fetch_add(faults, SeqCst);
    }

    /// How far everything has come.
    pub fn progress(&self) -> Progress {
        let reads = self.answered.iter().map(|count| count.load(SeqCst)).collect();
        Progress { writes: self.acknowledged.load(SeqCst), reads }
    }

    /// What was seen so far.
    pub fn summary(&self) -> Summary {
        let counters = &self.counters;
        Summary {
            faults: counters.faults.load(SeqCst),
            inserts_acknowledged: self.acknowledged.load(SeqCst),
            rows_lost: 0,
            rows_duplicated: counters.duplicated.load(SeqCst),
            stale_reads: counters.stale.load(SeqCst),
            torn_reads: counters.torn.load(SeqCst),
            queries_answered: self.answered.iter().map(|count| count.load(SeqCst)).sum(),
            queries_failed: counters.failed.load(SeqCst),
            write_gap_ms: counters.write_gap_ms.load(SeqCst),
            read_gap_ms: counters.read_gap_ms.load(SeqCst),
        }
    }
}

async fn watch_writes(acknowledged: Arc<AtomicU64>, counters: Arc<Counters>) {
    let (mut last, mut since_ms) = (0, SystemClock.monotonic_ms());
    while !counters.stop.load(SeqCst) {
        SystemClock.sleep(LOOK_INTERVAL).await;
        let (now, now_ms) = (acknowledged.load(SeqCst), SystemClock.monotonic_ms());
        counters.write_gap_ms.fetch_max(now_ms - since_ms, SeqCst);
        if now != last {
            (last, since_ms) = (now, now_ms);
        }
    }
}

/// What one query saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    rows: u64,
    distinct: u64,
    in_view: u64,
}

impl Seen {
    async fn ask(client: &mut SqlClient) -> Option<Seen> {
        let lines = client.lines(LOOK).await.ok()?;
        let numbers: Vec<u64> =
            lines.first()?.split('\t').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [rows, distinct, in_view] = numbers[..] else { return None };
        Some(Seen { rows, distinct, in_view })
    }

    fn count(self, acknowledged_before: u64, counters: &Counters) {
        let is_torn = self.rows != self.in_view || !self.distinct.is_multiple_of(BATCH_ROWS);
        counters.duplicated.fetch_max(self.rows.saturating_sub(self.distinct), SeqCst);
        counters.torn.fetch_add(u64::from(is_torn), SeqCst);
        let is_stale = self.distinct < acknowledged_before * BATCH_ROWS;
        counters.stale.fetch_add(u64::from(is_stale), SeqCst);
        if is_torn || is_stale || self.rows != self.distinct {
            println!("a query saw {self:?} after {acknowledged_before} batches");
        }
    }
}

/// Asks one coordinator again and again, as a client that connects anew after an error.
struct Reader {
    url: String,
    acknowledged: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    counters: Arc<Counters>,
}

impl Reader {
    async fn run(self) {
        let mut client = None;
        let mut since_ms = SystemClock.monotonic_ms();
        while !self.counters.stop.load(SeqCst) {
            let before = self.acknowledged.load(SeqCst);
            let seen = tokio::time::timeout(QUERY_LIMIT, self.ask(&mut client)).await;
            if self.counters.stop.load(SeqCst) {
                return;
            }
            let now_ms = SystemClock.monotonic_ms();
            self.counters.read_gap_ms.fetch_max(now_ms - since_ms, SeqCst);
            match seen.ok().flatten() {
                Some(seen) => {
                    seen.count(before, &self.counters);
                    self.answered.fetch_add(1, SeqCst);
                    since_ms = now_ms;
                }
                None => {
                    self.counters.failed.fetch_add(1, SeqCst);
                    client = None;
                }
            }
            SystemClock.sleep(BETWEEN_QUERIES).await;
        }
    }

    async fn ask(&self, client: &mut Option<SqlClient>) -> Option<Seen> {
        if client.is_none() {
            *client = Some(SqlClient::connect(&self.url).await.ok()?);
        }
        Seen::ask(client.as_mut()?).await
    }
}

/// Compares what is there at the end with the batches that were acknowledged.
pub async fn check_all(client: &mut SqlClient, batches: u64, summary: &mut Summary) -> TestResult {
    let seen = Seen::ask(client).await.ok_or("no answer at the end")?;
    let rows = batches * BATCH_ROWS;
    summary.rows_lost = summary.rows_lost.max(rows.saturating_sub(seen.distinct));
    summary.rows_duplicated = summary.rows_duplicated.max(seen.rows.saturating_sub(seen.distinct));
    summary.torn_reads += u64::from(seen.in_view != seen.rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted() {
        // Rows, distinct, in the view, acknowledged batches; duplicated, stale, torn.
        for (seen, acknowledged, wanted) in [
            ((300, 300, 300), 3, [0, 0, 0]),
            ((400, 400, 400), 3, [0, 0, 0]),
            ((200, 200, 200), 3, [0, 1, 0]),
            ((301, 300, 301), 3, [1, 0, 0]),
            ((350, 350, 350), 3, [0, 0, 1]),
            ((400, 400, 300), 3, [0, 0, 1]),
        ] {
            let counters = Counters::default();
            let (rows, distinct, in_view) = seen;
            Seen { rows, distinct, in_view }.count(acknowledged, &counters);
            let counted = [&counters.duplicated, &counters.stale, &counters.torn];
            assert_eq!(counted.map(|counter| counter.load(SeqCst)), wanted, "{seen:?}");
        }
    }

    #[test]
    fn a_recovery_needs_writes_and_every_coordinator() {
        let before = Progress { writes: 5, reads: vec![7, 8] };
        let now = Progress { writes: 6, reads: vec![7, 9] };
        assert_eq!(now.lacking(&before), ["query of coordinator 0"]);
        assert!(Progress { writes: 6, reads: vec![8, 9] }.is_past(&before));
        assert_eq!(before.lacking(&before).len(), 3);
    }
}
