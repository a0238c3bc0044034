//! Most of the metadata group is lost: nothing is written, nothing is read that could be old, unless
//! the client says that it may be; and then no row is missing silently.

use std::path::Path;
use std::time::Duration;

use granary_common::TaskOwner;
use granary_testkit::load::{self, Load};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};
use tonic::Code;

const BATCHES: u64 = 5;
const STOP_LIMIT: Duration = Duration::from_secs(10);
const FIGURES: &str = "SELECT count(*), count(DISTINCT id), sum(id) FROM events";

/// A client may try again after either.
fn is_retryable(code: Option<Code>) -> bool {
    matches!(code, Some(Code::Unavailable | Code::DeadlineExceeded))
}

async fn refusal(client: &mut SqlClient, sql: &str) -> TestResult {
    match client.run(sql).await {
        Ok(_) => Err(format!("{sql} went well without a metadata group").into()),
        Err(error) if is_retryable(error.code()) => Ok(()),
        Err(error) => Err(format!("{sql}: {:?}, {error}", error.code()).into()),
    }
}

/// Removes the data of every part below `folder`; gives how many there were.
fn remove_parts(folder: &Path) -> std::io::Result<u64> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            removed += remove_parts(&path)?;
        } else if path.extension().is_some_and(|ending| ending == "vortex") {
            std::fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_only_those_who_allow_it_read_what_is_known() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let tasks = TaskOwner::current();
    let load = Load::start(&tasks, vec![cluster.url(0)?], 0);
    while load.acknowledged() < BATCHES {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let batches = load.stop().await?;
    let known = client.lines(FIGURES).await?;
    assert!(known[0].starts_with(&format!("{}\t", batches * load::BATCH_ROWS)), "{known:?}");

    for member in &mut cluster.cluster.metadata[..2] {
        member.kill()?;
    }
    refusal(&mut client, "INSERT INTO events VALUES (-1, -1, 'late')").await?;
    refusal(&mut client, FIGURES).await?;
    client.update("SET allow_stale_reads = 1").await?;
    assert_eq!(client.lines(FIGURES).await?, known);
    refusal(&mut client, "INSERT INTO events VALUES (-1, -1, 'late')").await?;
    assert_eq!(client.lines(FIGURES).await?, known, "long after the leases ran out");

    // Files that are gone fail the query; nobody answers with the rows that are left.
    let mut removed = 0;
    for worker in &cluster.cluster.workers {
        removed += remove_parts(&worker.spec().data_dir)?;
    }
    assert!(removed > 0, "parts have files");
    match client.lines(FIGURES).await {
        Ok(lines) => assert_eq!(lines, known),
        Err(error) => println!("files that are gone: {error}"),
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_majority_nobody_reads_what_is_old() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let (mut writer, mut reader) = (cluster.client(0).await?, cluster.client(1).await?);
    writer.update("CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id").await?;
    reader.update("SET allow_stale_reads = 1").await?;
    for number in 1..=20 {
        writer.update(&format!("INSERT INTO t VALUES ({number})")).await?;
        let count = reader.value("SELECT count(*) FROM t SETTINGS allow_stale_reads = 1").await?;
        assert_eq!(count, number.to_string());
    }
    Ok(())
}
