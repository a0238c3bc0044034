//! Random queries, answered by one process, by a cluster and by another engine (`scripts/sql-differential`).

use std::process::Command;

use granary_testkit::{Mode, TestCluster, TestResult, paths};

/// Always the same, so that a failure is seen by everybody; the script takes others.
const SEEDS: [&str; 2] = ["11", "12"];
const QUERIES: &str = "150";

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_have_the_answers_of_another_engine() -> TestResult {
    let embedded = TestCluster::start(Mode::Embedded).await?;
    let cluster = TestCluster::start(Mode::Cluster).await?;
    for seed in SEEDS {
        let output = Command::new(paths::in_repository("scripts/sql-differential"))
            .args(["--seed", seed, "--queries", QUERIES])
            .args([embedded.url(0)?, cluster.url(1)?].map(|url| url.replace("http://", "")))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        if !output.status.success() {
            return Err(format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    Ok(())
}
