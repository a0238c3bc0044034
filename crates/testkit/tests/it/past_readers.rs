//! Readers of the past beside everything that makes it go: inserts, updates, deletes, merges, changes of
//! the table, moves between disks, expiry, and the collection of what nobody may read any more. Whoever is entitled to a version gets
//! all of it, however slowly it is read, and nobody gets a part of one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::TryStreamExt;
use granary_common::random::SeededRandom;
use granary_common::{Clock, Random, SystemClock};
use granary_testkit::{Mode, SqlClient, SqlError, TestCluster, TestResult};
use tokio::sync::Mutex;
use tonic::Code;

const SEED: u64 = 20_261_129;
/// For how long everybody may read what was replaced: a few steps of the collection, which looks each
/// second.
const RETENTION: Duration = Duration::from_secs(4);
/// How long rows are changed.
const WORK: Duration = Duration::from_secs(24);
/// Rows that stay, so many that no buffer holds a result.
const BASE_ROWS: u64 = 400_000;
const BATCH_ROWS: u64 = 500;
/// Rows that only pass through, so that something expires: no figure counts them.
const PASSING: &str = "INSERT INTO t (id, batch, v, note, due) \
                       SELECT number * 13, -1, 1, 'passing', now() + 2 FROM numbers(2000)";

/// What the table was at a version.
#[derive(Clone, Debug)]
struct Mark {
    version: u64,
    /// Before it was replaced by the next one.
    at_ms: u64,
    /// Rows, and the sum of their values.
    figures: (u64, u64),
}

/// What the table has, and had.
#[derive(Default)]
struct Model {
    /// The value of the rows of each batch.
    batches: BTreeMap<u64, u64>,
    marks: Vec<Mark>,
}

impl Model {
    fn figures(&self) -> (u64, u64) {
        let rows = BASE_ROWS + BATCH_ROWS * self.batches.len() as u64;
        (rows, BASE_ROWS + BATCH_ROWS * self.batches.values().sum::<u64>())
    }
}

struct Shared {
    /// Held while the table's rows change.
    model: Mutex<Model>,
    works: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    fn goes_on(&self) -> bool {
        self.works.load(Ordering::SeqCst)
    }
}

/// Notes what the table is now.
async fn mark(client: &mut SqlClient, model: &mut Model) -> TestResult {
    let at_ms = SystemClock.monotonic_ms();
    let version = client.value("SELECT max(version) FROM system.versions").await?.parse()?;
    let figures = model.figures();
    model.marks.push(Mark { version, at_ms, figures });
    Ok(())
}

/// Inserts, updates and deletes batches, one after the other.
async fn write(shared: &Shared, mut client: SqlClient) -> TestResult {
    let random = SeededRandom::new(SEED);
    for batch in 1_u64.. {
        if !shared.goes_on() {
            break;
        }
        {
            let mut model = shared.model.lock().await;
            let known: Vec<u64> = model.batches.keys().copied().collect();
            let old = known.get(random.next_u64() as usize % known.len().max(1)).copied();
            let sql = match (random.next_u64() % 4, old) {
                (0, Some(old)) => {
                    model.batches.remove(&old);
                    format!("DELETE FROM t WHERE batch = {old}")
                }
                (1, Some(old)) => {
                    model.batches.entry(old).and_modify(|value| *value += 1);
                    format!("UPDATE t SET v = v + 1 WHERE batch = {old}")
                }
                _ => {
                    model.batches.insert(batch, batch);
                    format!(
                        "INSERT INTO t (id, batch, v, note) SELECT number * 701, {batch}, {batch}, \
                         toString(number * {batch}) FROM numbers({BATCH_ROWS})"
                    )
                }
            };
            client.persist(&sql).await?;
            mark(&mut client, &mut model).await?;
        }
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    Ok(())
}

/// Merges everything, changes the table's columns and comment, moves parts there and back, and adds rows
/// that expire.
async fn disturb(shared: &Shared, mut client: SqlClient) -> TestResult {
    let statements = [
        PASSING,
        "ALTER TABLE t MOVE PARTITION 1 TO DISK 'far'",
        "ALTER TABLE t ADD COLUMN extra Int32 DEFAULT 7",
        "OPTIMIZE TABLE t FINAL",
        "ALTER TABLE t MODIFY COLUMN extra Int64",
        "ALTER TABLE t RENAME COLUMN extra TO more",
        "ALTER TABLE t MOVE PARTITION 1 TO DISK 'default'",
        PASSING,
        "OPTIMIZE TABLE t FINAL",
        "ALTER TABLE t DROP COLUMN more",
        "ALTER TABLE t MODIFY COMMENT 'changed'",
    ];
    for sql in statements.iter().cycle() {
        if !shared.goes_on() {
            break;
        }
        client.persist(sql).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// Reads versions that were, and some that went: whole, or not at all.
async fn look_back(shared: &Shared, mut client: SqlClient, seed: u64) -> TestResult {
    let random = SeededRandom::new(seed);
    while shared.goes_on() {
        let Mark { version, at_ms, figures } = {
            let model = shared.model.lock().await;
            // Mostly those of the last seconds.
            let newest = model.marks.len().saturating_sub(1);
            let back = (random.next_u64() % 60).min(random.next_u64() % 60) as usize;
            model.marks[newest.saturating_sub(back)].clone()
        };
        let sql =
            format!("SELECT count(note), sum(v) FROM t AS OF VERSION {version} WHERE batch >= 0");
        match client.lines(&sql).await {
            Ok(found) => {
                let (rows, sum) = figures;
                assert_eq!(found, [format!("{rows}\t{sum}")], "seed {SEED}: {sql}");
                shared.answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                let age = Duration::from_millis(SystemClock.monotonic_ms() - at_ms);
                let was_kept = age < RETENTION || !is_gone(&error);
                assert!(!was_kept, "seed {SEED}: {sql}, {age:?} old: {error}");
                shared.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    Ok(())
}

/// Whether the answer is that a version is not kept.
fn is_gone(error: &SqlError) -> bool {
    error.code() == Some(Code::InvalidArgument) && error.to_string().contains("kept")
}

/// Opens results and reads on when all that they need could have gone twice.
async fn read_slowly(shared: &Shared, mut client: SqlClient, of_past: bool) -> TestResult {
    while shared.goes_on() {
        let (mut rows, mark): (FlightRecordBatchStream, Mark) = {
            let model = shared.model.lock().await;
            let mark = model.marks.last().cloned().ok_or("a mark")?;
            let past = match of_past {
                true => format!(" AS OF VERSION {}", mark.version),
                false => String::new(),
            };
            let sql = format!("SELECT id, v, note FROM t{past} WHERE batch >= 0");
            (client.stream(&sql).await?, mark)
        };
        let mut found = (0, 0);
        let mut add = |batch: &RecordBatch| {
            let values = batch.column(1).as_primitive::<Int64Type>().values();
            found.0 += batch.num_rows() as u64;
            found.1 += values.iter().map(|value| *value as u64).sum::<u64>();
        };
        let first = rows.try_next().await?.ok_or("a batch")?;
        add(&first);
        tokio::time::sleep(2 * RETENTION).await;
        while let Some(batch) = rows.try_next().await? {
            add(&batch);
        }
        assert_eq!(found, mark.figures, "seed {SEED}: an open result of {mark:?}");
        shared.answered.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start_with(mode, |spec| {
        let far = spec.folder.join("far");
        let disks = format!("{{ far = \"{}\" }}", far.display());
        spec.environment.push(("GRANARY_DISKS".to_owned(), disks));
    })
    .await?;
    let mut client = cluster.client(0).await?;
    let table = format!(
        "CREATE TABLE t (id Int64, batch Int64, v Int64, note String, \
         due DateTime DEFAULT '2100-01-01 00:00:00') ENGINE = MergeTree PARTITION BY id % 2 ORDER BY id \
         TTL due DISTRIBUTED BY (id) BUCKETS 2 \
         SETTINGS history_retention_seconds = {}, merge_with_ttl_timeout = 1",
        RETENTION.as_secs()
    );
    client.update(&table).await?;
    let base = format!(
        "INSERT INTO t (id, batch, v, note) SELECT number, 0, 1, concat(toString(cityHash64(number)), \
         toString(cityHash64(number + 1)), toString(sipHash64(number))) FROM numbers({BASE_ROWS})"
    );
    client.update(&base).await?;
    let mut model = Model::default();
    mark(&mut client, &mut model).await?;
    let first = model.marks[0].version;
    let shared = Shared {
        model: Mutex::new(model),
        works: AtomicBool::new(true),
        answered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    };
    let clock = async {
        tokio::time::sleep(WORK).await;
        shared.works.store(false, Ordering::SeqCst);
        TestResult::Ok(())
    };
    let readers = futures::future::try_join4(
        look_back(&shared, cluster.client(0).await?, SEED + 1),
        look_back(&shared, cluster.client(1).await?, SEED + 2),
        read_slowly(&shared, cluster.client(0).await?, true),
        read_slowly(&shared, cluster.client(1).await?, false),
    );
    let writer = write(&shared, cluster.client(1).await?);
    let disturber = disturb(&shared, cluster.client(0).await?);
    futures::future::try_join4(clock, readers, writer, disturber).await?;

    // What nobody is entitled to goes. Asking keeps it, too, so there are pauses.
    let past = format!("SELECT count(note) FROM t AS OF VERSION {first}");
    let mut has_gone = false;
    for _ in 0..20 {
        match client.lines(&past).await {
            Err(error) if is_gone(&error) => has_gone = true,
            Err(error) => return Err(format!("{past}: {error}").into()),
            Ok(_) => {}
        }
        if has_gone {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert!(has_gone, "version {first} is kept for ever");
    let (rows, sum) = shared.model.lock().await.figures();
    let now = client.lines("SELECT count(note), sum(v) FROM t WHERE batch >= 0").await?;
    assert_eq!(now, [format!("{rows}\t{sum}")], "seed {SEED}");
    // What expired goes by itself.
    let mut passing = String::new();
    for _ in 0..120 {
        passing = client.value("SELECT count(*) FROM t WHERE batch < 0").await?;
        if passing == "0" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(passing, "0", "seed {SEED}: rows that expired");
    let (answered, refused) = (shared.answered.into_inner(), shared.refused.into_inner());
    println!("{answered} readers got their version, {refused} came too late");
    assert!(answered > 10, "{answered}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_past_get_all_of_it_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_past_get_all_of_it_cluster() -> TestResult {
    check(Mode::Cluster).await
}
