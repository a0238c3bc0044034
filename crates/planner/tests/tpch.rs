//! TPC-H's queries give the same rows in one process and on three workers.

mod support;

use granary_planner::EngineMode;
use support::{Cluster, tpch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_are_equal_embedded_and_on_three_workers() {
    let embedded = Cluster::start(1, EngineMode::Embedded).await;
    let mut cluster = Cluster::start(3, EngineMode::Cluster).await;
    tpch::load(&embedded, 0.01).await;
    tpch::load(&cluster, 0.01).await;
    for number in 1..=22 {
        let sql = tpch::query(number);
        let expected = embedded.rows(&sql).await;
        for distributed_bytes_min in [1, 1 << 20] {
            cluster.settings.distributed_scan_bytes_min = distributed_bytes_min;
            let rows = cluster.rows(&sql).await;
            assert!(
                rows == expected,
                "query {number}, distributed from {distributed_bytes_min} bytes: {} rows, not {}\n\
                 {:?}\n{:?}\n{}",
                rows.len(),
                expected.len(),
                rows.iter().take(3).collect::<Vec<_>>(),
                expected.iter().take(3).collect::<Vec<_>>(),
                cluster.explain(&sql).await
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_join_on_the_order_key_exchanges_nothing() {
    let cluster = Cluster::start(3, EngineMode::Cluster).await;
    tpch::load(&cluster, 0.01).await;
    let sql =
        "SELECT count(*), sum(l_quantity) FROM orders JOIN lineitem ON o_orderkey = l_orderkey";
    let ran = cluster.explain_analyze(sql).await;
    assert!(ran.contains("ColocatedJoinExec") && ran.contains("exchanged: 0 B"), "{ran}");
}

/// Times to look at, not to test: `SCALE=1 cargo test --release --test tpch -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn times() {
    let scale: f64 = std::env::var("SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(0.1);
    let modes = std::env::var("MODES").unwrap_or_else(|_| "embedded,cluster".to_owned());
    for (name, workers, mode) in
        [("embedded", 1, EngineMode::Embedded), ("cluster", 3, EngineMode::Cluster)]
    {
        if !modes.contains(name) {
            continue;
        }
        let mut cluster = Cluster::start(workers, mode).await;
        cluster.settings.distributed_scan_bytes_min = 8 << 20;
        tpch::load(&cluster, scale).await;
        let mut total = 0.0;
        for number in 1..=22 {
            let sql = tpch::query(number);
            let mut best = f64::MAX;
            for _ in 0..3 {
                #[allow(clippy::disallowed_methods)] // Times are what this is for.
                let start = std::time::Instant::now();
                cluster.rows(&sql).await;
                best = best.min(start.elapsed().as_secs_f64());
            }
            total += best;
            println!("{name} q{number:02} {:.1} ms", best * 1e3);
            if std::env::var("EXPLAIN").is_ok_and(|wanted| wanted == number.to_string()) {
                println!("{}", cluster.explain_analyze(&sql).await);
            }
        }
        println!("{name} total {total:.2} s");
    }
}
