//! Our own `.slt` files, in both modes: everything in them passes.

use granary_testkit::slt::{all_pass, run_folder};
use granary_testkit::{Mode, TestCluster, TestResult, paths};

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start_with(mode, |spec| {
        let files = paths::in_repository("tests/files").display().to_string();
        spec.environment.push(("GRANARY_USER_FILES_PATH".to_owned(), files));
    })
    .await?;
    let run = run_folder(&paths::in_repository("tests/sql"), &cluster.url(0)?, mode).await?;
    Ok(all_pass(&run)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_cluster() -> TestResult {
    check(Mode::Cluster).await
}
