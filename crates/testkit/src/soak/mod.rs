//! A hard life in short: inserts with tokens, deletes, merges and a materialized view go on while
//! processes are killed and started again, and after each round the tables are compared with a
//! model, batch by batch.
//!
//! ```text
//!   writers ─► soak_rows ─view─► soak_counts        every batch once, whole
//!   deleter ─► soak_rows                            whole batches, and they stay away
//!   killer  ─► any process, sometimes all           nothing of it is seen but waiting
//! ```

mod check;
mod model;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use granary_common::random::SeededRandom;
use granary_common::{Clock, Random, SystemClock, TaskOwner};

use crate::{SqlClient, TestCluster, TestResult};

pub use model::{BATCH_ROWS, Model};

/// Between two kills, at least and at most.
const KILL_PAUSE_MS: std::ops::Range<u64> = 500..4_000;
/// One of so many kills takes every process, as a power failure does.
const KILL_ALL_EVERY: u64 = 8;
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub duration: Duration,
    /// After each round the work stops for an exact comparison.
    pub round: Duration,
}

/// What happened, and what was wrong. All of the second kind must be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub rounds: u64,
    pub kills: u64,
    pub inserts_acknowledged: u64,
    /// Answers of batches that were sent again on purpose.
    pub inserts_repeated: u64,
    pub deletes_acknowledged: u64,
    pub queries_answered: u64,
    pub rows_lost: u64,
    pub rows_duplicated: u64,
    /// Rows that were deleted and are there again, or that nobody inserted.
    pub rows_undead: u64,
    /// Batches that the view counts otherwise than they were inserted.
    pub view_differences: u64,
}

impl Summary {
    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        let wrong = [self.rows_lost, self.rows_duplicated, self.rows_undead, self.view_differences];
        wrong == [0; 4]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "inserts acknowledged {}, repeated {}, deletes {}, queries {}, kills {}, checks {}; \
             rows lost {}, duplicated {}, undead {}, view differences {}",
            self.inserts_acknowledged,
            self.inserts_repeated,
            self.deletes_acknowledged,
            self.queries_answered,
            self.kills,
            self.rounds,
            self.rows_lost,
            self.rows_duplicated,
            self.rows_undead,
            self.view_differences
        )
    }
}

/// Runs `plan` on an empty cluster. `tell` gets the summary so far after each round.
///
/// Fails when a statement answers what it may not, or a process does not come back; what is wrong
/// with rows is in the summary.
pub async fn run(
    cluster: &mut TestCluster,
    plan: Plan,
    tell: impl Fn(Duration, &Summary),
) -> TestResult<Summary> {
    create_tables(&mut cluster.client(0).await?).await?;
    let model = Arc::new(Model::default());
    let random = SeededRandom::new(plan.seed);
    let start_ms = SystemClock.monotonic_ms();
    let elapsed = || Duration::from_millis(SystemClock.monotonic_ms() - start_ms);
    let mut summary = Summary::default();
    while elapsed() < plan.duration {
        let tasks = TaskOwner::current();
        let work = work::Work::start(&tasks, cluster.cluster.urls(), &model, random.next_u64());
        let end = (elapsed() + plan.round).min(plan.duration);
        while elapsed() < end {
            kill_and_restart(cluster, &random, &mut summary).await?;
        }
        summary.queries_answered += work.stop().await?;
        tasks.stop(STOP_LIMIT).await;
        model.count(&mut summary);
        check::check(&mut cluster.client(summary.rounds as usize).await?, &model, &mut summary)
            .await?;
        summary.rounds += 1;
        tell(elapsed(), &summary);
    }
    Ok(summary)
}

async fn create_tables(client: &mut SqlClient) -> TestResult {
    for sql in [
        "CREATE TABLE soak_rows (id Int64, writer Int64, batch Int64, text String) \
         ENGINE = MergeTree ORDER BY (writer, batch, id) DISTRIBUTED BY (id) BUCKETS 4",
        "CREATE TABLE soak_counts (writer Int64, batch Int64, n Int64) \
         ENGINE = SummingMergeTree ORDER BY (writer, batch)",
        "CREATE MATERIALIZED VIEW soak_view TO soak_counts AS \
         SELECT writer, batch, count(*) AS n FROM soak_rows GROUP BY writer, batch",
    ] {
        client.update(sql).await?;
    }
    Ok(())
}

async fn kill_and_restart(
    cluster: &mut TestCluster,
    random: &SeededRandom,
    summary: &mut Summary,
) -> TestResult {
    let pause_ms =
        KILL_PAUSE_MS.start + random.next_u64() % (KILL_PAUSE_MS.end - KILL_PAUSE_MS.start);
    SystemClock.sleep(Duration::from_millis(pause_ms)).await;
    summary.kills += 1;
    if random.next_u64().is_multiple_of(KILL_ALL_EVERY) {
        return Ok(cluster.cluster.restart_all().await?);
    }
    let count = cluster.cluster.processes_mut().count() as u64;
    let place = (random.next_u64() % count) as usize;
    let victim = cluster.cluster.processes_mut().nth(place).ok_or("no process")?;
    Ok(victim.restart().await?)
}
