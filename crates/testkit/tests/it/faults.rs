//! Killing processes during load and queries, restarts, and a worker that joins: what was
//! acknowledged is there exactly once.

use std::time::Duration;

use futures::StreamExt;
use granary::cluster::Cluster;
use granary_common::TaskOwner;
use granary_testkit::load::{self, Load};
use granary_testkit::{Mode, SqlClient, SqlError, TestCluster, TestResult, bulk};
use tonic::Code;

use super::wait_for;

const WHILE: Duration = Duration::from_secs(2);
/// Rounds of 1, 2, 3... seconds: 45 s together.
const RECOVERY_ROUNDS: u64 = 9;
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Batches of a table whose whole content is a long result.
const RESULT_BATCHES: u64 = 4000;
/// Without a row for so long, a stream hangs.
const STREAM_LIMIT: Duration = Duration::from_secs(60);

/// Kills and restarts processes one after the other, under load and queries, and checks that
/// nothing is lost and nothing is twice.
async fn check_kills(mode: Mode, victims: fn(&mut Cluster) -> &mut Vec<Victim>) -> TestResult {
    let mut cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let tasks = TaskOwner::current();
    let load = Load::start(&tasks, cluster.cluster.urls(), 0);
    let urls = cluster.cluster.urls();
    tokio::time::sleep(WHILE).await;
    for place in 0..victims(&mut cluster.cluster).len() {
        let before = load.acknowledged();
        victims(&mut cluster.cluster)[place].kill()?;
        query_for(&urls, &load, WHILE).await?;
        victims(&mut cluster.cluster)[place].respawn()?;
        victims(&mut cluster.cluster)[place].wait_ready().await?;
        check_recovery(&urls, &load, before).await?;
    }
    let batches = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

type Victim = granary::cluster::ProcessHandle;

/// Soon after a restart, queries are answered and inserts acknowledged again.
async fn check_recovery(urls: &[String], load: &Load, before: u64) -> TestResult {
    let mut answered = 0;
    // Longer each time: by then the load has made thousands of parts, and a query that reads all of
    // them on a busy machine may take seconds.
    for limit_s in 1..=RECOVERY_ROUNDS {
        answered += query_for(urls, load, Duration::from_secs(limit_s)).await?;
        if answered > 0 && load.acknowledged() > before {
            return Ok(());
        }
    }
    let acknowledged = load.acknowledged() - before;
    Err(format!("after a restart: {answered} queries answered, {acknowledged} inserts").into())
}

/// Queries through every coordinator in turn until `limit` has passed, each in a new session.
/// Returns how many were answered.
async fn query_for(urls: &[String], load: &Load, limit: Duration) -> TestResult<u32> {
    let mut answered = 0;
    let queries = async {
        for url in urls.iter().cycle() {
            // A coordinator that is away is what this is about.
            if let Ok(mut client) = SqlClient::connect(url).await {
                answered += u32::from(load::check_snapshot(&mut client, load).await?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        TestResult::Ok(())
    };
    match tokio::time::timeout(limit, queries).await {
        Ok(failed) => failed.map(|()| 0),
        Err(_) => Ok(answered),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_loses_nothing() -> TestResult {
    check_kills(Mode::Cluster, |cluster| &mut cluster.workers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_coordinators_loses_nothing() -> TestResult {
    check_kills(Mode::Cluster, |cluster| &mut cluster.coordinators).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_metadata_nodes_loses_nothing() -> TestResult {
    check_kills(Mode::Cluster, |cluster| &mut cluster.metadata).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_embedded_server_loses_nothing() -> TestResult {
    check_kills(Mode::Embedded, |cluster| &mut cluster.coordinators).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_everything_loses_nothing() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    load::create_table(&mut cluster.client(0).await?).await?;
    let tasks = TaskOwner::current();
    let load = Load::start(&tasks, cluster.cluster.urls(), 0);
    tokio::time::sleep(WHILE).await;
    // The power fails while rows come in; the load goes on when it is back.
    cluster.cluster.restart_all().await?;
    let before = load.acknowledged();
    tokio::time::sleep(2 * WHILE).await;
    let batches = load.stop().await?;
    assert!(batches > before, "no insert was acknowledged after the restart");
    load::check_exactly_once(&mut cluster.client(0).await?, batches).await?;
    // And once more without anything going on.
    cluster.cluster.restart_all().await?;
    load::check_exactly_once(&mut cluster.client(1).await?, batches).await?;
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_every_process_in_good_order() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    load::create_table(&mut cluster.client(0).await?).await?;
    cluster.cluster.stop(Duration::from_secs(40)).await?;
    for process in cluster.cluster.processes_mut() {
        let status = process.exit_status()?.ok_or("still running")?;
        assert!(status.success(), "{} ended with {status}", process.name());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_worker_joins() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let tasks = TaskOwner::current();
    let load = Load::start(&tasks, cluster.cluster.urls(), 0);
    cluster.cluster.add_worker().await?;
    wait_for(&mut client, "SELECT count(*) FROM system.workers", "4").await?;
    client
        .update(
            "CREATE TABLE wide (id Int64) ENGINE = MergeTree ORDER BY id \
             DISTRIBUTED BY (id) BUCKETS 8",
        )
        .await?;
    let leaders = "SELECT count(DISTINCT leader) FROM system.buckets WHERE table = 'wide'";
    assert_eq!(client.value(leaders).await?, "4", "the new worker gets buckets of new tables");
    let rows = format!("INSERT INTO wide SELECT id FROM {}", load::TABLE);
    while load.acknowledged() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.update(&rows).await?;
    let same = "SELECT count(*) = count(DISTINCT id) AND count(*) >= 500 FROM wide";
    assert_eq!(client.value(same).await?, "1");
    let batches = load.stop().await?;
    load::check_exactly_once(&mut cluster.client(1).await?, batches).await?;
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_a_result_cuts_no_rows_silently() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let numbers: Vec<u64> = (0..RESULT_BATCHES).collect();
    for batches in numbers.chunks(1000) {
        let rows =
            batches.iter().map(|number| load::batch(*number)).collect::<Result<Vec<_>, _>>()?;
        let url = cluster.url(0)?;
        bulk::insert(&url, bulk::header(load::TABLE, ""), &rows).await?;
    }
    // Small inputs are read by one task; here every worker takes its part.
    client.update("SET distributed_scan_bytes_min = 0").await?;
    // About 1 KiB a row: far more than what buffers on the way hold.
    let wide = format!("SELECT id, repeat(text, 100) AS text FROM {}", load::TABLE);
    let mut stream = client.stream(&wide).await?;
    let first = stream.next().await.ok_or("no row came")??;
    cluster.cluster.workers[1].kill()?;
    let mut rows = first.num_rows() as u64;
    let failed = loop {
        match tokio::time::timeout(STREAM_LIMIT, stream.next()).await? {
            Some(Ok(batch)) => rows += batch.num_rows() as u64,
            Some(Err(error)) => break Some(SqlError::from(error)),
            None => break None,
        }
    };
    match failed {
        Some(error) => assert_eq!(error.code(), Some(Code::Unavailable), "{error}"),
        None => assert_eq!(rows, RESULT_BATCHES * load::BATCH_ROWS, "the result was cut"),
    }
    cluster.cluster.workers[1].respawn()?;
    cluster.cluster.workers[1].wait_ready().await?;
    let all = (RESULT_BATCHES * load::BATCH_ROWS).to_string();
    wait_for(&mut cluster.client(1).await?, "SELECT count(*) FROM events", &all).await
}
