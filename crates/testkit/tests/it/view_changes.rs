//! Materialized views that come and go while rows are inserted: each sees all of an insert or nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::try_join_all;
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

const WRITERS: u64 = 3;
const ROWS: u64 = 50;
const VIEWS: u64 = 8;
/// Inserts that each view lives for.
const INSERTS_PER_VIEW: u64 = 6;

/// Inserts batches of [`ROWS`] rows, each with a number of its own, until it is told to stop.
async fn write(
    mut client: SqlClient,
    writer: u64,
    writing: &AtomicBool,
    inserted: &AtomicU64,
) -> TestResult<u64> {
    let mut batches = 0;
    while writing.load(Ordering::SeqCst) {
        let batch = batches * WRITERS + writer;
        let sql = format!("INSERT INTO source SELECT {batch}, number FROM numbers({ROWS})");
        client.persist(&sql).await?;
        inserted.fetch_add(1, Ordering::SeqCst);
        batches += 1;
    }
    Ok(batches)
}

/// Makes a view and one over its rows, lets them live for some inserts and drops them.
async fn come_and_go(client: &mut SqlClient, view: u64, inserted: &AtomicU64) -> TestResult {
    let statements = [
        format!(
            "CREATE TABLE seen{view} (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY batch"
        ),
        format!(
            "CREATE TABLE chained{view} (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY batch"
        ),
        format!(
            "CREATE MATERIALIZED VIEW next{view} TO chained{view} AS SELECT batch, n FROM seen{view}"
        ),
        format!(
            "CREATE MATERIALIZED VIEW view{view} TO seen{view} AS \
             SELECT batch, count(*) AS n FROM source GROUP BY batch"
        ),
    ];
    for sql in &statements {
        client.persist(sql).await?;
    }
    let since = inserted.load(Ordering::SeqCst);
    while inserted.load(Ordering::SeqCst) < since + INSERTS_PER_VIEW {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    client.persist(&format!("DROP VIEW view{view}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn views_see_all_of_an_insert_or_nothing() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    client
        .update("CREATE TABLE source (batch UInt64, id UInt64) ENGINE = MergeTree ORDER BY batch")
        .await?;
    let (writing, inserted) = (AtomicBool::new(true), AtomicU64::new(0));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = cluster.client(writer as usize).await?;
        writers.push(write(client, writer, &writing, &inserted));
    }
    let mut changer = cluster.client(1).await?;
    let changes = async {
        let mut done = TestResult::Ok(());
        for view in 0..VIEWS {
            done = come_and_go(&mut changer, view, &inserted).await;
            if done.is_err() {
                break;
            }
        }
        writing.store(false, Ordering::SeqCst);
        done
    };
    let (batches, ()) = futures::future::try_join(try_join_all(writers), changes).await?;
    let batches: u64 = batches.iter().sum();
    let all = "SELECT count(*), count(DISTINCT batch) FROM source";
    assert_eq!(client.lines(all).await?, [format!("{}\t{batches}", batches * ROWS)]);
    for view in 0..VIEWS {
        let torn =
            format!("SELECT batch, sum(n) FROM seen{view} GROUP BY batch HAVING sum(n) != {ROWS}");
        assert_eq!(client.lines(&torn).await?, Vec::<String>::new(), "view {view}");
        let seen = client.value(&format!("SELECT count(DISTINCT batch) FROM seen{view}")).await?;
        let seen: u64 = seen.parse()?;
        assert!(seen >= INSERTS_PER_VIEW - WRITERS, "view {view} saw {seen} inserts");
        let chained = format!("SELECT count(*), sum(n) FROM chained{view}");
        assert_eq!(client.lines(&chained).await?, [format!("{seen}\t{}", seen * ROWS)]);
    }
    Ok(())
}
