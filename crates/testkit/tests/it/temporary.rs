//! Temporary tables: each session has its own, and they go with it or with its coordinator.

use std::time::Duration;

use granary_testkit::{Mode, TestCluster, TestResult};

/// The lease of a coordinator that is gone ends in the meantime.
const LOOKS_MAX: usize = 600;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How many tables called `kept` there are in all sessions.
const LEFT: &str = "SELECT count(*) FROM system.table_history \
                    WHERE table = 'kept' AND dropped_version IS NULL";

async fn check(mode: Mode) -> TestResult {
    let mut cluster = TestCluster::start(mode).await?;
    let mut first = cluster.client(0).await?;
    let mut second = cluster.client(0).await?;
    for client in [&mut first, &mut second] {
        for set in mode.settings() {
            client.update(set).await?;
        }
    }
    first.update("CREATE TABLE kept (id Int64) ENGINE = MergeTree ORDER BY id").await?;
    first.update("INSERT INTO kept VALUES (1)").await?;
    first.update("CREATE TEMPORARY TABLE kept AS SELECT number AS id FROM numbers(10)").await?;
    second.update("CREATE TEMP TABLE kept (id Int64)").await?;
    assert_eq!(first.value("SELECT count(*) FROM kept").await?, "10");
    assert_eq!(second.value("SELECT count(*) FROM kept").await?, "0");
    assert_eq!(second.value(LEFT).await?, "3");
    for database in ["SHOW DATABASES", "SELECT name FROM system.databases WHERE name LIKE '_temp%'"]
    {
        let names = cluster.client(0).await?.lines(database).await?;
        assert!(names.iter().all(|name| !name.contains("temporary")), "{names:?}");
    }

    cluster.cluster.coordinators[0].restart().await?;
    let mut third = cluster.client(0).await?;
    let mut left = String::new();
    for _ in 0..LOOKS_MAX {
        left = third.value(LEFT).await?;
        if left == "1" {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert_eq!(left, "1", "tables of sessions that are gone");
    assert_eq!(third.lines("SELECT id FROM kept").await?, ["1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_tables_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_tables_cluster() -> TestResult {
    check(Mode::Cluster).await
}
