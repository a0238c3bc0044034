//! The tests of `tests/adbc`: the Flight SQL driver that people use, from Python, in both modes.

use std::process::Command;

use granary_testkit::{Mode, TestCluster, TestResult, paths};

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let uris: Vec<String> =
        cluster.cluster.urls().iter().map(|url| url.replace("http://", "grpc://")).collect();
    // scripts/python brings pytest and the driver along where they are missing.
    let output = Command::new(paths::in_repository("scripts/python"))
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(paths::in_repository("tests/adbc"))
        .env("GRANARY_TEST_URIS", uris.join(","))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_cluster() -> TestResult {
    check(Mode::Cluster).await
}
