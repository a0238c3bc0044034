//! Refreshable views on a cluster: one coordinator runs each refresh, another takes over when it
//! dies or stands still, and every run counts exactly once.

use std::time::Duration;

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

/// Every run adds one row, so rows and committed runs are the same number at every version.
const VIEW: &str = "CREATE MATERIALIZED VIEW ticks REFRESH AFTER 1 SECOND APPEND TO runs AS \
     SELECT sum((a.number * b.number) % 7) AS n FROM numbers(30000) AS a CROSS JOIN numbers(400) AS b";
const EXACTLY_ONCE: &str = "SELECT (SELECT count(*) FROM runs) = successes FROM system.view_refreshes \
     WHERE view = 'ticks'";
const PAUSE: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(60);

async fn number(client: &mut SqlClient, sql: &str) -> TestResult<u64> {
    Ok(client.value(sql).await?.parse()?)
}

/// The identity of coordinator `place`.
async fn identity(cluster: &TestCluster, place: usize) -> TestResult<String> {
    let mut client = cluster.client(place).await?;
    // A query that has ended, so that there is a row.
    client.value("SELECT 1").await?;
    Ok(client.value("SELECT DISTINCT coordinator FROM system.queries").await?)
}

/// Waits until a coordinator is in the middle of a run and gives its identity.
async fn running(client: &mut SqlClient) -> TestResult<String> {
    let runner = "SELECT coordinator FROM system.view_refreshes WHERE view = 'ticks' AND \
                  status = 'Running'";
    let found = async {
        loop {
            if let Some(line) = client.lines(runner).await?.pop() {
                return TestResult::Ok(line);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(WAIT_LIMIT, found).await?
}

/// Waits until two more runs are committed; at every version on the way each counts once.
async fn goes_on(client: &mut SqlClient) -> TestResult {
    let successes = "SELECT successes FROM system.view_refreshes WHERE view = 'ticks'";
    let before = number(client, successes).await?;
    let watched = async {
        loop {
            if client.value(EXACTLY_ONCE).await? != "1" {
                return Err("a run was lost or counts twice".into());
            }
            if number(client, successes).await? >= before + 2 {
                return TestResult::Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(WAIT_LIMIT, watched).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_outlives_its_coordinator() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    client.update("CREATE TABLE runs (n Int64) ENGINE = MergeTree ORDER BY n").await?;
    client.update(VIEW).await?;
    goes_on(&mut client).await?;
    for is_killed in [true, false] {
        let identities = [identity(&cluster, 0).await?, identity(&cluster, 1).await?];
        let runner = running(&mut cluster.client(0).await?).await?;
        let place = identities.iter().position(|own| *own == runner).ok_or("who runs it?")?;
        let victim = &mut cluster.cluster.coordinators[place];
        match is_killed {
            true => victim.kill()?,
            false => victim.pause(true)?,
        }
        let mut survivor = cluster.client(1 - place).await?;
        let taken_over = "SELECT coordinator FROM system.view_refreshes WHERE view = 'ticks'";
        let another = async {
            while survivor.value(taken_over).await? != identities[1 - place] {
                tokio::time::sleep(PAUSE).await;
            }
            TestResult::Ok(())
        };
        tokio::time::timeout(WAIT_LIMIT, another).await??;
        goes_on(&mut survivor).await?;
        let victim = &mut cluster.cluster.coordinators[place];
        match is_killed {
            true => {
                victim.respawn()?;
                victim.wait_ready().await?;
            }
            // It goes on with a run that is not its own any more.
            false => victim.pause(false)?,
        }
        goes_on(&mut survivor).await?;
    }
    client = cluster.client(1).await?;
    client.update("SYSTEM STOP VIEW ticks").await?;
    assert_eq!(client.value(EXACTLY_ONCE).await?, "1");
    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    assert_eq!(client.value(EXACTLY_ONCE).await?, "1");
    client.update("SYSTEM START VIEW ticks").await?;
    goes_on(&mut client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_run_or_another() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    let table = "CREATE TABLE source (id Int64, round Int64) ENGINE = MergeTree ORDER BY id \
                 DISTRIBUTED BY (id) BUCKETS 4";
    client.update(table).await?;
    client.update("INSERT INTO source SELECT number, 0 FROM numbers(1000)").await?;
    let view = "CREATE MATERIALIZED VIEW copied REFRESH AFTER 1 SECOND ENGINE = MergeTree \
                ORDER BY id DISTRIBUTED BY (id) BUCKETS 4 AS SELECT id, round FROM source";
    client.update(view).await?;
    client.update("SYSTEM WAIT VIEW copied").await?;
    let mut reader = cluster.client(1).await?;
    for round in 1..4 {
        client.update(&format!("UPDATE source SET round = {round} WHERE true")).await?;
        client.update("SYSTEM REFRESH VIEW copied").await?;
        let wanted = format!("1000\t1000\t{round}\t{round}");
        let mut seen = String::new();
        for _ in 0..400 {
            let figures = "SELECT count(*), count(DISTINCT id), min(round), max(round) FROM copied";
            seen = reader.lines(figures).await?.pop().ok_or("no row")?;
            let cells: Vec<&str> = seen.split('\t').collect();
            assert!(cells[..2] == ["1000", "1000"] && cells[2] == cells[3], "a mix: {seen}");
            if seen == wanted {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        assert_eq!(seen, wanted);
    }
    Ok(())
}
