//! Leases and the metadata group live on while queries take every core: they have threads of their
//! own.

use std::time::Duration;

use granary_common::TaskOwner;
use granary_testkit::process::Stopwatch;
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

/// It runs for far longer than the test.
const ENDLESS: &str = "SELECT sum(sqrt(a.id * b.id)) AS endless FROM t AS a CROSS JOIN t AS b";
/// Queries at the same time through each coordinator.
const QUERIES: usize = 4;
/// Longer than three leases of workers and one of coordinators, which last 4 and 10 s.
const BUSY: Duration = Duration::from_secs(14);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// An answer beside so much work; without threads of their own, nothing would be answered at all.
const ENDED: &str = "SELECT count(*) FROM system.queries WHERE state <> 'running' \
                     AND query LIKE 'SELECT sum(sqrt(a.id * b.id)) AS endless%'";
const ALIVE: &str = "SELECT id, state, incarnation FROM system.workers ORDER BY id";
/// A worker that was taken for dead gave its buckets to others, in the next epoch.
const BUCKETS: &str = "SELECT bucket, leader, epoch FROM system.buckets WHERE table = 't' \
                       ORDER BY bucket";
const LEADER: &str = "SELECT id FROM system.metadata_nodes WHERE is_leader";

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let mut watchers = Vec::new();
    for place in 0..cluster.cluster.coordinators.len() {
        watchers.push(cluster.client(place).await?);
    }
    for sql in [
        "CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id \
         DISTRIBUTED BY (id) BUCKETS 6",
        "INSERT INTO t SELECT number, 'n' || number FROM numbers(400000)",
    ] {
        watchers[0].update(sql).await?;
    }
    let before = state(&mut watchers[0]).await?;
    let tasks = TaskOwner::current();
    for place in 0..watchers.len() * QUERIES {
        let mut client = cluster.client(place).await?;
        for set in mode.settings() {
            client.update(set).await?;
        }
        tasks.spawn(async move { client.query(ENDLESS).await.map(drop) });
    }
    let began = Stopwatch::start();
    while began.elapsed() < BUSY {
        for watcher in &mut watchers {
            assert_eq!(state(watcher).await?, before, "after {:?}", began.elapsed());
            assert_eq!(watcher.value(ENDED).await?, "0", "queries were cancelled");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let running = ENDED.replace("<>", "=");
    for watcher in &mut watchers {
        assert_eq!(watcher.value(&running).await?, QUERIES.to_string());
    }
    for process in cluster.cluster.coordinators.iter().chain(&cluster.cluster.workers) {
        let log = process.log_since_start();
        let lost = log.lines().find(|line| line.contains("the lease ran out"));
        assert_eq!(lost, None, "{}", process.name());
    }
    tasks.stop(Duration::from_secs(10)).await;
    Ok(())
}

/// What changes when a worker is taken for dead or another metadata node leads.
async fn state(client: &mut SqlClient) -> TestResult<Vec<String>> {
    let mut all = client.lines(ALIVE).await?;
    all.extend(client.lines(BUCKETS).await?);
    all.extend(client.lines(LEADER).await?);
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_live_through_busy_queries_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_live_through_busy_queries_cluster() -> TestResult {
    check(Mode::Cluster).await
}
