//! TPC-H at a small scale, in both modes, against the answers of another engine: one worker and
//! three give the same rows.

use granary_testkit::{Mode, TestCluster, TestResult, paths, tpch};
use sha2::{Digest, Sha256};

const SCALE: &str = "0.01";

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let url = cluster.url(0)?;
    let mut loader = cluster.client(0).await?;
    tpch::load(&mut loader, &url, SCALE.parse()?).await?;
    // Another coordinator, where there is one, sees what was acknowledged through the first.
    let mut client = cluster.client(1).await?;
    for setting in mode.settings() {
        client.run(setting).await?;
    }
    let mut failures = Vec::new();
    for number in 1..=22 {
        if let Err(why) = tpch::check_query(&mut client, SCALE, number).await {
            failures.push(format!("Q{number}: {why}"));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(format!("{} wrong\n{}", failures.len(), failures.join("\n")).into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tpch_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tpch_cluster() -> TestResult {
    check(Mode::Cluster).await
}

/// With both tables distributed by the order key, their join on it moves nothing between workers;
/// a join on another key does.
#[tokio::test(flavor = "multi_thread")]
async fn the_join_on_the_order_key_exchanges_nothing() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    tpch::load(&mut client, &cluster.url(0)?, SCALE.parse()?).await?;
    // However small the tables are, each worker takes its share.
    client.run("SET distributed_scan_bytes_min = 0").await?;
    let join = "SELECT o_orderkey, l_linenumber, o_totalprice, l_quantity \
                FROM orders JOIN lineitem ON o_orderkey = l_orderkey";
    let plan = client.lines(&format!("EXPLAIN ANALYZE {join}")).await?.join("\n");
    assert!(plan.contains("exchanged: 0 B"), "{plan}");
    let rows = client.value(&format!("SELECT count(*) FROM ({join}) AS joined")).await?;
    assert_eq!(rows, "60175");

    let shuffled = "SELECT c_name, l_quantity FROM customer \
                    JOIN orders ON c_custkey = o_custkey JOIN lineitem ON o_orderkey = l_orderkey";
    let plan = client.lines(&format!("EXPLAIN ANALYZE {shuffled}")).await?.join("\n");
    assert!(plan.contains("exchanged: ") && !plan.contains("exchanged: 0 B"), "{plan}");
    Ok(())
}

/// The stored answers were made from the same rows that the generator makes here.
#[test]
fn the_generator_makes_the_rows_of_the_answers() -> TestResult {
    let stored = format!("tests/tpch/answers/scale-{SCALE}/data.sha256");
    let stored = std::fs::read_to_string(paths::in_repository(&stored))?;
    for table in tpch::TABLES {
        let mut digest = Sha256::new();
        tpch::text_rows(table, SCALE.parse()?, |line| {
            digest.update(line);
            digest.update("\n");
        })?;
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(stored.contains(&format!("{digest}  {table}\n")), "rows of {table} differ");
    }
    Ok(())
}
