//! Tables that get other numbers of buckets while rows come, change, go and are asked for: every answer
//! is of one version, and nothing is lost, there twice, or back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use granary_common::TaskOwner;
use granary_testkit::load::{self, Load};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};
use tokio::task::JoinHandle;

/// Keys of the tables whose rows are replaced again and again.
const KEYS: i64 = 400;
/// Rows of the table from which rows are deleted, lowest first.
const LEAVING: i64 = 30_000;
/// Rows of the tables that nobody writes to.
const CONSTANT: i64 = 40_000;
const QUIET: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Statements of a writer that may fail in a row while a worker is away.
const ATTEMPTS_MAX: u32 = 300;

const TABLES: [&str; 8] =
    ["events", "keyed", "latest", "leaving", "by_batch", "constant", "in_turn", "past"];

fn statements() -> Vec<String> {
    let table = |name: &str, columns: &str, engine: &str, rest: &str| {
        format!("CREATE TABLE {name} ({columns}) ENGINE = {engine} {rest} BUCKETS 4")
    };
    let key = "ORDER BY id DISTRIBUTED BY (id)";
    vec![
        table("keyed", "id Int64, round Int64", "MergeTree", &format!("UNIQUE KEY (id) {key}")),
        table("latest", "id Int64, round Int64", "ReplacingMergeTree", key),
        table("leaving", "id Int64, text String", "MergeTree", key),
        table(
            "by_batch",
            "batch Int64, n UInt64",
            "SummingMergeTree",
            "ORDER BY batch DISTRIBUTED BY (batch)",
        ),
        table("constant", "id Int64, text String", "MergeTree", key),
        table("partner", "id Int64, text String", "MergeTree", key),
        table("in_turn", "id Int64", "MergeTree", "ORDER BY id DISTRIBUTED BY rand()"),
        table("past", "id Int64", "MergeTree", key),
        "CREATE MATERIALIZED VIEW counted TO by_batch AS \
         SELECT batch, count() AS n FROM events GROUP BY batch"
            .to_owned(),
        format!("INSERT INTO keyed SELECT number, 0 FROM numbers({KEYS})"),
        format!("INSERT INTO latest SELECT number, 0 FROM numbers({KEYS})"),
        format!("INSERT INTO leaving SELECT number, toString(number) FROM numbers({LEAVING})"),
        format!("INSERT INTO constant SELECT number, toString(number) FROM numbers({CONSTANT})"),
        format!("INSERT INTO partner SELECT number, toString(number) FROM numbers({CONSTANT})"),
        format!("INSERT INTO in_turn SELECT number FROM numbers({CONSTANT})"),
        format!("INSERT INTO past SELECT number FROM numbers({CONSTANT})"),
    ]
}

/// How far the writers are: what is acknowledged.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    /// The last round of `keyed` and of `latest`.
    rounds: [AtomicI64; 2],
    deleted: AtomicI64,
}

/// Runs the statement until it is acknowledged; each may be carried out twice.
async fn persist(url: &str, sql: &str) -> TestResult {
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        match SqlClient::connect(url).await {
            Ok(mut client) => match client.update(sql).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            },
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("{sql}: {last}").into())
}

async fn replace_rows(url: String, progress: Arc<Progress>, which: usize) -> TestResult {
    let table = ["keyed", "latest"][which];
    for round in 1.. {
        if progress.stop.load(SeqCst) {
            break;
        }
        let sql = format!("INSERT INTO {table} SELECT number, {round} FROM numbers({KEYS})");
        persist(&url, &sql).await?;
        progress.rounds[which].store(round, SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn delete_rows(url: String, progress: Arc<Progress>) -> TestResult {
    for id in 0..LEAVING / 2 {
        if progress.stop.load(SeqCst) {
            break;
        }
        persist(&url, &format!("DELETE FROM leaving WHERE id = {id}")).await?;
        progress.deleted.store(id + 1, SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn numbers(line: &str) -> TestResult<Vec<i64>> {
    line.split('\t').map(|cell| Ok(cell.parse::<f64>()? as i64)).collect()
}

async fn row(client: &mut SqlClient, sql: &str) -> TestResult<Vec<i64>> {
    let lines = client.lines(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    numbers(lines.first().ok_or("no row")?)
}

/// Every query once. A failure is an error as well as a wrong answer; the text of the latter begins
/// with "wrong".
async fn ask(client: &mut SqlClient, progress: &Progress) -> TestResult {
    let wrong = |sql: &str, got: &[i64]| Err(format!("wrong: {sql} gave {got:?}").into());
    for (which, from) in ["keyed", "latest FINAL"].into_iter().enumerate() {
        let at_least = progress.rounds[which].load(SeqCst);
        let sql =
            format!("SELECT count(*), count(DISTINCT id), min(round), max(round) FROM {from}");
        let got = row(client, &sql).await?;
        let is_right = got[..2] == [KEYS, KEYS] && got[2] == got[3] && got[2] >= at_least;
        if !is_right {
            return wrong(&sql, &got);
        }
    }
    let at_least = progress.deleted.load(SeqCst);
    let sql = "SELECT count(*), count(DISTINCT id), min(id), sum(id) FROM leaving";
    let got = row(client, sql).await?;
    let (first, rest) = (got[2], LEAVING - got[2]);
    let sum = (first + LEAVING - 1) * rest / 2;
    if got != [rest, rest, first, sum] || first < at_least {
        return wrong(sql, &got);
    }
    let sql =
        "SELECT (SELECT count(*) FROM events), (SELECT coalesce(sum(n), 0) FROM by_batch FINAL)";
    let got = row(client, sql).await?;
    if got[0] != got[1] {
        return wrong(sql, &got);
    }
    let sum = CONSTANT * (CONSTANT - 1) / 2;
    for (sql, want) in [
        (
            "SELECT count(*), sum(a.id) FROM constant AS a JOIN partner AS b ON a.id = b.id \
             AND a.text = b.text",
            vec![CONSTANT, sum],
        ),
        (
            "SELECT count(*), sum(n) FROM (SELECT id, count(*) AS n FROM constant GROUP BY id) AS g",
            vec![CONSTANT, CONSTANT],
        ),
        ("SELECT count(*), sum(id) FROM constant WHERE id = 77", vec![1, 77]),
        ("SELECT count(*), sum(id) FROM in_turn", vec![CONSTANT, sum]),
    ] {
        let got = row(client, sql).await?;
        if got != want {
            return wrong(sql, &got);
        }
    }
    Ok(())
}

/// Asks until it is stopped. With `may_fail` an answer may fail to come, but not be wrong.
async fn ask_on(
    url: String,
    progress: Arc<Progress>,
    settings: &'static [&'static str],
    may_fail: bool,
) -> TestResult<u64> {
    let mut answered = 0;
    let mut client = None;
    while !progress.stop.load(SeqCst) {
        if client.is_none() {
            let mut session = SqlClient::connect(&url).await?;
            for setting in settings {
                session.update(setting).await?;
            }
            client = Some(session);
        }
        let Some(session) = client.as_mut() else { continue };
        match ask(session, &progress).await {
            Ok(()) => answered += 1,
            Err(error) if may_fail && !error.to_string().starts_with("wrong") => client = None,
            Err(error) => return Err(error),
        }
    }
    Ok(answered)
}

async fn change_all(client: &mut SqlClient, buckets: u32) -> TestResult {
    for table in TABLES {
        client.persist(&format!("ALTER TABLE {table} MODIFY BUCKETS {buckets}")).await?;
    }
    Ok(())
}

async fn all_moved(client: &mut SqlClient, buckets: u32) -> TestResult {
    let sql = "SELECT count(*) FROM system.bucket_changes";
    for _ in 0..3000 {
        // A worker may be away.
        if client.value(sql).await.is_ok_and(|left| left == "0") {
            let sql = format!("SELECT count(*) FROM system.tables WHERE buckets = {buckets}");
            assert_eq!(client.value(&sql).await?, TABLES.len().to_string());
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let left = client.lines("SELECT * FROM system.bucket_changes").await?;
    Err(format!("rows do not arrive in their buckets: {left:?}").into())
}

struct Work {
    progress: Arc<Progress>,
    load: Load,
    writers: Vec<JoinHandle<Option<TestResult>>>,
    readers: Vec<JoinHandle<Option<TestResult<u64>>>>,
}

impl Work {
    fn start(cluster: &TestCluster, tasks: &TaskOwner, mode: Mode, may_fail: bool) -> Work {
        let urls = cluster.cluster.urls();
        let url = |place: usize| urls[place % urls.len()].clone();
        let progress = Arc::new(Progress::default());
        let load = Load::start(tasks, urls.clone(), 0);
        let shared = || Arc::clone(&progress);
        let writers = vec![
            tasks.spawn(replace_rows(url(0), shared(), 0)),
            tasks.spawn(replace_rows(url(1), shared(), 1)),
            tasks.spawn(delete_rows(url(0), shared())),
        ];
        let ask = |place| tasks.spawn(ask_on(url(place), shared(), mode.settings(), may_fail));
        let readers = (0..2).map(ask).collect();
        Work { progress, load, writers, readers }
    }

    async fn stop(self) -> TestResult<u64> {
        self.progress.stop.store(true, SeqCst);
        for writer in self.writers {
            writer.await?.ok_or("a writer was cut off")??;
        }
        let mut answered = 0;
        for reader in self.readers {
            answered += reader.await?.ok_or("a reader was cut off")??;
        }
        println!(
            "{answered} rounds of queries, {} and {} of upserts, {} deletes, {} batches",
            self.progress.rounds[0].load(SeqCst),
            self.progress.rounds[1].load(SeqCst),
            self.progress.deleted.load(SeqCst),
            self.load.acknowledged()
        );
        assert!(answered > 0 && self.progress.deleted.load(SeqCst) > 0);
        assert!(self.progress.rounds.iter().all(|rounds| rounds.load(SeqCst) > 0));
        self.load.stop().await
    }
}

/// 4 buckets, then 8, then 3, under load; with `kill` a worker dies in the middle of the first change and
/// comes back in the second.
async fn check(mode: Mode, kill: bool) -> TestResult {
    let mut cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    for statement in statements() {
        client.update(&statement).await?;
    }
    let before = client.value("SELECT max(version) FROM system.versions").await?;
    let tasks = TaskOwner::current();
    let work = Work::start(&cluster, &tasks, mode, kill);
    tokio::time::sleep(QUIET).await;
    change_all(&mut client, 8).await?;
    client.persist("DELETE FROM past WHERE id % 10 = 0").await?;
    if kill {
        cluster.cluster.workers[0].kill()?;
        tokio::time::sleep(QUIET * 2).await;
        cluster.cluster.workers[0].respawn()?;
        cluster.cluster.workers[0].wait_ready().await?;
    }
    all_moved(&mut client, 8).await?;
    change_all(&mut client, 3).await?;
    all_moved(&mut client, 3).await?;
    tokio::time::sleep(QUIET).await;
    let (progress, batches) = (Arc::clone(&work.progress), work.stop().await?);
    for url in cluster.cluster.urls() {
        let mut client = SqlClient::connect(&url).await?;
        load::check_exactly_once(&mut client, batches).await?;
        ask(&mut client, &progress).await?;
    }
    // What was there before anything moved is read as it was, beside what it is.
    let then = format!(
        "SELECT count(*), sum(id), (SELECT count(*) FROM past) FROM past AS OF VERSION {before}"
    );
    let all = [CONSTANT, CONSTANT * (CONSTANT - 1) / 2, CONSTANT / 10 * 9];
    assert_eq!(row(&mut client, &then).await?, all);
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn change_under_load_embedded() -> TestResult {
    check(Mode::Embedded, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn change_under_load_cluster() -> TestResult {
    check(Mode::Cluster, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn change_while_a_worker_is_killed() -> TestResult {
    check(Mode::Cluster, true).await
}
