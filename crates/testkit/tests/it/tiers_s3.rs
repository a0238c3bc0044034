//! Parts on a real S3 server: written there, moved there, merged and deleted from there, still there
//! after kills, and gone when nothing needs them.

use std::path::Path;
use std::time::Duration;

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

use super::s3_server::Store;

/// Below which the parts lie in the bucket.
const PARTS: &str = "tiers/parts/";
/// Times that something is looked for, a quarter of a second apart.
const LOOKS_MAX: usize = 480;

async fn start(store: &Store, mode: Mode) -> TestResult<TestCluster> {
    TestCluster::start_with(mode, |spec| {
        store.configure(spec);
        let disks = "{ lake = \"s3://lake/tiers\" }";
        let policies = "{ tiered = [{ volume = \"hot\", disks = [\"default\"] }, \
                        { volume = \"cold\", disks = [\"lake\"] }], \
                        lake = [{ volume = \"only\", disks = [\"lake\"] }] }";
        spec.environment.push(("GRANARY_DISKS".to_owned(), disks.to_owned()));
        spec.environment.push(("GRANARY_POLICIES".to_owned(), policies.to_owned()));
        spec.environment.push(("GRANARY_SWEEP_INTERVAL_S".to_owned(), "2".to_owned()));
    })
    .await
}

async fn all(client: &mut SqlClient, sqls: &[&str]) -> TestResult {
    for sql in sqls {
        client.update(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    Ok(())
}

/// What the rows of both tables add up to.
async fn totals(client: &mut SqlClient) -> TestResult<String> {
    let sql = "SELECT concat(toString((SELECT count(*) * 1000000 + sum(id) FROM tiers)), ' ', \
               toString((SELECT count(*) * 1000000 + sum(v) FROM events FINAL)))";
    Ok(client.value(sql).await?)
}

/// Files in the read caches below `folder`.
fn cached_files(folder: &Path) -> TestResult<usize> {
    let mut files = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("read-cache") {
            files += std::fs::read_dir(&path)?.count();
        } else if path.is_dir() {
            files += cached_files(&path)?;
        }
    }
    Ok(files)
}

async fn wait_for_disk(client: &mut SqlClient, table: &str, disk: &str) -> TestResult {
    let sql = format!(
        "SELECT countIf(disk_name <> '{disk}') FROM system.parts WHERE table = '{table}' AND active"
    );
    for _ in 0..LOOKS_MAX {
        if client.value(&sql).await? == "0" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(format!("parts of {table} do not come to {disk}").into())
}

async fn check(mode: Mode) -> TestResult {
    let store = Store::start()?;
    let mut cluster = start(&store, mode).await?;
    let mut client = cluster.client(0).await?;
    all(
        &mut client,
        &[
            "CREATE TABLE tiers (id Int64, day Date) ENGINE = MergeTree PARTITION BY day ORDER BY id \
             DISTRIBUTED BY (id) BUCKETS 2 SETTINGS storage_policy = 'tiered', \
             history_retention_seconds = 0",
            "CREATE TABLE events (id Int64, v Int64) ENGINE = ReplacingMergeTree ORDER BY id \
             DISTRIBUTED BY (id) BUCKETS 2 SETTINGS storage_policy = 'lake', \
             history_retention_seconds = 0",
            "INSERT INTO tiers SELECT number, toDate('2001-01-01') + intDiv(number, 1000) \
             FROM numbers(2000)",
        ],
    )
    .await?;
    assert_eq!(store.objects(PARTS)?, 0, "no part is there yet");
    all(
        &mut client,
        &[
            "INSERT INTO events SELECT number, 1 FROM numbers(3000)",
            "INSERT INTO events SELECT number, 2 FROM numbers(1000)",
            "DELETE FROM events WHERE id % 10 = 3",
        ],
    )
    .await?;
    assert!(store.objects(PARTS)? >= 6, "new parts go there at once");
    let before = totals(&mut client).await?;
    assert_eq!(before, format!("{} {}", 2_001_999_000_u64, 2_700 * 1_000_000_u64 + 3_600));

    assert!(cached_files(cluster.folder())? > 0, "what was read is kept on the disk");

    // Moves by statement and by TTL, merges, and reads between them.
    client.update("ALTER TABLE tiers MOVE PARTITION '2001-01-01' TO DISK 'lake'").await?;
    assert_eq!(totals(&mut client).await?, before);
    client.update("ALTER TABLE tiers MODIFY TTL day + INTERVAL 1 DAY TO VOLUME 'cold'").await?;
    wait_for_disk(&mut client, "tiers", "lake").await?;
    client.update("OPTIMIZE TABLE events FINAL").await?;
    assert_eq!(totals(&mut client).await?, before);
    assert_eq!(client.value("SELECT count(*) FROM events").await?, "2700", "they are merged");

    // Nothing is lost with the processes.
    drop(client);
    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    assert_eq!(totals(&mut client).await?, before);
    // Else it would move them there again.
    client.update("ALTER TABLE tiers REMOVE TTL").await?;
    client.update("ALTER TABLE tiers MOVE PARTITION '2001-01-02' TO DISK 'default'").await?;
    assert_eq!(totals(&mut client).await?, before);

    // What merges, moves and drops have left behind goes.
    client.update("DROP TABLE events").await?;
    client.update("ALTER TABLE tiers MOVE PARTITION '2001-01-01' TO DISK 'default'").await?;
    drop(client);
    cluster.cluster.restart_all().await?;
    for _ in 0..LOOKS_MAX {
        if store.objects(PARTS)? == 0 {
            let mut client = cluster.client(0).await?;
            assert_eq!(client.value("SELECT count(*) FROM tiers").await?, "2000");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(format!("{} objects are left on the server", store.objects(PARTS)?).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_on_s3_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_on_s3_cluster() -> TestResult {
    check(Mode::Cluster).await
}
