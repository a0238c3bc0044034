//! A cluster that is mistreated while rows come in: processes are killed and stopped in their
//! tracks, hosts are cut off and lose packets, a disk fills, one thing after the other and sometimes
//! two at once. What is promised is watched all the while: acknowledged rows are there once, also in
//! the view, and no query sees less than what was acknowledged before it began.
//!
//! ```text
//!   writer ──► events ─view─► events_by_batch ◄── readers, one a coordinator
//!   faults ──► kill -9 · SIGSTOP · link down · packet loss · full disk, of any process
//! ```

mod faults;
mod hosts;
mod watch;

use std::time::Duration;

use granary_common::random::SeededRandom;
use granary_common::{Clock, SystemClock, TaskOwner};

use crate::load::{self, Load};
use crate::{Mode, SqlClient, TestCluster, TestResult};

pub use faults::{Fault, FaultKind, next_faults};
pub use hosts::Hosts;
pub use watch::{Summary, Watch};

/// Writes and reads go on again so soon after a fault is over.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// Between a recovery and the next fault.
const QUIET: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const VIEW: &str = "CREATE MATERIALIZED VIEW events_by_batch ENGINE = SummingMergeTree ORDER BY batch \
     AS SELECT batch, count(*) AS rows FROM events GROUP BY batch";

/// How long and which run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Chooses faults, victims and times.
    pub seed: u64,
    /// Of the whole; the fault that is going on then is still healed.
    pub duration: Duration,
}

/// Mistreats a cluster on `hosts` as `plan` says. `report` is called once a minute and at the end.
///
/// # Errors
/// When the cluster does not start, or does not recover from a fault.
pub async fn run(
    hosts: &Hosts,
    plan: Plan,
    mut report: impl FnMut(Duration, &Summary),
) -> TestResult<Summary> {
    let mut cluster = TestCluster::start_with(Mode::Cluster, |spec| hosts.place(spec)).await?;
    let urls = cluster.cluster.urls();
    let mut client = SqlClient::connect(&urls[0]).await?;
    load::create_table(&mut client).await?;
    client.update(VIEW).await?;

    let tasks = TaskOwner::current();
    let load = Load::start(&tasks, urls.clone(), 0);
    let watch = Watch::start(&tasks, &urls, &load);
    let outcome = mistreat(&mut cluster, hosts, plan, &watch, &mut report).await;
    let stopped = load.stop().await;
    watch.stop();
    outcome?;
    let batches = stopped?;
    let mut summary = watch.summary();
    for url in &urls {
        watch::check_all(&mut SqlClient::connect(url).await?, batches, &mut summary).await?;
    }
    report(plan.duration, &summary);
    tasks.stop(STOP_LIMIT).await;
    Ok(summary)
}

async fn mistreat(
    cluster: &mut TestCluster,
    hosts: &Hosts,
    plan: Plan,
    watch: &Watch,
    report: &mut impl FnMut(Duration, &Summary),
) -> TestResult {
    let random = SeededRandom::new(plan.seed);
    let began_ms = SystemClock.monotonic_ms();
    let elapsed = || Duration::from_millis(SystemClock.monotonic_ms() - began_ms);
    let mut minutes = 0;
    while elapsed() < plan.duration {
        let faults = next_faults(&random, &cluster.cluster);
        let words: Vec<String> = faults.iter().map(Fault::to_string).collect();
        for fault in &faults {
            fault.begin(&mut cluster.cluster, hosts)?;
        }
        let length = faults.iter().map(|fault| fault.length).max().unwrap_or_default();
        SystemClock.sleep(length).await;
        for fault in &faults {
            fault.end(&mut cluster.cluster, hosts)?;
        }
        cluster.cluster.wait_ready().await?;
        watch.count_faults(faults.len() as u64);
        recover(watch).await.map_err(|error| format!("after {}: {error}", words.join(" and ")))?;
        SystemClock.sleep(QUIET).await;
        if elapsed().as_secs() / 60 > minutes {
            minutes = elapsed().as_secs() / 60;
            report(elapsed(), &watch.summary());
        }
    }
    Ok(())
}

/// Waits until both a write and a query through every coordinator have gone well.
async fn recover(watch: &Watch) -> TestResult {
    let before = watch.progress();
    let until_ms = SystemClock.monotonic_ms() + RECOVERY_LIMIT.as_millis() as u64;
    while !watch.progress().is_past(&before) {
        if SystemClock.monotonic_ms() > until_ms {
            let limit_s = RECOVERY_LIMIT.as_secs();
            let what = watch.progress().lacking(&before).join(", ");
            return Err(format!("no {what} within {limit_s} s").into());
        }
        SystemClock.sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}
