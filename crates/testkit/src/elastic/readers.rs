//! Clients of every coordinator whose queries must neither fail nor be wrong while the cluster changes
//! under them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use granary_common::{Clock, SystemClock, TaskOwner};
use tokio::task::JoinHandle;

use crate::load::{BATCH_ROWS, Load, TABLE};
use crate::{SqlClient, TestResult};

const BETWEEN_QUERIES: Duration = Duration::from_millis(30);
/// More of them say nothing new.
const COMPLAINTS_MAX: usize = 20;
/// Latencies that are kept.
const LATENCIES_MAX: usize = 1_000_000;

/// What was seen since the last look.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of each query that was answered, in milliseconds.
    pub latencies_ms: Vec<u64>,
    /// Queries that failed or were wrong, with what they said.
    pub complaints: Vec<String>,
}

impl Seen {
    /// The latency that 99 of 100 queries stay within; 0 without queries.
    pub fn p99_ms(&self) -> u64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or(0)
    }

    /// Fails when any query did.
    pub fn check(&self) -> TestResult {
        match self.complaints.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} queries, first {first}", self.complaints.len()).into()),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p99 of {} queries {} ms", self.latencies_ms.len(), self.p99_ms())
    }
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// Whether the coordinator at each place may be away.
    away: Vec<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    /// Queries beside those of the load's table, each with the lines that it gives at any time.
    constant: Vec<(String, Vec<String>)>,
    seen: parking_lot::Mutex<Seen>,
}

/// The clients.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Option<()>>>,
}

impl Readers {
    /// One client of each coordinator: they count what `load` inserts and ask `constant` queries,
    /// whose answers are taken once at the beginning.
    ///
    /// # Errors
    /// When a query fails at the beginning.
    pub async fn start(
        tasks: &TaskOwner,
        urls: &[String],
        load: &Load,
        constant: &[&str],
    ) -> TestResult<Readers> {
        let mut client = SqlClient::connect(urls.first().ok_or("no coordinator")?).await?;
        let mut answers = Vec::new();
        for sql in constant {
            answers.push(((*sql).to_owned(), client.lines(sql).await?));
        }
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            away: urls.iter().map(|_| AtomicBool::new(false)).collect(),
            acknowledged: load.counter(),
            constant: answers,
            seen: Default::default(),
        });
        let client = |(place, url): (usize, &String)| {
            tasks.spawn(ask_on(Arc::clone(&shared), place, url.clone()))
        };
        let tasks = urls.iter().enumerate().map(client).collect();
        Ok(Readers { shared, tasks })
    }

    /// While a coordinator is stopped and started again, its client waits.
    pub fn set_away(&self, place: usize, away: bool) {
        if let Some(flag) = self.shared.away.get(place) {
            flag.store(away, SeqCst);
        }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.shared.seen.lock())
    }

    /// The clients leave; what they have seen since the last look.
    pub async fn stop(self) -> Seen {
        self.shared.stop.store(true, SeqCst);
        for task in self.tasks {
            // One that was cut off has said what it had to say.
            let _ = task.await;
        }
        std::mem::take(&mut *self.shared.seen.lock())
    }
}

async fn ask_on(shared: Arc<Shared>, place: usize, url: String) {
    let mut client = None;
    let mut turn = 0;
    let is_away = || shared.away[place].load(SeqCst);
    while !shared.stop.load(SeqCst) {
        SystemClock.sleep(BETWEEN_QUERIES).await;
        if is_away() {
            client = None;
            continue;
        }
        turn += 1;
        let begun_ms = SystemClock.monotonic_ms();
        let outcome = ask(&shared, &url, &mut client, turn).await;
        let took_ms = SystemClock.monotonic_ms() - begun_ms;
        let mut seen = shared.seen.lock();
        match outcome {
            Ok(()) if seen.latencies_ms.len() < LATENCIES_MAX => seen.latencies_ms.push(took_ms),
            Ok(()) => {}
            Err(_) if is_away() => client = None,
            Err(error) => {
                client = None;
                if seen.complaints.len() < COMPLAINTS_MAX {
                    seen.complaints.push(format!("through coordinator {place}: {error}"));
                }
            }
        }
    }
}

async fn ask(
    shared: &Shared,
    url: &str,
    client: &mut Option<SqlClient>,
    turn: usize,
) -> TestResult {
    if client.is_none() {
        *client = Some(SqlClient::connect(url).await?);
    }
    let Some(client) = client.as_mut() else { return Ok(()) };
    match turn % (shared.constant.len() + 1) {
        0 => ask_load(shared, client).await,
        other => {
            let (sql, expected) = &shared.constant[other - 1];
            let got = client.lines(sql).await.map_err(|error| format!("{sql}: {error}"))?;
            match got == *expected {
                true => Ok(()),
                false => Err(format!("{sql}: {got:?} instead of {expected:?}").into()),
            }
        }
    }
}

/// Whole batches, each once, and every one that was acknowledged before.
async fn ask_load(shared: &Shared, client: &mut SqlClient) -> TestResult {
    let acknowledged = shared.acknowledged.load(SeqCst);
    let sql = format!("SELECT count(*), count(DISTINCT id) FROM {TABLE}");
    let lines = client.lines(&sql).await.map_err(|error| format!("{sql}: {error}"))?;
    let (rows, distinct) = lines.first().and_then(|line| line.split_once('\t')).ok_or("no line")?;
    let count: u64 = rows.parse()?;
    let is_right =
        rows == distinct && count.is_multiple_of(BATCH_ROWS) && count >= acknowledged * BATCH_ROWS;
    match is_right {
        true => Ok(()),
        false => {
            Err(format!("{rows} rows, {distinct} distinct, {acknowledged} batches before").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn the_slowest_hundredth_is_left_out() {
        let latencies =
            |count: u64| Seen { latencies_ms: (1..=count).collect(), ..Seen::default() };
        for (count, expected) in [(0, 0), (1, 1), (100, 99), (200, 198), (1000, 990)] {
            assert_eq!(latencies(count).p99_ms(), expected, "{count}");
        }
    }
}
