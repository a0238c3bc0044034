//! Loads that stop in the middle and are run again: each row comes in exactly once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

use super::{Running, run, text};

const TABLE: &str = "CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id";
const ROWS: &str = "SELECT count(*), count(DISTINCT id) FROM t";

fn write(path: &Path, ids: std::ops::Range<u64>) -> TestResult {
    let rows = ids.map(|id| format!("{id},this is row number {id}\n"));
    let content = std::iter::once("id,name\n".to_owned()).chain(rows).collect::<String>();
    Ok(std::fs::write(path, content)?)
}

async fn server() -> TestResult<(TestCluster, SqlClient, String)> {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let mut client = cluster.client(0).await?;
    client.update(TABLE).await?;
    let url = cluster.url(0)?;
    Ok((cluster, client, url))
}

async fn check_rows(client: &mut SqlClient, rows: u64) -> TestResult {
    assert_eq!(client.lines(ROWS).await?, [format!("{rows}\t{rows}")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_a_bad_file_stopped_goes_on() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let folder = tempfile::tempdir()?;
    let [a, b, c] = ["a.csv", "b.csv", "c.csv"].map(|name| folder.path().join(name));
    write(&a, 0..1_000)?;
    std::fs::write(&b, "id,name\n1000,good\nbad,row\n")?;
    write(&c, 2_000..3_000)?;
    let files = text(&folder.path().join("*.csv"))?;
    let words = ["load", "--url", &url, "--parallel", "1", "t", &files];
    run(&words)?.refused(1, &[&text(&b)?, "row 2, column id"]);
    check_rows(&mut client, 1_000).await?;

    write(&b, 1_000..2_000)?;
    let ran = run(&words)?.done();
    assert!(ran.out.starts_with("loaded 2000 rows from 2 files into "), "{}", ran.out);
    assert!(ran.out.contains("; 1 file had been loaded before"), "{}", ran.out);
    check_rows(&mut client, 3_000).await?;

    // A finished one adds nothing, whatever the table is called and wherever the files lie.
    let moved = tempfile::tempdir()?;
    for file in [&a, &b, &c] {
        std::fs::copy(file, moved.path().join(file.file_name().ok_or("a name")?))?;
    }
    let moved = text(&moved.path().join("*.csv"))?;
    let nothing = "loaded 0 rows from 0 files into 0 parts; 3 files had been loaded before\n";
    let again = [("t", &files), ("default.t", &files), ("t", &moved)];
    for (table, files) in again {
        let ran = run(&["load", "--url", &url, table, files])?.done();
        assert_eq!(ran.out, nothing, "{table} {files}");
    }
    check_rows(&mut client, 3_000).await
}

const FILES: u64 = 30;
const FILE_ROWS: u64 = 15_000;

/// Waits until there are so many rows, and gives how many there are.
async fn wait_for_rows(client: &mut SqlClient, least: u64) -> TestResult<u64> {
    for _ in 0..6_000 {
        let seen = client.value("SELECT count(*) FROM t").await?.parse()?;
        if seen >= least {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("not {least} rows after a minute").into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_killed_or_interrupted_goes_on() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let folder = tempfile::tempdir()?;
    for file in 0..FILES {
        let path: PathBuf = folder.path().join(format!("{file:02}.csv"));
        write(&path, file * FILE_ROWS..(file + 1) * FILE_ROWS)?;
    }
    let files = text(&folder.path().join("*.csv"))?;
    let mut seen = 0;
    for least in [1, FILES / 3] {
        let loading = Running::start(&["load", "--url", &url, "t", &files])?;
        seen = wait_for_rows(&mut client, least * FILE_ROWS).await?;
        drop(loading);
    }
    // A third one stops by Ctrl-C, and says what to do.
    let loading = Running::start(&["load", "--url", &url, "t", &files])?;
    // The two that were under way may have come in without it.
    wait_for_rows(&mut client, seen + 2 * FILE_ROWS + 1).await?;
    let ran = loading.interrupt().await?;
    ran.refused(130, &["error[CANCELLED]: interrupted; run it again to go on where it stopped"]);
    // What was under way when it was killed may be seen by now, but whole files only.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen: u64 = client.value("SELECT count(*) FROM t").await?.parse()?;
    assert!(seen < FILES * FILE_ROWS, "it was killed too late to have stopped in the middle");
    assert_eq!(seen % FILE_ROWS, 0, "{seen} rows");
    check_rows(&mut client, seen).await?;

    let ran = run(&["load", "--url", &url, "t", &files])?.done();
    let before = seen / FILE_ROWS;
    assert!(ran.out.contains(&format!("from {} files", FILES - before)), "{}", ran.out);
    assert!(ran.out.contains(&format!("; {before} file")), "{}", ran.out);
    check_rows(&mut client, FILES * FILE_ROWS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_with_another_coordinator() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let urls = cluster.cluster.urls();
    let mut client = SqlClient::connect(&urls[1]).await?;
    client.update(TABLE).await?;
    let folder = tempfile::tempdir()?;
    for file in 0..FILES {
        let path: PathBuf = folder.path().join(format!("{file:02}.csv"));
        write(&path, file * FILE_ROWS..(file + 1) * FILE_ROWS)?;
    }
    let files = text(&folder.path().join("*.csv"))?;
    let both = urls.join(",");
    let loading = Running::start(&["load", "--url", &both, "t", &files])?;
    let seen = wait_for_rows(&mut client, FILE_ROWS).await?;
    assert!(seen < FILES * FILE_ROWS, "all files were in before anything went wrong");
    cluster.cluster.coordinators[0].kill()?;
    wait_for_rows(&mut client, FILES * FILE_ROWS).await?;
    assert_eq!(loading.end().await?.code, Some(0));
    check_rows(&mut client, FILES * FILE_ROWS).await?;
    let ran =
        run(&["sql", "--url", &both, "--format", "csv", "-c", "SELECT count(*) AS n FROM t"])?;
    assert_eq!(ran.done().out, format!("n\n{}\n", FILES * FILE_ROWS));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_for_one_load() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let folder = tempfile::tempdir()?;
    let [a, b] = ["a.csv", "b.csv"].map(|name| folder.path().join(name));
    write(&a, 0..100)?;
    let file = text(&a)?;
    let one = ["load", "--url", &url, "--token", "monday", "t", &file];
    assert!(run(&one)?.done().out.starts_with("loaded 100 rows from 1 file into "));
    let nothing = "loaded 0 rows from 0 files into 0 parts; 1 file had been loaded before\n";
    assert_eq!(run(&one)?.done().out, nothing);
    // Other rows are not what was loaded under it.
    write(&a, 500..600)?;
    run(&one)?.refused(1, &["token", &file]);
    check_rows(&mut client, 100).await?;

    // Of many files each has one of its own below it.
    write(&b, 1_000..1_100)?;
    let files = text(&folder.path().join("*.csv"))?;
    let many = ["load", "--url", &url, "--token", "tuesday", "t", &files];
    assert!(run(&many)?.done().out.starts_with("loaded 200 rows from 2 files into "));
    check_rows(&mut client, 300).await?;
    write(&folder.path().join("c.csv"), 2_000..2_100)?;
    let ran = run(&many)?.done();
    assert!(ran.out.starts_with("loaded 100 rows from 1 file into "), "{}", ran.out);
    assert!(ran.out.contains("; 2 files had been loaded before"), "{}", ran.out);
    check_rows(&mut client, 400).await?;
    // Under another token the same rows are other ones.
    let ran = run(&["load", "--url", &url, "--token", "wednesday", "t", &files])?.done();
    assert!(ran.out.starts_with("loaded 300 rows from 3 files into "), "{}", ran.out);
    assert_eq!(client.lines(ROWS).await?, ["700\t400"]);
    Ok(())
}
