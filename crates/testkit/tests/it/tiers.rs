//! Disks and storage policies on real processes: parts move by TTL and by statement while queries
//! run, and everything is there after a kill.

use std::path::Path;
use std::time::Duration;

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

async fn start(mode: Mode) -> TestResult<TestCluster> {
    TestCluster::start_with(mode, |spec| {
        let hdd = spec.folder.join("hdd");
        let far = spec.folder.join("far");
        let disks = format!("{{ hdd = \"{}\", far = \"{}\" }}", hdd.display(), far.display());
        let policies = "{ tiered = [{ volume = \"hot\", disks = [\"default\"] }, \
                        { volume = \"cold\", disks = [\"hdd\", \"far\"] }], \
                        cheap = [{ volume = \"only\", disks = [\"hdd\"] }] }";
        spec.environment.push(("GRANARY_DISKS".to_owned(), disks));
        spec.environment.push(("GRANARY_POLICIES".to_owned(), policies.to_owned()));
    })
    .await
}

/// The disks of a table's visible parts, each once.
async fn disks(client: &mut SqlClient, table: &str) -> TestResult<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT disk_name FROM system.parts WHERE table = '{table}' AND active ORDER BY 1"
    );
    let rows = granary_testkit::format::rows(&client.query(&sql).await?)?;
    Ok(rows.into_iter().flatten().collect())
}

async fn one(client: &mut SqlClient, sql: &str) -> TestResult<String> {
    let rows = granary_testkit::format::rows(&client.query(sql).await?)?;
    Ok(rows.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

async fn wait_for(client: &mut SqlClient, table: &str, expected: &[&str]) -> TestResult {
    let mut found = Vec::new();
    for _ in 0..240 {
        found = disks(client, table).await?;
        if found == expected {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(format!("parts of {table} are on {found:?}, not {expected:?}").into())
}

/// Files below a folder.
fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |path: std::path::PathBuf| if path.is_dir() { files(&path) } else { 1 };
    entries.flatten().map(|entry| of(entry.path())).sum()
}

async fn check(mode: Mode) -> TestResult {
    let cluster = start(mode).await?;
    let mut client = cluster.client(0).await?;
    client
        .update(
            "CREATE TABLE tiers (id Int64, day Date, v Int32) ENGINE = MergeTree \
             PARTITION BY day ORDER BY id DISTRIBUTED BY (id) BUCKETS 2 \
             SETTINGS storage_policy = 'tiered'",
        )
        .await?;
    client
        .update(
            "INSERT INTO tiers SELECT number, toDate('2001-01-01') + intDiv(number, 1000), 1 \
             FROM numbers(2000)",
        )
        .await?;
    client.update("DELETE FROM tiers WHERE id % 10 = 3").await?;
    let total = "SELECT count(*), sum(v), sum(id) FROM tiers";
    let before = one(&mut client, total).await?;
    assert_eq!(disks(&mut client, "tiers").await?, ["default"]);

    // A statement moves one partition; what was deleted stays so.
    client.update("ALTER TABLE tiers MOVE PARTITION '2001-01-01' TO DISK 'hdd'").await?;
    assert_eq!(disks(&mut client, "tiers").await?, ["default", "hdd"]);
    assert_eq!(one(&mut client, total).await?, before);
    assert!(files(&cluster.folder().join("hdd")) >= 3);
    let id = one(
        &mut client,
        "SELECT min(id) FROM system.parts WHERE table = 'tiers' AND active \
         AND disk_name = 'default'",
    )
    .await?;
    client.update(&format!("ALTER TABLE tiers MOVE PART '{id}' TO DISK 'far'")).await?;
    assert_eq!(disks(&mut client, "tiers").await?, ["default", "far", "hdd"]);
    for (sql, expected) in [
        ("ALTER TABLE tiers MOVE PARTITION ALL TO DISK 'nope'", "disk 'nope' is not configured"),
        ("ALTER TABLE tiers MOVE PARTITION ALL TO VOLUME 'only'", "has no volume 'only'"),
        ("ALTER TABLE tiers MOVE PART 99999999 TO DISK 'hdd'", "has no part 99999999"),
        ("ALTER TABLE tiers MODIFY SETTING storage_policy = 'x'", "unknown storage policy 'x'"),
    ] {
        let error = client.update(sql).await.err().ok_or(sql)?;
        assert!(error.to_string().contains(expected), "{sql}: {error}");
    }

    // A TTL moves the rest, while rows are inserted, deleted and read.
    client.update("ALTER TABLE tiers MODIFY TTL day + INTERVAL 1 DAY TO VOLUME 'cold'").await?;
    client.update("DELETE FROM tiers WHERE id % 10 = 4").await?;
    let before = one(&mut client, total).await?;
    for _ in 0..20 {
        assert_eq!(one(&mut client, total).await?, before);
    }
    wait_for(&mut client, "tiers", &["far", "hdd"]).await?;
    assert_eq!(one(&mut client, total).await?, before);
    client.update("INSERT INTO tiers VALUES (5000, '2100-01-01', 1)").await?;
    client.update("OPTIMIZE TABLE tiers FINAL").await?;
    assert!(disks(&mut client, "tiers").await?.contains(&"default".to_owned()), "not due");

    // Of two rules, the one whose time came last counts.
    let before = one(&mut client, total).await?;
    client
        .update(
            "ALTER TABLE tiers MODIFY TTL day + INTERVAL 1 DAY TO VOLUME 'cold', \
             day + INTERVAL 2 DAY TO DISK 'far'",
        )
        .await?;
    wait_for(&mut client, "tiers", &["default", "far"]).await?;
    assert_eq!(one(&mut client, total).await?, before);

    // New rows of another policy go to its first volume at once.
    client
        .update(
            "CREATE TABLE cheap (id Int64) ENGINE = MergeTree ORDER BY id \
             SETTINGS storage_policy = 'cheap'",
        )
        .await?;
    client.update("INSERT INTO cheap VALUES (1), (2)").await?;
    assert_eq!(disks(&mut client, "cheap").await?, ["hdd"]);
    client.update("OPTIMIZE TABLE cheap FINAL").await?;
    assert_eq!(disks(&mut client, "cheap").await?, ["hdd"]);
    assert_eq!(one(&mut client, "SELECT sum(id) FROM cheap").await?, "3");

    let policies = "SELECT volume_name, disks FROM system.storage_policies \
                    WHERE policy_name = 'tiered' ORDER BY volume_priority";
    assert_eq!(one(&mut client, policies).await?, "hot default cold hdd, far");
    let named = "SELECT name, type FROM system.disks ORDER BY name";
    assert_eq!(one(&mut client, named).await?, "default local far local hdd local");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_cluster() -> TestResult {
    check(Mode::Cluster).await
}
