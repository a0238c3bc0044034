//! Files of parts that are damaged on disk: what queries, CHECK TABLE and system.parts say, that it
//! outlasts restarts, and that it ends when the file is whole again, which a second copy sees to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};
use tonic::Code;

use super::wait_for;

const ROWS: &str = "SELECT count(), sum(id), sum(length(text)) FROM (SELECT id, text FROM t)";
const DAMAGED: &str = "SELECT count(*) FROM system.parts WHERE table = 't' AND damage IS NOT NULL";

/// Two partitions of one part each, in one bucket, so that each has its file.
async fn create(client: &mut SqlClient, copies: u32) -> TestResult {
    let table = format!(
        "CREATE TABLE t (id Int64, half Int64, text String) ENGINE = MergeTree ORDER BY id \
             PARTITION BY half DISTRIBUTED BY (half) BUCKETS 1 SETTINGS replication_factor = {copies}"
    );
    client.update(&table).await?;
    client.update("SYSTEM STOP MERGES t").await?;
    for half in 0..2 {
        let rows = format!(
            "INSERT INTO t SELECT number + {}, {half}, concat('text ', toString(number * 7919)) \
             FROM numbers(20000)",
            half * 20_000
        );
        client.update(&rows).await?;
    }
    Ok(())
}

/// The folder of the part that holds a half.
async fn folder_of(cluster: &TestCluster, client: &mut SqlClient, half: u64) -> TestResult<Part> {
    let id = format!(
        "SELECT id FROM system.parts WHERE table = 't' AND active AND partition = '{half}'"
    );
    let id = client.value(&id).await?;
    let folder = find(cluster.folder(), &id)?.ok_or_else(|| format!("no folder of part {id}"))?;
    Ok(Part { id, folder })
}

struct Part {
    id: String,
    folder: PathBuf,
}

/// A folder of this name that holds a part.
fn find(below: &Path, name: &str) -> TestResult<Option<PathBuf>> {
    for entry in std::fs::read_dir(below)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with(name) && path.join("descriptor").exists() {
            return Ok(Some(path));
        }
        if let Some(found) = find(&path, name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Changes a file under the server's feet; returns what it was.
fn damage(file: &Path, how: &str) -> TestResult<Vec<u8>> {
    let before = std::fs::read(file)?;
    let mut content = before.clone();
    let middle = content.len() / 2;
    match how {
        "flipped" => {
            content[middle] ^= 0x10;
            std::fs::write(file, content)?;
        }
        "cut" => std::fs::write(file, &content[..middle])?,
        _ => std::fs::remove_file(file)?,
    }
    Ok(before)
}

/// What CHECK TABLE says of a part.
async fn checked(client: &mut SqlClient, part: &str) -> TestResult<(bool, String)> {
    let lines = client.lines("CHECK TABLE t").await?;
    let row = lines.iter().find(|line| line.split('\t').next() == Some(part));
    let row = row.ok_or("the part is not listed")?;
    let message = row.split('\t').nth(2).unwrap_or_default();
    Ok((has_passed(row), message.to_owned()))
}

fn has_passed(row: &str) -> bool {
    row.split('\t').nth(1) == Some("1")
}

/// The query that meets damage fails and says all that one needs to know.
async fn check_complaint(client: &mut SqlClient, part: &str) -> TestResult {
    let error = client.query(ROWS).await.err().ok_or("rows are missing and nobody says so")?;
    assert_eq!(error.code(), Some(Code::DataLoss), "{error}");
    let text = error.to_string();
    for word in
        [&format!("part {part} of table default.t on worker "), "data.vortex", "CHECK TABLE"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    Ok(())
}

async fn check_mode(mode: Mode) -> TestResult {
    let mut cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    create(&mut client, 1).await?;
    let all = client.lines("CHECK TABLE t").await?;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|row| has_passed(row)), "{all:?}");
    let part = folder_of(&cluster, &mut client, 0).await?;
    let data = part.folder.join("data.vortex");

    // A bit that flips may well decode: the checksum sees it.
    let before = damage(&data, "flipped")?;
    check_complaint(&mut client, &part.id).await?;
    wait_for(&mut client, DAMAGED, "1").await?;
    let other = "SELECT count(*), min(id) FROM t WHERE half = 1 AND id >= 0";
    assert_eq!(client.lines(other).await?, ["20000\t20000"], "the other part is read as ever");
    let (is_passed, message) = checked(&mut client, &part.id).await?;
    assert!(!is_passed && message.contains("file data.vortex: bytes "), "{message}");
    let of_other = client.lines("CHECK TABLE t PARTITION 1").await?;
    assert!(of_other.len() == 1 && has_passed(&of_other[0]), "{of_other:?}");

    // It outlasts a restart, and inserts go on.
    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    wait_for(&mut client, DAMAGED, "1").await?;
    check_complaint(&mut client, &part.id).await?;

    // The file comes back from a backup.
    std::fs::write(&data, &before)?;
    assert!(checked(&mut client, &part.id).await?.0);
    wait_for(&mut client, DAMAGED, "0").await?;
    let rows = client.lines(ROWS).await?;
    assert!(rows[0].starts_with("40000\t799980000\t"), "{rows:?}");

    for (file, how) in [("index", "cut"), ("data.vortex", "missing"), ("descriptor", "flipped")] {
        let path = part.folder.join(file);
        let before = damage(&path, how)?;
        let (is_passed, message) = checked(&mut client, &part.id).await?;
        assert!(!is_passed && message.contains(&format!("file {file}")), "{file} {how}: {message}");
        wait_for(&mut client, DAMAGED, "1").await?;
        std::fs::write(&path, &before)?;
        assert!(checked(&mut client, &part.id).await?.0, "{file} {how}");
        wait_for(&mut client, DAMAGED, "0").await?;
    }

    // Who has no backup gives the rows up.
    damage(&data, "flipped")?;
    assert!(!checked(&mut client, &part.id).await?.0);
    client.update("ALTER TABLE t DROP PARTITION 0").await?;
    assert_eq!(
        client.lines("SELECT count(*), min(id) FROM t WHERE id >= 0").await?,
        ["20000\t20000"]
    );
    let active = format!("{DAMAGED} AND active");
    wait_for(&mut client, &active, "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_embedded() -> TestResult {
    check_mode(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_cluster() -> TestResult {
    check_mode(Mode::Cluster).await
}

/// Parts of which both copies are whole.
const BOTH_COPIES: &str =
    "SELECT count(*) FROM system.parts WHERE table = 't' AND active AND live_copies = 2";
const OUT_OF_SYNC: &str = "SELECT count(*) FROM system.bucket_replicas WHERE NOT is_in_sync";
/// Long enough for a look at the copies, for a bucket to change hands, and for a part to be fetched.
const MENDED_LIMIT: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

async fn wait_until_mended(client: &mut SqlClient, path: &Path, before: &[u8]) -> TestResult {
    let mended = async {
        while std::fs::read(path).is_ok_and(|content| content != before) || !path.exists() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        for (sql, want) in [(DAMAGED, "0"), (BOTH_COPIES, "2"), (OUT_OF_SYNC, "0")] {
            while client.value(sql).await? != want {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        TestResult::Ok(())
    };
    tokio::time::timeout(MENDED_LIMIT, mended).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_read_around_and_mended() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    create(&mut client, 2).await?;
    assert_eq!(client.value(BOTH_COPIES).await?, "2");
    let part = folder_of(&cluster, &mut client, 0).await?;
    for (file, how) in [
        ("data.vortex", "flipped"),
        ("index", "cut"),
        ("descriptor", "flipped"),
        ("data.vortex", "missing"),
    ] {
        let path = part.folder.join(file);
        let before = damage(&path, how)?;
        // Whichever copy is read, the rows are right: a query that meets damage is planned again.
        for turn in 0..6 {
            let rows = cluster.client(turn).await?.lines(ROWS).await?;
            assert!(rows[0].starts_with("40000\t799980000\t"), "{file} {how}: {rows:?}");
        }
        // Not every read needs every byte; a check does.
        let copies = client.lines("CHECK TABLE t").await?;
        assert!((3..=4).contains(&copies.len()), "{file} {how}: {copies:?}");
        let mended = wait_until_mended(&mut client, &path, &before).await;
        mended.map_err(|error| format!("{file} {how}: {error}"))?;
        let copies = client.lines("CHECK TABLE t").await?;
        let are_whole = copies.iter().all(|row| has_passed(row));
        assert!(copies.len() == 4 && are_whole, "{file} {how}: {copies:?}");
    }

    // The mended copy is as good as any: when it is the only one left, all rows are there.
    for worker in &mut cluster.cluster.workers {
        if !part.folder.components().any(|folder| folder.as_os_str() == worker.name()) {
            worker.kill()?;
        }
    }
    let rows = client.lines(ROWS).await?;
    assert!(rows[0].starts_with("40000\t799980000\t"), "{rows:?}");
    Ok(())
}

/// A cluster whose workers look at all of their parts all the time.
async fn scrubbing(mode: Mode) -> TestResult<TestCluster> {
    TestCluster::start_with(mode, |spec| {
        for (name, value) in [("GRANARY_SCRUB_PERIOD_S", "1"), ("GRANARY_SCRUB_MIB_S", "64")] {
            spec.environment.push((name.to_owned(), value.to_owned()));
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_no_query_meets_is_noted() -> TestResult {
    let mut cluster = scrubbing(Mode::Embedded).await?;
    let mut client = cluster.client(0).await?;
    create(&mut client, 1).await?;
    let found = "SELECT parts_damaged > 0 AND bytes_checked > 0 FROM system.scrubs";
    assert_eq!(client.value(found).await?, "0");
    let part = folder_of(&cluster, &mut client, 1).await?;
    damage(&part.folder.join("data.vortex"), "flipped")?;
    wait_for(&mut client, DAMAGED, "1").await?;
    wait_for(&mut client, found, "1").await?;
    // It goes on where it was after a restart, and finds nothing new.
    wait_for(&mut client, "SELECT last_round_finished IS NOT NULL FROM system.scrubs", "1").await?;
    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    wait_for(&mut client, "SELECT last_round_finished IS NOT NULL FROM system.scrubs", "1").await?;
    assert_eq!(client.value(DAMAGED).await?, "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_no_query_meets_is_mended() -> TestResult {
    let cluster = scrubbing(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    create(&mut client, 2).await?;
    let part = folder_of(&cluster, &mut client, 0).await?;
    let file = part.folder.join("data.vortex");
    let before = damage(&file, "flipped")?;
    wait_for(&mut client, "SELECT sum(parts_damaged) > 0 FROM system.scrubs", "1").await?;
    for _ in 0..600 {
        if std::fs::read(&file).is_ok_and(|now| now == before) {
            wait_for(&mut client, DAMAGED, "0").await?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the damaged copy was not mended".into())
}
