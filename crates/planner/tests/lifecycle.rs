//! Workers that go away, come back, and are asked by the wrong people.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use futures::StreamExt;
use granary_catalog::*;
use granary_common::random::SeededRandom;
use granary_common::{ErrorKind, SystemClock, TaskOwner};
use granary_execution::{BuiltinFunctions, RemoteWorker, WorkerApi};
use granary_planner::EngineMode;
use granary_worker::WorkerNode;
use support::{Cluster, Made, config};

fn numbers(rows: i64) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from_iter_values(0..rows))]
}

async fn filled(workers: usize, rows: i64) -> Cluster {
    let cluster = Cluster::start(workers, EngineMode::Cluster).await;
    let made = Made {
        name: "t",
        columns: &[("k", "Int64")],
        order_by: &["k"],
        hashed: &["k"],
        buckets: 6,
    };
    let table = cluster.create(&made).await;
    cluster.insert(table, numbers(rows)).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_keeps_its_id_and_its_folder_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::shared();
    let catalog: Arc<dyn Catalog> =
        Arc::new(MemoryCatalog::new("test", Arc::clone(&clock)).unwrap());
    let start = || {
        WorkerNode::start(
            config(folder.path(), 0),
            Arc::clone(&catalog),
            Arc::new(BuiltinFunctions),
            Arc::clone(&clock),
            Arc::new(SeededRandom::new(1)),
            TaskOwner::current(),
        )
    };
    let first = start().await.unwrap();
    assert_eq!(start().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let id = first.id();
    assert!(first.drain(Duration::from_secs(5)).await);
    drop(first);
    let again = start().await.unwrap();
    assert_eq!(again.id(), id);
    let row = Arc::clone(catalog.snapshot().workers.get(&id).unwrap());
    assert_eq!((row.incarnation, row.state), (2, WorkerState::Alive));
    // The same folder does not serve another cluster.
    drop(again);
    let other: Arc<dyn Catalog> =
        Arc::new(MemoryCatalog::new("other", Arc::clone(&clock)).unwrap());
    let refused = WorkerNode::start(
        config(folder.path(), 0),
        other,
        Arc::new(BuiltinFunctions),
        Arc::clone(&clock),
        Arc::new(SeededRandom::new(1)),
        TaskOwner::current(),
    );
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_another_cluster_are_refused() {
    let cluster = Cluster::start(1, EngineMode::Cluster).await;
    let url = cluster.directory.url(cluster.workers[0].id()).unwrap();
    for (named, kind) in
        [(None, ErrorKind::PermissionDenied), (Some("other"), ErrorKind::PermissionDenied)]
    {
        let named = named.map(|name: &str| granary_common::ClusterId(name.to_owned()));
        let remote = RemoteWorker::new(&url, named).unwrap();
        assert_eq!(remote.part_statistics(vec![]).await.unwrap_err().kind(), kind);
    }
    let own = cluster.catalog.snapshot().cluster.as_ref().unwrap().id.clone();
    let remote = RemoteWorker::new(&url, Some(own)).unwrap();
    assert_eq!(remote.part_statistics(vec![]).await.unwrap(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_workers_cost_no_rows_until_both_copies_are_gone() {
    let mut cluster = filled(3, 10_000).await;
    assert_eq!(cluster.rows("SELECT count(*), sum(k) FROM t").await, ["10000|49995000"]);
    for lost in 1..=2 {
        cluster.workers.pop().unwrap().drain(Duration::from_millis(100)).await;
        for bytes_min in [1, 1 << 40] {
            cluster.settings.distributed_scan_bytes_min = bytes_min;
            check_with_lost_workers(&cluster, lost).await;
        }
    }
}

/// With one worker lost a query is right, at the latest once it is known that the worker does not
/// answer; with two lost it fails in good time.
async fn check_with_lost_workers(cluster: &Cluster, lost: usize) {
    for _ in 0..10 {
        let query = cluster.query("SELECT count(*), sum(k) FROM t");
        let answered = tokio::time::timeout(Duration::from_secs(30), query).await;
        match answered.expect("in time") {
            Ok(rows) => {
                assert_eq!(lost, 1, "rows were there that nobody has");
                assert_eq!(support::texts(&rows), ["10000|49995000"]);
                return;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
    assert_eq!(lost, 2, "the copies on other workers were not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_result_stops_the_workers() {
    let cluster = filled(3, 200_000).await;
    let planned = cluster.plan("SELECT a.k FROM t a CROSS JOIN t b").await;
    let mut stream = cluster.engine.execute(&planned.plan, &planned.state).unwrap();
    stream.next().await.expect("rows").expect("good ones");
    drop(stream);
    for worker in &cluster.workers {
        assert!(worker.drain(Duration::from_secs(20)).await, "worker {} is idle", worker.id());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_over_its_memory_says_so() {
    let mut cluster = filled(2, 400_000).await;
    cluster.settings.max_memory_usage = 100_000;
    let error = cluster
        .query("SELECT count(*) FROM t a JOIN t b ON a.k = b.k + 1")
        .await
        .expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert!(error.message().contains("max_memory_usage"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_spills_instead_of_failing() {
    let mut cluster = filled(2, 400_000).await;
    cluster.settings.max_memory_usage = 16 << 20;
    let rows = cluster.query("SELECT k FROM t ORDER BY k % 1000, k").await.expect("spills");
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 400_000);
}
