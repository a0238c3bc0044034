//! Servers and clusters whose part files are in an object store (the setting `volume`): nothing of them
//! is on a disk, and all of them are there after a kill.

use std::path::Path;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_parts_are_on_s3_loses_nothing() -> TestResult {
    check_nothing_is_lost(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_parts_are_on_s3_loses_nothing() -> TestResult {
    check_nothing_is_lost(Mode::Cluster).await
}
