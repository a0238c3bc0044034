//! The tests of `tests/outside`: files that another program wrote, in a folder, behind a web server
//! and in an S3 server, all of them processes of their own.

use std::process::Command;

use granary_testkit::{Mode, TestCluster, TestResult, paths};

async fn check(mode: Mode) -> TestResult {
    let files = tempfile::tempdir()?;
    let cluster = TestCluster::start_with(mode, |spec| {
        let files = files.path().display().to_string();
        spec.environment.push(("GRANARY_USER_FILES_PATH".to_owned(), files));
    })
    .await?;
    let uris: Vec<String> =
        cluster.cluster.urls().iter().map(|url| url.replace("http://", "grpc://")).collect();
    let output = Command::new(paths::in_repository("scripts/stores"))
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(paths::in_repository("tests/outside"))
        .env("GRANARY_TEST_URIS", uris.join(","))
        .env("GRANARY_TEST_FILES", files.path())
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
async fn outside_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_cluster() -> TestResult {
    check(Mode::Cluster).await
}

/// Without the setting no file of the machine is read, and the error says what to set.
#[tokio::test(flavor = "multi_thread")]
async fn files_need_a_folder() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let mut client = cluster.client(0).await?;
    let error = client.query("SELECT * FROM file('a.csv')").await.err().ok_or("it was read")?;
    assert!(error.to_string().contains("--user-files-path"), "{error}");
    Ok(())
}
