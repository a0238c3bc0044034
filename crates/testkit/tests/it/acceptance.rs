//! The acceptance suite, in both modes.

use std::path::Path;

use granary_testkit::slt::{Blessing, ExpectedFailures, run_folder};
use granary_testkit::{Mode, TestCluster, TestResult, paths};

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let run = run_folder(&paths::in_repository("tests/acceptance"), &cluster.url(0)?, mode).await?;
    let list = paths::in_repository("tests/acceptance_expected_failures.txt");
    ExpectedFailures::read(&list)?.check(mode, &run, Blessing::from_environment())
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_cluster() -> TestResult {
    check(Mode::Cluster).await
}

/// Where the suite's source stands beside the checkout, the copy must be equal to it.
#[test]
fn acceptance_is_an_unchanged_copy() -> TestResult {
    let copy = paths::in_repository("tests/acceptance");
    let source = paths::in_repository("../shared/acceptance");
    if !source.is_dir() {
        return Ok(());
    }
    let names = |folder: &Path| -> TestResult<Vec<_>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    };
    assert_eq!(names(&copy)?, names(&source)?, "files of tests/acceptance");
    for name in names(&source)? {
        let same = std::fs::read(copy.join(&name))? == std::fs::read(source.join(&name))?;
        assert!(same, "tests/acceptance/{} was changed", name.to_string_lossy());
    }
    Ok(())
}
