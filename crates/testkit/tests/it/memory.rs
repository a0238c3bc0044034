//! What processes hold in memory follows the batch that is on its way, not the result or the stream.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_flight::decode::FlightRecordBatchStream;
use futures::StreamExt;
use granary_testkit::process::{self, Stopwatch};
use granary_testkit::{Mode, TestCluster, TestResult, bulk};

const MIB: u64 = 1 << 20;
/// How much more than before a result may make a process hold: batches of 8 MiB in some buffers on
/// each of some threads, and what the allocator keeps of it.
const RESULT_BYTES_MAX: u64 = 600 * MIB;
/// Much more than that is read, and nothing of it may stay.
const READ_BYTES: u64 = 2000 * MIB;
/// For so long a client reads nothing: a server that went on by itself would have gathered much
/// more than [`RESULT_BYTES_MAX`] by then.
const PAUSE: Duration = Duration::from_secs(5);
const STREAM_LIMIT: Duration = Duration::from_secs(60);

/// Reads a few batches of `stream`, pauses, and then reads [`READ_BYTES`].
async fn read_slowly(stream: &mut FlightRecordBatchStream) -> TestResult {
    let mut read = 0;
    let mut paused = false;
    while read < READ_BYTES {
        let batch = tokio::time::timeout(STREAM_LIMIT, stream.next()).await?;
        read += batch.ok_or("the result is too short")??.get_array_memory_size() as u64;
        if !paused && read > 16 * MIB {
            tokio::time::sleep(PAUSE).await;
            paused = true;
        }
    }
    Ok(())
}

/// Reads slowly what `sql` gives, and compares the peak of every process with what it had before.
async fn check_result(cluster: &TestCluster, mode: Mode, sql: &str) -> TestResult {
    let mut client = cluster.client(0).await?;
    for set in mode.settings() {
        client.update(set).await?;
    }
    let processes = || {
        let all = &cluster.cluster;
        all.coordinators[..1].iter().chain(&all.workers)
    };
    let mut before = Vec::new();
    for of in processes() {
        process::forget_peak(of.pid())?;
        before.push(process::resident_bytes(of.pid())?);
    }
    let mut stream = client.stream(sql).await?;
    read_slowly(&mut stream).await?;
    for (of, before) in processes().zip(before) {
        let more = process::peak_bytes(of.pid())?.saturating_sub(before);
        println!("{}: {} MiB and {} MiB more", of.name(), before / MIB, more / MIB);
        assert!(more < RESULT_BYTES_MAX, "{} held {} MiB more", of.name(), more / MIB);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_not_gathered_for_a_slow_client() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    // About 8 GiB.
    let sql = "SELECT number, repeat('wide text ', 100) AS wide FROM numbers(8000000)";
    check_result(&cluster, Mode::Embedded, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_gathers_a_result_for_a_slow_client() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    for sql in [
        "CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id \
         DISTRIBUTED BY (id) BUCKETS 6",
        "INSERT INTO t SELECT number, 'wide text ' FROM numbers(60000)",
    ] {
        client.update(sql).await?;
    }
    // About 3.6 TiB.
    let sql = "SELECT a.id, repeat(a.name, 100) AS wide FROM t AS a CROSS JOIN t AS b";
    check_result(&cluster, Mode::Cluster, sql).await
}

/// Of a batch of the inserts, of about 4 MiB.
const BATCH_ROWS: i64 = 4096;
const TEXT_BYTES: usize = 1000;
/// Batches of a short stream, of about 512 MiB.
const SHORT: i64 = 128;

fn batch(number: i64) -> TestResult<RecordBatch> {
    let ids = number * BATCH_ROWS..(number + 1) * BATCH_ROWS;
    let text = "text ".repeat(TEXT_BYTES / 5);
    let texts = StringArray::from_iter_values(ids.clone().map(|_| &text));
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
        ("text", Arc::new(texts) as ArrayRef),
    ])?)
}

/// Inserts batches that are made as they are sent; gives the most that the server held, in bytes.
async fn peak_of_insert(cluster: &TestCluster, batches: i64) -> TestResult<u64> {
    let server = cluster.cluster.coordinators[0].pid();
    process::forget_peak(server)?;
    let mut header = bulk::header("filled", "");
    header.settings.insert("insert_block_bytes_max".to_owned(), (16 * MIB).to_string());
    let began = Stopwatch::start();
    let inserted = bulk::insert_stream(&cluster.url(0)?, header, (0..batches).map(batch)).await?;
    assert_eq!(inserted.rows as i64, batches * BATCH_ROWS);
    let peak = process::peak_bytes(server)?;
    println!("{batches} batches: {} MiB at most, {:?}", peak / MIB, began.elapsed());
    Ok(peak)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_needs_memory_for_its_blocks_only() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let mut client = cluster.client(0).await?;
    client
        .update(
            "CREATE TABLE filled (id Int64, text String) ENGINE = MergeTree ORDER BY id \
             DISTRIBUTED BY (id) BUCKETS 2",
        )
        .await?;
    let short = peak_of_insert(&cluster, SHORT).await?;
    let long = peak_of_insert(&cluster, 4 * SHORT).await?;
    let more = long.saturating_sub(short);
    // A quarter of the 1.5 GiB that the long stream has more.
    let stream_bytes = (3 * SHORT * BATCH_ROWS) as u64 * TEXT_BYTES as u64;
    assert!(more < stream_bytes / 4, "a stream four times as long took {} MiB more", more / MIB);
    let rows = client.value("SELECT count(*) FROM filled").await?;
    assert_eq!(rows, (5 * SHORT * BATCH_ROWS).to_string());
    Ok(())
}
