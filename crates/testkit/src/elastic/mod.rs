//! A cluster that grows from 3 workers to 6 and shrinks back while rows come in and are asked for.
//!
//! ```text
//!   load ──► events        readers ──► every answer right, none fails, how long each took
//!   3 workers ──► + 3 ──► even ──► drain 3, stop them, forget them ──► even
//!                    tracker ──► bytes that moved, beside the fewest that could
//! ```

mod moves;
pub mod readers;

use std::fmt;
use std::time::Duration;

use granary_common::{Clock, SystemClock, TaskOwner};

use crate::load::{self, Load};
use crate::{Mode, SqlClient, TestCluster, TestResult};

use moves::{Tracker, bytes, bytes_by_worker, bytes_of, replicas, spread_percent};
use readers::{Readers, Seen};

/// Workers that come and go.
const MORE: usize = 3;
/// Buckets of each table: a multiple of what 3 and 6 workers share evenly.
const BUCKETS: u64 = 24;
const MOVED_LIMIT: Duration = Duration::from_secs(300);
const EXIT_LIMIT: Duration = Duration::from_secs(40);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What is asked of the table that nobody writes to.
const CONSTANT: [&str; 2] = [
    "SELECT count(*), sum(id), min(text), max(text) FROM ballast",
    "SELECT id % 7, count(*), sum(length(text)) FROM ballast WHERE id % 3 = 1 GROUP BY 1 ORDER BY 1",
];

/// How large and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rows of the table that is moved beside the one that grows, of some 40 bytes each.
    pub rows: u64,
    /// Time without changes before the workers come and after each change.
    pub quiet: Duration,
}

/// What one change cost.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub moved_bytes: u64,
    /// The fewest that had to move.
    pub least_bytes: u64,
    /// How far workers were from the mean of their bytes at the end.
    pub spread_percent: f64,
    pub took: Duration,
    pub queries: usize,
    pub p99_ms: u64,
}

impl Change {
    /// Bytes that moved, in multiples of the fewest.
    pub fn factor(&self) -> f64 {
        self.moved_bytes as f64 / self.least_bytes.max(1) as f64
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} MiB moved, {:.2} times the fewest; spread {:.1} %; {:.0} s; p99 of {} queries {} ms",
            self.moved_bytes as f64 / f64::from(1 << 20),
            self.factor(),
            self.spread_percent,
            self.took.as_secs_f64(),
            self.queries,
            self.p99_ms
        )
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub grown: Change,
    pub shrunk: Change,
    /// Of queries while nothing changed, on the workers that there were at first.
    pub quiet_p99_ms: u64,
    /// The same on all of them: on one machine they share its processors.
    pub quiet_grown_p99_ms: u64,
    pub queries: usize,
    pub inserts: u64,
}

/// Runs the plan.
///
/// # Errors
/// When a query fails or is wrong, an insert is lost or there twice, or a change does not end.
pub async fn run(plan: Plan, mut report: impl FnMut(&str)) -> TestResult<Summary> {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    create_tables(&mut client, plan.rows).await?;
    let tasks = TaskOwner::current();
    let urls = cluster.cluster.urls();
    let load = Load::start(&tasks, urls.clone(), 0);
    let readers = Readers::start(&tasks, &urls, &load, &CONSTANT).await?;

    SystemClock.sleep(plan.quiet).await;
    let quiet = readers.take();
    quiet.check()?;
    report(&format!("quiet: {quiet}"));
    let grown = change(&mut cluster, &tasks, &readers, Step::Grow).await?;
    report(&format!("3 to 6 workers: {grown}"));
    SystemClock.sleep(plan.quiet).await;
    let quiet_grown = readers.take();
    quiet_grown.check()?;
    report(&format!("quiet with 6 workers: {quiet_grown}"));
    let shrunk = change(&mut cluster, &tasks, &readers, Step::Shrink).await?;
    report(&format!("6 to 3 workers: {shrunk}"));
    SystemClock.sleep(plan.quiet).await;

    let last = readers.stop().await;
    last.check()?;
    let inserts = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, inserts).await?;
    }
    tasks.stop(STOP_LIMIT).await;
    let seen = [&quiet, &quiet_grown, &last].map(|seen| seen.latencies_ms.len());
    Ok(Summary {
        grown,
        shrunk,
        quiet_p99_ms: quiet.p99_ms(),
        quiet_grown_p99_ms: quiet_grown.p99_ms(),
        queries: seen.iter().sum::<usize>() + grown.queries + shrunk.queries,
        inserts,
    })
}

async fn create_tables(client: &mut SqlClient, rows: u64) -> TestResult {
    // Each insert of the load makes one part, on the next bucket.
    let events = format!(
        "CREATE TABLE {} (id Int64, batch Int64, text String) ENGINE = MergeTree ORDER BY id \
         DISTRIBUTED BY rand() BUCKETS {BUCKETS}",
        load::TABLE
    );
    let ballast = format!(
        "CREATE TABLE ballast (id Int64, text String) ENGINE = MergeTree ORDER BY id \
         DISTRIBUTED BY (id) BUCKETS {BUCKETS}"
    );
    let fill = format!(
        "INSERT INTO ballast SELECT number, hex(MD5(toString(number))) FROM numbers({rows})"
    );
    for statement in [events, ballast, fill] {
        client.update(&statement).await?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Grow,
    Shrink,
}

/// Does a step and waits until everything is where it belongs.
async fn change(
    cluster: &mut TestCluster,
    tasks: &TaskOwner,
    readers: &Readers,
    step: Step,
) -> TestResult<Change> {
    let mut client = cluster.client(0).await?;
    let begun_ms = SystemClock.monotonic_ms();
    let before = replicas(&mut client).await?;
    let tracker = Tracker::start(tasks, &cluster.url(1)?).await?;
    readers.take().check()?;
    match step {
        Step::Grow => grow(cluster, &mut client).await?,
        Step::Shrink => drain(&mut client).await?,
    }
    let appeared = tracker.stop().await?;
    let took = Duration::from_millis(SystemClock.monotonic_ms() - begun_ms);
    let seen: Seen = readers.take();
    seen.check()?;

    let (after, bytes) = (replicas(&mut client).await?, bytes(&mut client).await?);
    let held = bytes_by_worker(&after, &bytes);
    let least_bytes = match step {
        // Half of everything, to as many more workers.
        Step::Grow => bytes_of(&before, &bytes) / 2,
        Step::Shrink => bytes_of(before.iter().filter(|(_, id)| *id > MORE as u64), &bytes),
    };
    let change = Change {
        moved_bytes: bytes_of(&appeared, &bytes),
        least_bytes,
        spread_percent: spread_percent(held.into_values()),
        took,
        queries: seen.latencies_ms.len(),
        p99_ms: seen.p99_ms(),
    };
    if step == Step::Shrink {
        stop_drained(cluster, &mut client).await?;
    }
    Ok(change)
}

async fn grow(cluster: &mut TestCluster, client: &mut SqlClient) -> TestResult {
    cluster.cluster.add_workers(MORE).await?;
    // Two replicas of each bucket of two tables on six workers.
    let share = 2 * 2 * BUCKETS / (2 * MORE as u64);
    let even = format!(
        "SELECT count(*) FROM (SELECT worker FROM system.bucket_replicas GROUP BY worker \
         HAVING count(*) = {share}) AS even"
    );
    wait_for(client, &even, &(2 * MORE).to_string()).await?;
    settled(client).await
}

async fn drain(client: &mut SqlClient) -> TestResult {
    for worker in MORE + 1..=2 * MORE {
        client.update(&format!("ALTER SYSTEM DRAIN WORKER {worker}")).await?;
    }
    let emptied =
        "SELECT count(*) FROM system.workers WHERE drained AND parts = 0 AND leads_buckets = 0";
    wait_for(client, emptied, &MORE.to_string()).await?;
    settled(client).await
}

/// The drained workers end, and are forgotten.
async fn stop_drained(cluster: &mut TestCluster, client: &mut SqlClient) -> TestResult {
    for worker in MORE + 1..=2 * MORE {
        let place = cluster.place_of(client, worker).await?;
        let process = &mut cluster.cluster.workers[place];
        process.terminate()?;
        process.wait_exit(EXIT_LIMIT).await?.ok_or("a drained worker does not end")?;
    }
    wait_for(client, "SELECT count(*) FROM system.workers WHERE state = 'dead'", "3").await?;
    for worker in MORE + 1..=2 * MORE {
        client.update(&format!("ALTER SYSTEM DROP WORKER {worker}")).await?;
    }
    wait_for(client, "SELECT count(*) FROM system.workers", &MORE.to_string()).await
}

/// Nothing is on its way, and nothing is anywhere that it need not be.
async fn settled(client: &mut SqlClient) -> TestResult {
    wait_for(client, "SELECT count(*) FROM system.movements", "0").await?;
    let spare = "SELECT count(*) FROM system.parts WHERE active AND copies > 2";
    wait_for(client, spare, "0").await
}

async fn wait_for(client: &mut SqlClient, sql: &str, want: &str) -> TestResult {
    let until_ms = SystemClock.monotonic_ms() + MOVED_LIMIT.as_millis() as u64;
    loop {
        let got = client.value(sql).await?;
        if got == want {
            return Ok(());
        }
        if SystemClock.monotonic_ms() > until_ms {
            return Err(format!("{sql}: {got} instead of {want}").into());
        }
        SystemClock.sleep(LOOK_INTERVAL).await;
    }
}
