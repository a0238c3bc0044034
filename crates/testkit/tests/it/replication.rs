//! Copies of parts on several workers: a worker that is gone for good costs neither rows nor answers,
//! and one that was only silent never commits what it prepared before.

use std::time::Duration;

use granary_common::{Clock, SystemClock, TaskOwner};
use granary_testkit::load::{self, Load};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

/// Long enough for a worker to be found dead and for its buckets to be led by others.
const FAILOVER_LIMIT: Duration = Duration::from_secs(30);
/// Long enough for copies to be made of what a worker held.
const COPIES_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Parts of queries that have fewer copies on live workers than they should.
const MISSING_COPIES: &str = "SELECT count(*) FROM system.parts WHERE active AND live_copies < 2";
const SPARE_COPIES: &str = "SELECT count(*) FROM system.parts WHERE active AND copies > 2";
const OUT_OF_SYNC: &str = "SELECT count(*) FROM system.bucket_replicas WHERE NOT is_in_sync";

/// A cluster of 3 workers that gives up a dead one after 3 seconds.
async fn start() -> TestResult<TestCluster> {
    TestCluster::start_with(Mode::Cluster, |spec| {
        spec.environment.push(("GRANARY_REPLACE_AFTER_S".to_owned(), "3".to_owned()));
    })
    .await
}

async fn wait_for(client: &mut SqlClient, sql: &str, want: &str, limit: Duration) -> TestResult {
    let until_ms = SystemClock.monotonic_ms() + limit.as_millis() as u64;
    let mut got = String::new();
    while SystemClock.monotonic_ms() < until_ms {
        // A query may fail while a worker is away; that is looked at elsewhere.
        if let Ok(value) = client.value(sql).await {
            if value == want {
                return Ok(());
            }
            got = value;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Err(format!("{sql}: {got} instead of {want} after {} s", limit.as_secs()).into())
}

/// Waits until `load` has brought in `more` batches.
async fn wait_for_batches(load: &Load, more: u64, limit: Duration) -> TestResult {
    let want = load.acknowledged() + more;
    let until_ms = SystemClock.monotonic_ms() + limit.as_millis() as u64;
    while load.acknowledged() < want {
        if SystemClock.monotonic_ms() > until_ms {
            let got = load.acknowledged();
            return Err(format!("{got} of {want} batches in {} s", limit.as_secs()).into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// A cluster into which rows go.
struct Loaded {
    cluster: TestCluster,
    client: SqlClient,
    tasks: TaskOwner,
    urls: Vec<String>,
    load: Load,
}

/// One that has taken so many batches.
async fn loaded(batches: u64) -> TestResult<Loaded> {
    let cluster = start().await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let tasks = TaskOwner::current();
    let urls = cluster.cluster.urls();
    let load = Load::start(&tasks, urls.clone(), 0);
    wait_for_batches(&load, batches, FAILOVER_LIMIT).await?;
    Ok(Loaded { cluster, client, tasks, urls, load })
}

/// Queries, each within the time that a failover takes and none of them failing.
async fn check_queries(urls: &[String], load: &Load, queries: usize) -> TestResult {
    for url in urls.iter().cycle().take(queries) {
        let mut client = SqlClient::connect(url).await?;
        let answered = load::check_snapshot(&mut client, load);
        match tokio::time::timeout(FAILOVER_LIMIT, answered).await? {
            Ok(true) => {}
            Ok(false) => {
                let figures = format!("SELECT count(*) FROM {}", load::TABLE);
                let error = client.lines(&figures).await.err();
                return Err(format!("a query failed; the next one: {error:?}").into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_lost_for_good_costs_neither_rows_nor_answers() -> TestResult {
    let Loaded { mut cluster, mut client, tasks, urls, load } = loaded(20).await?;
    assert_eq!(client.value(MISSING_COPIES).await?, "0", "copies are there before the answer");

    cluster.cluster.workers[1].kill()?;
    check_queries(&urls, &load, 6).await?;
    wait_for_batches(&load, 20, FAILOVER_LIMIT).await?;
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    wait_for(&mut client, OUT_OF_SYNC, "0", COPIES_LIMIT).await?;
    let batches = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }

    // The copies are what they are said to be: the last worker alone has everything.
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    cluster.cluster.workers[0].kill()?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    let load = Load::start(&tasks, urls.clone(), batches);
    wait_for_batches(&load, 5, FAILOVER_LIMIT).await?;
    let batches = load.stop().await?;
    load::check_exactly_once(&mut client, batches).await?;
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_leader_is_replaced_and_catches_up() -> TestResult {
    let cluster = start().await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let tasks = TaskOwner::current();
    let urls = cluster.cluster.urls();
    let load = Load::start(&tasks, urls.clone(), 0);
    wait_for_batches(&load, 10, FAILOVER_LIMIT).await?;

    let leads = "SELECT count(*) FROM system.workers WHERE state = 'dead' AND leads_buckets = 0";
    cluster.cluster.workers[0].pause(true)?;
    wait_for(&mut client, leads, "1", FAILOVER_LIMIT).await?;
    check_queries(&urls, &load, 4).await?;
    wait_for_batches(&load, 10, FAILOVER_LIMIT).await?;
    cluster.cluster.workers[0].pause(false)?;
    // What it had in hand when it fell silent is refused; it fetches what it missed.
    wait_for(
        &mut client,
        "SELECT count(*) FROM system.workers WHERE state = 'alive'",
        "3",
        FAILOVER_LIMIT,
    )
    .await?;
    wait_for_batches(&load, 10, FAILOVER_LIMIT).await?;
    let batches = load.stop().await?;
    wait_for(&mut client, OUT_OF_SYNC, "0", COPIES_LIMIT).await?;
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    wait_for(&mut client, SPARE_COPIES, "0", COPIES_LIMIT).await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_merges_are_on_every_copy() -> TestResult {
    let mut cluster = start().await?;
    let mut client = cluster.client(0).await?;
    let table = "CREATE TABLE wide (id Int64) ENGINE = MergeTree ORDER BY id \
                 DISTRIBUTED BY (id) BUCKETS 1";
    client.update(table).await?;
    client.update("INSERT INTO wide SELECT number FROM numbers(500000)").await?;
    // More than what the catalog holds itself: the vector is a file.
    client.update("DELETE FROM wide WHERE (id * 2654435761) % 7 < 3").await?;
    let left = "SELECT count(*), sum(id) FROM wide";
    let expected = client.lines(left).await?;
    assert_eq!(client.value(MISSING_COPIES).await?, "0");
    let leader: usize =
        client.value("SELECT leader FROM system.buckets WHERE table = 'wide'").await?.parse()?;
    let place = cluster.place_of(&mut client, leader).await?;
    cluster.cluster.workers[place].kill()?;
    assert_eq!(client.lines(left).await?, expected, "read from the other copy");
    client.update("DELETE FROM wide WHERE id % 1000 = 1").await?;
    let expected = client.lines(left).await?;
    client.update("OPTIMIZE TABLE wide FINAL").await?;
    assert_eq!(client.lines(left).await?, expected);
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    cluster.cluster.workers[place].respawn()?;
    cluster.cluster.workers[place].wait_ready().await?;
    wait_for(&mut client, OUT_OF_SYNC, "0", COPIES_LIMIT).await?;
    assert_eq!(client.lines(left).await?, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn min_copies_decides_when_workers_are_gone() -> TestResult {
    let mut cluster = start().await?;
    let mut client = cluster.client(0).await?;
    for (name, least) in [("strict", 2), ("loose", 1)] {
        let table = format!(
            "CREATE TABLE {name} (id Int64) ENGINE = MergeTree ORDER BY id \
             SETTINGS min_copies = {least}"
        );
        client.update(&table).await?;
        client.update(&format!("INSERT INTO {name} VALUES (1)")).await?;
    }
    let alive = "SELECT count(*) FROM system.workers WHERE state = 'alive'";
    cluster.cluster.workers[0].kill()?;
    cluster.cluster.workers[1].kill()?;
    wait_for(&mut client, alive, "1", FAILOVER_LIMIT).await?;
    wait_for(&mut client, "SELECT count(*) > 0 FROM system.buckets", "1", FAILOVER_LIMIT).await?;
    let refused = client.update("INSERT INTO strict VALUES (2)").await.err();
    let refused = refused.ok_or("a write with one copy was accepted")?;
    assert_eq!(refused.code(), Some(tonic::Code::Unavailable), "{refused}");
    for worker in [0, 1] {
        cluster.cluster.workers[worker].respawn()?;
    }
    for worker in [0, 1] {
        cluster.cluster.workers[worker].wait_ready().await?;
    }
    client.update("INSERT INTO strict VALUES (2)").await?;
    client.update("INSERT INTO loose VALUES (2)").await?;
    for name in ["strict", "loose"] {
        assert_eq!(client.value(&format!("SELECT count(*) FROM {name}")).await?, "2");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_worker_gets_its_share_and_a_drained_one_becomes_empty() -> TestResult {
    let Loaded { mut cluster, mut client, tasks, urls, load } = loaded(20).await?;

    cluster.cluster.add_worker().await?;
    let moved = "SELECT count(*) FROM system.bucket_replicas WHERE worker = 4";
    // Two replicas of each of four buckets on four workers.
    wait_for(&mut client, moved, "2", COPIES_LIMIT).await?;
    wait_for(&mut client, "SELECT count(*) FROM system.movements", "0", COPIES_LIMIT).await?;
    check_queries(&urls, &load, 2).await?;

    client.update("ALTER SYSTEM DRAIN WORKER 1").await?;
    let emptied = "SELECT count(*) FROM system.workers WHERE drained AND parts = 0 AND \
                   leads_buckets = 0";
    wait_for(&mut client, emptied, "1", COPIES_LIMIT).await?;
    let place = cluster.place_of(&mut client, 1).await?;
    cluster.cluster.workers[place].kill()?;
    check_queries(&urls, &load, 2).await?;
    wait_for_batches(&load, 5, FAILOVER_LIMIT).await?;
    let batches = load.stop().await?;
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_lost_for_good_is_forgotten() -> TestResult {
    let Loaded { mut cluster, mut client, tasks, urls, load } = loaded(10).await?;
    let place = cluster.place_of(&mut client, 2).await?;
    let drop = "ALTER SYSTEM DROP WORKER 2";
    let refused = client.update(drop).await.err().ok_or("a worker that lives was dropped")?;
    assert!(refused.to_string().contains("is not dead"), "{refused}");

    cluster.cluster.workers[place].kill()?;
    // Refused until others have everything; then its copies are named no more.
    let until_ms = SystemClock.monotonic_ms() + COPIES_LIMIT.as_millis() as u64;
    while let Err(error) = client.update(drop).await {
        assert!(SystemClock.monotonic_ms() < until_ms, "{error}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    assert_eq!(client.lines("SELECT id FROM system.workers ORDER BY id").await?, ["1", "3"]);
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    check_queries(&urls, &load, 4).await?;
    wait_for_batches(&load, 5, FAILOVER_LIMIT).await?;

    // Its folder comes back as another worker, which gets its share; nothing of before counts.
    cluster.cluster.workers[place].respawn()?;
    cluster.cluster.workers[place].wait_ready().await?;
    assert_eq!(client.lines("SELECT id FROM system.workers ORDER BY id").await?, ["1", "3", "4"]);
    let held = "SELECT count(*) > 0 FROM system.bucket_replicas WHERE worker = 4 AND is_in_sync";
    wait_for(&mut client, held, "1", COPIES_LIMIT).await?;
    let batches = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_without_parts_leaves_by_itself() -> TestResult {
    let mut cluster = TestCluster::start_with(Mode::Cluster, |spec| {
        for (name, value) in [("REPLACE_AFTER_S", "2"), ("FORGET_WORKER_AFTER_S", "6")] {
            spec.environment.push((format!("GRANARY_{name}"), value.to_owned()));
        }
    })
    .await?;
    let mut client = cluster.client(0).await?;
    client.update("CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id").await?;
    client.update("INSERT INTO t SELECT number FROM numbers(1000)").await?;
    cluster.cluster.workers[0].kill()?;
    wait_for(&mut client, "SELECT count(*) FROM system.workers", "2", COPIES_LIMIT).await?;
    wait_for(&mut client, MISSING_COPIES, "0", COPIES_LIMIT).await?;
    assert_eq!(client.lines("SELECT count(*), sum(id) FROM t").await?, ["1000\t499500"]);
    Ok(())
}
