//! SIGTERM under work: what runs ends well or, at the limit, with a clear error; the process ends
//! with 0 either way and takes nothing new meanwhile.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::{FutureExt, StreamExt};
use granary::cluster::{Cluster, ProcessHandle};
use granary_common::TaskOwner;
use granary_proto::v1::InsertResponse;
use granary_testkit::process::{self, Stopwatch};
use granary_testkit::{Mode, SqlClient, SqlError, TestCluster, TestResult, bulk};
use tokio::sync::oneshot;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::wait_for;

const ROWS: i64 = 400_000;
/// A gigabyte: of what each worker sends, far more than the buffers on the way hold, so that it runs on
/// all of them until its client has read it.
const WIDE: &str = "SELECT id, repeat(name, 240) AS wide FROM t";
/// It gives rows as long as its client takes them.
const ENDLESS_ROWS: &str = "SELECT a.id, b.id AS b_id, a.name FROM t AS a CROSS JOIN t AS b";
/// It gives its only row after very long.
const ENDLESS_SUM: &str = "SELECT sum(sqrt(a.id * b.id)) AS endless FROM t AS a CROSS JOIN t AS b";
const LIMIT: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The drain limit of those tests that let it pass.
const SHORT_S: u64 = 2;
/// Beyond its drain limit a process may take as long to end.
const TO_END: Duration = Duration::from_secs(20);

async fn start(mode: Mode, drain_limit_s: u64) -> TestResult<TestCluster> {
    let limit = ("GRANARY_DRAIN_LIMIT_S".to_owned(), drain_limit_s.to_string());
    let cluster = TestCluster::start_with(mode, |spec| spec.environment.push(limit)).await?;
    let mut client = cluster.client(0).await?;
    for sql in [
        "CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id \
         DISTRIBUTED BY (id) BUCKETS 6",
        "CREATE TABLE filled (id Int64, name String) ENGINE = MergeTree ORDER BY id \
         DISTRIBUTED BY (id) BUCKETS 6",
        &format!("INSERT INTO t SELECT number, 'name ' || number FROM numbers({ROWS})"),
    ] {
        client.update(sql).await?;
    }
    Ok(cluster)
}

/// A session whose queries run on every worker.
async fn client(cluster: &TestCluster, mode: Mode) -> TestResult<SqlClient> {
    let mut client = cluster.client(0).await?;
    for set in mode.settings() {
        client.update(set).await?;
    }
    Ok(client)
}

fn batch(first: i64, rows: i64) -> TestResult<RecordBatch> {
    let ids = first..first + rows;
    let names = StringArray::from_iter_values(ids.clone().map(|id| format!("name {id}")));
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
        ("name", Arc::new(names) as ArrayRef),
    ])?)
}

/// An insert of [`ROWS`] rows that stops in its middle until it is told to go on.
struct HalfInsert {
    go_on: oneshot::Sender<()>,
    answer: tokio::task::JoinHandle<Option<Result<InsertResponse, Status>>>,
}

impl HalfInsert {
    fn start(url: String) -> TestResult<HalfInsert> {
        let batches = [batch(0, ROWS / 2)?, batch(ROWS / 2, ROWS / 2)?];
        let ipc = bulk::encode(&batches[0].schema(), &batches)?;
        let mut first = bulk::messages(bulk::header("filled", ""), &ipc);
        let second = first.split_off(first.len() / 2);
        let (go_on, told) = oneshot::channel();
        let rest = async move {
            // A test that fails drops the sender, and then the stream ends too early.
            let second = if told.await.is_ok() { second } else { Vec::new() };
            futures::stream::iter(second)
        };
        let all = futures::stream::iter(first).chain(rest.into_stream().flatten());
        let sent = async move { bulk::send(&url, all).await };
        Ok(HalfInsert { go_on, answer: TaskOwner::current().spawn(sent) })
    }

    /// Sends the rest; all of it must be acknowledged.
    async fn finish(self) -> TestResult {
        self.go_on.send(()).map_err(|()| "the insert has ended in its middle")?;
        let answer = tokio::time::timeout(LIMIT, self.answer).await??.ok_or("stopped")?;
        assert_eq!(answer?.rows, ROWS as u64);
        Ok(())
    }
}

/// Reads the rest of [`WIDE`] after its first batch.
async fn read_rest(stream: &mut FlightRecordBatchStream, first: &RecordBatch) -> TestResult {
    let sum = |batch: &RecordBatch| -> i64 {
        batch.column(0).as_primitive::<Int64Type>().values().iter().sum()
    };
    let (mut rows, mut ids) = (first.num_rows() as i64, sum(first));
    while let Some(batch) = tokio::time::timeout(LIMIT, stream.next()).await? {
        let batch = batch.map_err(SqlError::from)?;
        rows += batch.num_rows() as i64;
        ids += sum(&batch);
    }
    assert_eq!((rows, ids), (ROWS, ROWS * (ROWS - 1) / 2), "the result was cut");
    Ok(())
}

async fn health(address: &str) -> TestResult<ServingStatus> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let answer =
        HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await?;
    Ok(answer.into_inner().status())
}

/// Waits until a process says on its HTTP port and on its gRPC port `grpc` that it does not serve.
async fn wait_draining(draining: &ProcessHandle, grpc: &str) -> TestResult {
    let http = draining.address("http").ok_or("no HTTP port")?;
    let began = Stopwatch::start();
    loop {
        let (ready, text) = process::page(http, "/readyz").await?;
        let health = health(draining.address(grpc).ok_or("no gRPC port")?).await?;
        if ready == 503 && health == ServingStatus::NotServing {
            assert!(text.contains("draining"), "{text}");
            assert_eq!(process::page(http, "/healthz").await?.0, 200);
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            return Err(format!("/readyz answers {ready}, gRPC health {health:?}").into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn check_ended(process: &mut ProcessHandle, limit: Duration) -> TestResult {
    let status = process.wait_exit(limit).await?;
    let status = status.ok_or_else(|| format!("{} still runs", process.name()))?;
    assert!(status.success(), "{} ended with {status}", process.name());
    Ok(())
}

/// A query and an insert run while `drained` gets SIGTERM; both end well, and it ends with 0.
async fn check_work_ends(
    mode: Mode,
    drained: fn(&mut Cluster) -> &mut ProcessHandle,
    grpc: &str,
) -> TestResult {
    let mut cluster = start(mode, 60).await?;
    let url = cluster.url(0)?;
    let mut reader = client(&cluster, mode).await?;
    let mut stream = reader.stream(WIDE).await?;
    let first = stream.next().await.ok_or("no batch")??;
    let insert = HalfInsert::start(url.clone())?;
    let mut watcher = cluster.client(0).await?;
    let running = "SELECT count(*) FROM system.processes WHERE query LIKE 'bulk insert%'";
    wait_for(&mut watcher, running, "1").await?;

    let process = drained(&mut cluster.cluster);
    assert_eq!(health(process.address(grpc).ok_or("no gRPC port")?).await?, ServingStatus::Serving);
    process.terminate()?;
    wait_draining(process, grpc).await?;
    if grpc == "grpc" {
        check_refuses(&mut watcher, &url).await?;
    }
    assert!(drained(&mut cluster.cluster).exit_status()?.is_none(), "it did not wait");
    insert.finish().await?;
    read_rest(&mut stream, &first).await?;
    drop((stream, reader, watcher));
    let process = drained(&mut cluster.cluster);
    check_ended(process, LIMIT).await?;
    process.respawn()?;
    process.wait_ready().await?;
    let want = format!("{ROWS}\t{ROWS}\t{}", ROWS * (ROWS - 1) / 2);
    let figures = "SELECT count(*), count(DISTINCT name), sum(id) FROM filled";
    // A worker may have come back a moment after it said that it is ready.
    let began = Stopwatch::start();
    loop {
        let got = cluster.client(0).await?.lines(figures).await;
        match got {
            Ok(lines) => {
                assert_eq!(lines, [want]);
                return Ok(());
            }
            Err(error) if began.elapsed() > LIMIT => return Err(error.into()),
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// New statements and inserts are refused, in a session that there is and in a new one.
async fn check_refuses(known: &mut SqlClient, url: &str) -> TestResult {
    let mut new = SqlClient::connect(url).await?;
    for client in [known, &mut new] {
        for sql in ["SELECT 1", "INSERT INTO filled VALUES (-1, 'late')"] {
            let Err(error) = client.run(sql).await else { panic!("{sql} was taken") };
            assert_eq!(error.code(), Some(Code::Unavailable), "{sql}: {error}");
            assert!(error.to_string().contains("shutting down"), "{sql}: {error}");
        }
    }
    let late = batch(-10, 5)?;
    let ipc = bulk::encode(&late.schema(), &[late])?;
    let messages = bulk::messages(bulk::header("filled", ""), &ipc);
    let answer = bulk::send(url, futures::stream::iter(messages)).await;
    let Err(status) = answer else { panic!("an insert was taken") };
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("shutting down"), "{status}");
    Ok(())
}

/// Sends SIGTERM to `drained`, which must end with 0 once its drain limit has passed.
async fn pass_limit(drained: &mut ProcessHandle) -> TestResult {
    let began = Stopwatch::start();
    drained.terminate()?;
    check_ended(drained, Duration::from_secs(SHORT_S) + TO_END).await?;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(SHORT_S), "it ended after {waited:?}");
    Ok(())
}

/// An endless query runs while its coordinator gets SIGTERM; its client reads why it ended.
async fn check_limit(mode: Mode) -> TestResult {
    let mut cluster = start(mode, SHORT_S).await?;
    let mut asker = client(&cluster, mode).await?;
    let asked = TaskOwner::current().spawn(async move { asker.query(ENDLESS_SUM).await });
    let mut watcher = cluster.client(0).await?;
    let running = "SELECT count(*) FROM system.processes WHERE query LIKE '%AS endless FROM t AS a%' \
                   AND query NOT LIKE '%system.processes%'";
    wait_for(&mut watcher, running, "1").await?;
    pass_limit(coordinator(&mut cluster.cluster)).await?;
    let answer = tokio::time::timeout(LIMIT, asked).await??.ok_or("stopped")?;
    let Err(error) = answer else { panic!("an endless query gave an answer") };
    assert_eq!(error.code(), Some(Code::Unavailable), "{error}");
    assert!(error.to_string().contains("drain_limit_s = 2"), "{error}");
    Ok(())
}

fn coordinator(cluster: &mut Cluster) -> &mut ProcessHandle {
    &mut cluster.coordinators[0]
}

fn worker(cluster: &mut Cluster) -> &mut ProcessHandle {
    &mut cluster.workers[1]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_ends_what_runs() -> TestResult {
    check_work_ends(Mode::Embedded, coordinator, "grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_coordinator_ends_what_runs() -> TestResult {
    check_work_ends(Mode::Cluster, coordinator, "grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_ends_what_runs() -> TestResult {
    check_work_ends(Mode::Cluster, worker, "internal").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_limit_ends_a_server() -> TestResult {
    check_limit(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_limit_ends_a_coordinator() -> TestResult {
    check_limit(Mode::Cluster).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_limit_ends_a_worker() -> TestResult {
    let mut cluster = start(Mode::Cluster, SHORT_S).await?;
    // A query that has given rows cannot begin again on the other workers.
    let mut reader = client(&cluster, Mode::Cluster).await?;
    let mut stream = reader.stream(ENDLESS_ROWS).await?;
    stream.next().await.ok_or("no batch")??;
    pass_limit(worker(&mut cluster.cluster)).await?;
    let error = loop {
        match tokio::time::timeout(LIMIT, stream.next()).await? {
            Some(Ok(_)) => {}
            Some(Err(error)) => break SqlError::from(error),
            None => panic!("the result was cut"),
        }
    };
    assert_eq!(error.code(), Some(Code::Unavailable), "{error}");
    assert!(error.to_string().contains("worker"), "{error}");
    Ok(())
}
