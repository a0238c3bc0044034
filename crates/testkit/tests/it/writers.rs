//! Many writers at once: small inserts that share parts, upserts of one key through several
//! coordinators, deletes beside a merge, and what a small update writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use granary_common::random::SeededRandom;
use granary_common::{Random, SystemClock};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult, process};

const CLIENTS: u64 = 50;
const INSERTS_PER_CLIENT: u64 = 20;
/// What the clients of one coordinator may leave. They have [`INSERTS_PER_CLIENT`] inserts each, one
/// after the other, so it is at least so many.
const PARTS_MAX: u64 = 40;
const SEED: u64 = 20_261_128;
const KEYS: u64 = 5;
const UPSERTS_PER_WRITER: u64 = 25;
const WRITERS: usize = 6;

async fn number(client: &mut SqlClient, sql: &str) -> TestResult<u64> {
    Ok(client.value(sql).await?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn small_inserts_of_many_clients_share_parts() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let of_one = small_inserts(&cluster, "clicks", 1).await?;
    assert!(of_one <= PARTS_MAX, "{of_one} parts");
    // Each coordinator makes groups of its own clients' inserts.
    let of_both = small_inserts(&cluster, "views", 2).await?;
    assert!(of_both <= 2 * PARTS_MAX, "{of_both} parts");
    Ok(())
}

/// Single rows of many clients through so many coordinators; the parts that they leave.
async fn small_inserts(cluster: &TestCluster, table: &str, coordinators: usize) -> TestResult<u64> {
    let mut client = cluster.client(0).await?;
    client
        .update(&format!("CREATE TABLE {table} (id Int64) ENGINE = MergeTree ORDER BY id"))
        .await?;
    client.update(&format!("SYSTEM STOP MERGES {table}")).await?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for place in 0..CLIENTS {
        let mut writer = cluster.client(place as usize % coordinators).await?;
        let acknowledged = Arc::clone(&acknowledged);
        writers.push(async move {
            for insert in 0..INSERTS_PER_CLIENT {
                let id = place * INSERTS_PER_CLIENT + insert;
                writer.update(&format!("INSERT INTO {table} VALUES ({id})")).await?;
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            TestResult::Ok(())
        });
    }
    // Through both coordinators, whatever is acknowledged is there.
    let mut readers = [cluster.client(0).await?, cluster.client(1).await?];
    let reads = async {
        let count = format!("SELECT count(*) FROM {table}");
        for turn in 0_usize.. {
            let before = acknowledged.load(Ordering::SeqCst);
            let seen = number(&mut readers[turn % 2], &count).await?;
            assert!(seen >= before, "{before} inserts were acknowledged, a query saw {seen}");
            if before == CLIENTS * INSERTS_PER_CLIENT {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        TestResult::Ok(())
    };
    futures::future::try_join(try_join_all(writers), reads).await?;
    let rows = CLIENTS * INSERTS_PER_CLIENT;
    let all = format!("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {table}");
    assert_eq!(client.lines(&all).await?, [format!("{rows}\t{rows}\t0\t{}", rows - 1)]);
    let parts = format!("SELECT count(*) FROM system.parts WHERE table = '{table}'");
    let parts = number(&mut client, &parts).await?;
    println!("{rows} inserts of one row by {CLIENTS} clients made {parts} parts");
    Ok(parts)
}

/// What one writer wrote last for each key.
type LastWrites = BTreeMap<u64, u64>;

async fn upserts(mut client: SqlClient, writer: u64) -> TestResult<LastWrites> {
    let random = SeededRandom::new(SEED + writer);
    let mut last = LastWrites::new();
    for turn in 0..UPSERTS_PER_WRITER {
        let first = random.next_u64() % KEYS;
        let count = 1 + random.next_u64() % 3;
        let keys: Vec<u64> = (0..count).map(|step| (first + step) % KEYS).collect();
        let value = writer * 1_000 + turn;
        let rows: Vec<String> = keys.iter().map(|key| format!("({key}, {value})")).collect();
        let sql = format!("INSERT INTO latest VALUES {}", rows.join(", "));
        client.persist(&sql).await?;
        last.extend(keys.into_iter().map(|key| (key, value)));
    }
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_through_several_coordinators_leave_one_row_a_key() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    let table = "CREATE TABLE latest (k UInt64, v UInt64) ENGINE = MergeTree ORDER BY k UNIQUE KEY (k) \
                 DISTRIBUTED BY (k) BUCKETS 2";
    client.update(table).await?;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(upserts(cluster.client(writer).await?, writer as u64));
    }
    let writing = std::sync::atomic::AtomicBool::new(true);
    let mut reader = cluster.client(1).await?;
    let reads = async {
        while writing.load(Ordering::SeqCst) {
            let twice = "SELECT k FROM latest GROUP BY k HAVING count(*) > 1";
            let found = reader.lines(twice).await?;
            assert!(found.is_empty(), "seed {SEED}: keys with several rows: {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        TestResult::Ok(())
    };
    let writes = async {
        let done = try_join_all(writers).await;
        writing.store(false, Ordering::SeqCst);
        done
    };
    let (last, ()) = futures::future::try_join(writes, reads).await?;
    let rows = client.lines("SELECT k, v FROM latest ORDER BY k").await?;
    assert_eq!(rows.len() as u64, KEYS, "seed {SEED}: {rows:?}");
    for row in rows {
        let (key, value) = row.split_once('\t').ok_or("two cells")?;
        let (key, value): (u64, u64) = (key.parse()?, value.parse()?);
        // Whoever came last, it was the last write of somebody.
        let known = last.iter().any(|last| last.get(&key) == Some(&value));
        assert!(known, "seed {SEED}: key {key} has {value}, which somebody replaced");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_beside_a_merge_stay_and_do_not_starve_it() -> TestResult {
    const ROWS: u64 = 400_000;
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    let table = "CREATE TABLE shrinking (id Int64, text String) ENGINE = MergeTree ORDER BY id \
                 DISTRIBUTED BY (id) BUCKETS 1";
    client.update(table).await?;
    client.update("SYSTEM STOP MERGES shrinking").await?;
    for part in 0..4 {
        // Keys lie among those of the other parts, so that rows move.
        let rows = format!(
            "INSERT INTO shrinking SELECT number * 4 + {part}, repeat(toString(number), 5) \
             FROM numbers({})",
            ROWS / 4
        );
        client.update(&rows).await?;
    }
    let is_merging = std::sync::atomic::AtomicBool::new(true);
    let mut merger = cluster.client(0).await?;
    let merge = async {
        let merged = merger.update("OPTIMIZE TABLE shrinking FINAL").await;
        is_merging.store(false, Ordering::SeqCst);
        merged.map_err(Into::into)
    };
    let mut deleter = cluster.client(1).await?;
    let deletes = async {
        let mut deleted = 0;
        // At least a few, and on until the merge is done.
        while is_merging.load(Ordering::SeqCst) || deleted < 3 {
            let sql = format!("DELETE FROM shrinking WHERE id % 1000 = {deleted}");
            deleter.update(&sql).await?;
            deleted += 1;
        }
        TestResult::Ok(deleted)
    };
    let (_, deleted) = futures::future::try_join(merge, deletes).await?;
    let want = ROWS - deleted * (ROWS / 1000);
    let figures = "SELECT count(*), count(DISTINCT id), min(id % 1000) FROM shrinking";
    assert_eq!(client.lines(figures).await?, [format!("{want}\t{want}\t{deleted}")]);
    let active = "SELECT count(*) FROM system.parts WHERE table = 'shrinking' AND active";
    println!("{deleted} deletes while four parts were merged");
    assert_eq!(client.value(active).await?, "1", "the merge was starved");
    Ok(())
}

/// Bytes of all files of parts below `folder`.
fn volume_bytes(folder: &Path) -> TestResult<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        match entry.file_type()?.is_dir() {
            true => bytes += volume_bytes(&path)?,
            false if path.components().any(|part| part.as_os_str() == "volume") => {
                bytes += entry.metadata()?.len();
            }
            false => {}
        }
    }
    Ok(bytes)
}

/// The granules that a plan with figures says were read.
async fn granules_read(client: &mut SqlClient, condition: &str) -> TestResult<u64> {
    let sql = format!("EXPLAIN ANALYZE SELECT count(v) FROM large WHERE {condition}");
    let plan = client.lines(&sql).await?.join("\n");
    let named = plan.split("granules_selected=").skip(1);
    let numbers =
        named.filter_map(|rest| rest.split([',', ']']).next()?.trim().parse::<u64>().ok());
    let read = numbers.sum();
    assert!(read > 0, "{plan}");
    Ok(read)
}

/// Of a table of ten million rows ten are found through the key, and through a skip index, and few others
/// are read or written for them.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_ten_rows_writes_kilobytes() -> TestResult {
    const ROWS: u64 = 10_000_000;
    const WRITTEN_BYTES_MAX: u64 = 64 << 10;
    // All columns of a granule; ten keys that follow each other are in one or two of each bucket.
    const READ_BYTES_PER_GRANULE: u64 = 5 << 19;
    const GRANULES_MAX: u64 = 8;
    const UPDATES: u64 = 3;
    let mut cluster = TestCluster::start(Mode::Embedded).await?;
    let pid = cluster.cluster.processes_mut().next().ok_or("no process")?.pid();
    let mut client = cluster.client(0).await?;
    // Tags are all over the place in every granule, and what is left of their division is not.
    let table = "CREATE TABLE large (id Int64, v Int64, tag Int64, text String, \
                 INDEX rest tag % 100000000 TYPE minmax GRANULARITY 1) ENGINE = MergeTree ORDER BY id \
                 DISTRIBUTED BY (id) BUCKETS 4";
    client.update(table).await?;
    client.update("SYSTEM STOP MERGES").await?;
    let clock = SystemClock::shared();
    let begun_ms = clock.monotonic_ms();
    let rows = format!(
        "INSERT INTO large SELECT number, 0, number + number % 97 * 100000000, toString(number) \
         FROM numbers({ROWS})"
    );
    client.update(&rows).await?;
    println!("{ROWS} rows were inserted in {} ms", clock.monotonic_ms() - begun_ms);
    for condition in
        ["id BETWEEN 1000000 AND 1000009", "tag % 100000000 BETWEEN 8000000 AND 8000009"]
    {
        let granules = granules_read(&mut client, condition).await?;
        println!("{condition}: {granules} granules");
        assert!(granules <= GRANULES_MAX, "{granules} granules for {condition}");
        for _ in 0..UPDATES {
            let before = volume_bytes(cluster.folder())?;
            let (begun_ms, read) = (clock.monotonic_ms(), process::read_bytes(pid)?);
            let changed = format!("UPDATE large SET v = v + 1 WHERE {condition}");
            assert_eq!(client.update(&changed).await?, 10, "{condition}");
            let took_ms = clock.monotonic_ms() - begun_ms;
            let read = process::read_bytes(pid)? - read;
            let written = volume_bytes(cluster.folder())? - before;
            println!(
                "of {before} bytes an update of 10 rows read {read} and wrote {written}, in \
                 {took_ms} ms"
            );
            assert!(written > 0 && written < WRITTEN_BYTES_MAX, "{written} bytes of {before}");
            let most = granules * READ_BYTES_PER_GRANULE;
            assert!(read < most && read < before / 4, "{read} bytes of {before}");
        }
    }
    let figures = "SELECT count(*), count(DISTINCT id), sum(v) FROM large";
    assert_eq!(client.lines(figures).await?, [format!("{ROWS}\t{ROWS}\t{}", 20 * UPDATES)]);
    let before = volume_bytes(cluster.folder())?;
    assert_eq!(client.update("DELETE FROM large WHERE id IN (5, 1999999)").await?, 2);
    assert_eq!(volume_bytes(cluster.folder())?, before, "small deletions are in the catalog");
    Ok(())
}
