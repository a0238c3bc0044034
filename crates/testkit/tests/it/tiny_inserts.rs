//! How many inserts of one row many clients get acknowledged; `benches/tiny-inserts/run` runs it.

use std::sync::Arc;

use futures::future::try_join_all;
use granary_common::{Clock, SystemClock};
use granary_testkit::{Mode, TestCluster, TestResult};

const SECONDS: u64 = 10;
const CLIENTS: &str = "1,16,64,256";

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Inserts by so many clients, each waiting for its answer; how long each took, in milliseconds.
async fn insert(cluster: &TestCluster, table: &str, clients: usize) -> TestResult<Vec<u64>> {
    let names = Arc::new(table.to_owned());
    let seconds = setting("GRANARY_TINY_S", "").parse().unwrap_or(SECONDS);
    let until_ms = SystemClock.monotonic_ms() + 1_000 * seconds;
    let mut writers = Vec::new();
    for place in 0..clients {
        let (mut client, table) = (cluster.client(0).await?, Arc::clone(&names));
        writers.push(async move {
            let mut took = Vec::new();
            while SystemClock.monotonic_ms() < until_ms {
                let begun_ms = SystemClock.monotonic_ms();
                let row = format!("INSERT INTO {table} VALUES ({}, {place}, 'row')", took.len());
                client.update(&row).await?;
                took.push(SystemClock.monotonic_ms() - begun_ms);
            }
            TestResult::Ok(took)
        });
    }
    Ok(try_join_all(writers).await?.into_iter().flatten().collect())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark: benches/tiny-inserts/run runs it"]
async fn rates() -> TestResult {
    for mode in [Mode::Embedded, Mode::Cluster] {
        let cluster = TestCluster::start(mode).await?;
        let mut client = cluster.client(0).await?;
        for clients in setting("GRANARY_TINY_CLIENTS", CLIENTS).split(',') {
            let clients: usize = clients.trim().parse()?;
            let table = format!("rows_of_{clients}");
            let columns = "(turn Int64, client Int64, text String)";
            client
                .update(&format!("CREATE TABLE {table} {columns} ENGINE = MergeTree ORDER BY turn"))
                .await?;
            client.update(&format!("SYSTEM STOP MERGES {table}")).await?;
            let begun_ms = SystemClock.monotonic_ms();
            let mut took = insert(&cluster, &table, clients).await?;
            let seconds = (SystemClock.monotonic_ms() - begun_ms) as f64 / 1e3;
            let rows = client.value(&format!("SELECT count(*) FROM {table}")).await?;
            assert_eq!(rows, took.len().to_string());
            let parts = format!("SELECT count(*) FROM system.parts WHERE table = '{table}'");
            took.sort();
            println!(
                "{}, {clients} clients: {:.0} inserts a second, median {} ms, p99 {} ms, {rows} rows in {} parts",
                mode.name(),
                took.len() as f64 / seconds,
                took[took.len() / 2],
                took[took.len() * 99 / 100],
                client.value(&parts).await?
            );
        }
    }
    Ok(())
}
