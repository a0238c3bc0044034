//! Servers and clusters whose part files are in an object store (the setting `volume`): nothing of them
//! is on a disk, and all of them are there after a kill.

use std::path::Path;
use std::time::Duration;

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

use super::s3_server::Store;

const ROWS: &str = "SELECT count(*), sum(id), count(DISTINCT name), max(name) FROM t";

/// Files of rows below a folder.
fn files_of_rows(folder: &Path) -> TestResult<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found += files_of_rows(&path)?;
        } else if path.extension().is_some_and(|ending| ending == "vortex") {
            found += 1;
        }
    }
    Ok(found)
}

async fn check(client: &mut SqlClient, expected: &str) -> TestResult {
    assert_eq!(client.lines(ROWS).await?, [expected]);
    let few = "SELECT id, name FROM t WHERE id IN (7, 29999) ORDER BY id";
    assert_eq!(client.lines(few).await?, ["7\tname 7", "29999\tname 29999"]);
    Ok(())
}

async fn check_nothing_is_lost(mode: Mode) -> TestResult {
    let store = Store::start()?;
    let mut cluster = TestCluster::start_with(mode, |spec| {
        store.configure(spec);
        let volume = "s3://lake/below/here".to_owned();
        spec.environment.push(("GRANARY_VOLUME".to_owned(), volume));
    })
    .await?;
    let mut client = cluster.client(0).await?;
    let table = "CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id \
                 DISTRIBUTED BY (id) BUCKETS 2";
    client.update(table).await?;
    assert_eq!(store.objects("")?, store.objects("below/here/")?, "only below the prefix");
    let insert = "INSERT INTO t SELECT number, concat('name ', toString(number)) FROM numbers";
    client.update(&format!("{insert}(20000)")).await?;
    client.update(&format!("{insert}(20000, 10000)")).await?;
    let expected = "30000\t449985000\t30000\tname 9999";
    check(&mut client, expected).await?;
    assert!(store.objects("below/here/")? >= 4, "two inserts into two buckets");
    assert_eq!(store.objects("")?, store.objects("below/here/")?, "only below the prefix");
    assert_eq!(files_of_rows(cluster.folder())?, 0, "a part is on a disk of this machine");
    let wrong = "SELECT count(*) FROM system.parts WHERE active AND disk_name = 'default'";
    assert_eq!(client.value(wrong).await?, "0");
    drop(client);

    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    check(&mut client, expected).await?;
    // It goes on from there: merges read and write there, too.
    client.update("INSERT INTO t VALUES (-1, 'one more')").await?;
    client.update("OPTIMIZE TABLE t FINAL").await?;
    client.update("DELETE FROM t WHERE id = -1").await?;
    drop(client);
    cluster.cluster.restart_all().await?;
    check(&mut cluster.client(0).await?, expected).await?;
    assert_eq!(files_of_rows(cluster.folder())?, 0, "a part is on a disk of this machine");
    Ok(())
}

/// Rows that lose so many, so scattered, that each deletion is a file of its own.
const MANY_ROWS: u64 = 400_000;
/// Times that something is looked for, a quarter of a second apart.
const LOOKS_MAX: usize = 240;

/// The store has so many files of deletions, soon.
async fn wait_for_deletions(store: &Store, expected: usize) -> TestResult {
    let mut found = 0;
    for _ in 0..LOOKS_MAX {
        found = store.deletion_files("below/here/")?;
        if found == expected {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(format!("{found} files of deletions are on the server, not {expected}").into())
}

/// Files of deletions that later ones replaced go, beside parts that stay, and none that a clone, a
/// restored table or a reader needs.
async fn check_replaced_deletions_go(mode: Mode) -> TestResult {
    let store = Store::start()?;
    let cluster = TestCluster::start_with(mode, |spec| {
        store.configure(spec);
        spec.environment.push(("GRANARY_VOLUME".to_owned(), "s3://lake/below/here".to_owned()));
        spec.environment.push(("GRANARY_SWEEP_INTERVAL_S".to_owned(), "1".to_owned()));
    })
    .await?;
    let mut client = cluster.client(0).await?;
    let table = "CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id DISTRIBUTED BY (id) BUCKETS 1 \
                 SETTINGS history_retention_seconds = 60";
    client.update(table).await?;
    client.update("SYSTEM STOP MERGES t").await?;
    client.update(&format!("INSERT INTO t SELECT number FROM numbers({MANY_ROWS})")).await?;
    client.update("DELETE FROM t WHERE id % 3 = 1").await?;
    let version = client.value("SELECT max(version) FROM system.versions").await?;
    let lines = "SELECT count(*), sum(id)";
    let first = client.lines(&format!("{lines} FROM t")).await?;
    client.update("DELETE FROM t WHERE id % 5 = 1").await?;
    client.update("DELETE FROM t WHERE id % 7 = 1").await?;
    let now = client.lines(&format!("{lines} FROM t")).await?;
    assert_eq!(
        store.deletion_files("below/here/")?,
        3,
        "within the table's retention all are kept"
    );
    let then = client.lines(&format!("{lines} FROM t AS OF VERSION {version}")).await?;
    assert_eq!(then, first);
    client.update(&format!("CREATE TABLE c CLONE t AT(VERSION => {version})")).await?;
    client.update("SYSTEM STOP MERGES c").await?;

    client.update("ALTER TABLE t MODIFY SETTING history_retention_seconds = 0").await?;
    client.update("ALTER TABLE c MODIFY SETTING history_retention_seconds = 0").await?;
    wait_for_deletions(&store, 2).await?;
    assert_eq!(client.lines(&format!("{lines} FROM c")).await?, first, "the clone's stay");
    assert_eq!(client.lines(&format!("{lines} FROM t")).await?, now);
    client.update("DROP TABLE c").await?;
    wait_for_deletions(&store, 1).await?;
    assert_eq!(client.lines(&format!("{lines} FROM t")).await?, now);
    client.update("DELETE FROM t WHERE id % 11 = 1").await?;
    wait_for_deletions(&store, 1).await?;
    let wrong =
        "SELECT count(*) FROM t WHERE id % 3 = 1 OR id % 5 = 1 OR id % 7 = 1 OR id % 11 = 1";
    assert_eq!(client.value(wrong).await?, "0");
    let damaged = "SELECT count(*) FROM system.parts WHERE damage IS NOT NULL";
    assert_eq!(client.value(damaged).await?, "0");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_deletions_go_from_s3_embedded() -> TestResult {
    check_replaced_deletions_go(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_deletions_go_from_s3_cluster() -> TestResult {
    check_replaced_deletions_go(Mode::Cluster).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_parts_are_on_s3_loses_nothing() -> TestResult {
    check_nothing_is_lost(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_parts_are_on_s3_loses_nothing() -> TestResult {
    check_nothing_is_lost(Mode::Cluster).await
}
