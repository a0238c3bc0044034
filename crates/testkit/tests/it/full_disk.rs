//! Disks that are full: a clear error, queries go on, nothing is left behind, and writes go on when
//! there is room again. The disks are small ones in memory; mounting them takes root.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use granary::cluster::ClusterSpec;
use granary_common::Random;
use granary_common::random::SeededRandom;
use granary_testkit::{Mode, TestCluster, TestResult, bulk};
use tempfile::TempDir;
use tonic::{Code, Status};

use super::wait_for;

const MIB: u64 = 1 << 20;
/// Of an insert: some megabytes that do not compress.
const ROWS: usize = 200_000;
const ROOM_AGAIN: Duration = Duration::from_secs(20);

/// A small disk; unmounted when dropped.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None`, with the reason on the standard error, where that cannot be done.
    pub fn mount(mib: u64) -> TestResult<Option<SmallDisk>> {
        let folder = tempfile::Builder::new().prefix("granary-disk-").tempdir()?;
        let size = format!("size={mib}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "granary-test"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(done) if done.status.success() => Ok(Some(SmallDisk { folder })),
            Ok(done) => {
                let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                eprintln!("skipped: a full disk needs root to mount a small one: {why}");
                Ok(None)
            }
            Err(error) => {
                eprintln!("skipped: a full disk needs the command mount: {error}");
                Ok(None)
            }
        }
    }

    /// Makes `place` a folder on this disk.
    pub fn stand_in_for(&self, place: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(place.parent().unwrap_or(place))?;
        let data = self.folder.path().join("data");
        std::fs::create_dir_all(&data)?;
        std::os::unix::fs::symlink(data, place)
    }

    fn free_bytes(&self) -> TestResult<u64> {
        let stats = nix::sys::statvfs::statvfs(self.folder.path())?;
        Ok(stats.blocks_available() * stats.fragment_size())
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Fills the disk up to `left` bytes.
    pub fn fill(&self, left: u64) -> TestResult {
        let more = self.free_bytes()?.saturating_sub(left) as usize;
        let mut ballast =
            std::fs::File::options().create(true).append(true).open(self.ballast())?;
        match ballast.write_all(&vec![1; more]) {
            // The last piece did not fit.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            written => Ok(written?),
        }
    }

    pub fn make_room(&self) -> TestResult {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process may be about to end.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

fn noise(seed: u64) -> Result<RecordBatch, ArrowError> {
    let random = SeededRandom::new(seed);
    let ids = (0..ROWS).map(|row| row as i64);
    let texts = (0..ROWS).map(|_| format!("{:016x}", random.next_u64()));
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
        ("text", Arc::new(StringArray::from_iter_values(texts)) as ArrayRef),
    ])
}

async fn insert(url: &str, token: &str) -> Result<u64, Status> {
    let invalid = |error: ArrowError| Status::invalid_argument(error.to_string());
    let rows = noise(7).map_err(invalid)?;
    let ipc = bulk::encode(&rows.schema(), &[rows]).map_err(invalid)?;
    let messages = bulk::messages(bulk::header("t", token), &ipc);
    bulk::send(url, futures::stream::iter(messages)).await.map(|answer| answer.rows)
}

/// Until there is room again, the same insert is refused with a reason, and only with that.
async fn insert_until_done(url: &str, token: &str) -> TestResult {
    let inserting = async {
        loop {
            match insert(url, token).await {
                Ok(rows) => return assert_eq!(rows, ROWS as u64),
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    Ok(tokio::time::timeout(ROOM_AGAIN, inserting).await?)
}

fn embedded_on(disk: &SmallDisk, role: &str) -> impl FnOnce(&mut ClusterSpec) {
    move |spec| {
        if let Err(error) = disk.stand_in_for(&spec.folder.join("server-1").join(role)) {
            // The test then finds that the disk does not fill.
            eprintln!("no small disk for {role}: {error}");
        }
    }
}

const CREATE: &str = "CREATE TABLE t (id Int64, text String) ENGINE = MergeTree ORDER BY id DISTRIBUTED BY (id) BUCKETS 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_full_disk_says_so_and_goes_on() -> TestResult {
    let Some(disk) = SmallDisk::mount(64)? else { return Ok(()) };
    let mut cluster = TestCluster::start_with(Mode::Embedded, embedded_on(&disk, "worker")).await?;
    let url = cluster.url(0)?;
    let mut client = cluster.client(0).await?;
    client.update(CREATE).await?;
    client.update("SYSTEM STOP MERGES").await?;
    assert_eq!(insert(&url, "first").await?, ROWS as u64);
    disk.fill(MIB)?;
    for attempt in 0..5 {
        let status = insert(&url, &format!("full {attempt}")).await.err().ok_or("it fitted")?;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("full"), "{status}");
    }
    let rows = "SELECT count(*), count(DISTINCT id), max(length(text)) FROM t WHERE id >= 0";
    let whole = [format!("{ROWS}\t{ROWS}\t16")];
    assert_eq!(client.lines(rows).await?, whole);
    // What the failed inserts wrote is gone.
    let free = disk.free_bytes()?;
    assert!(free >= MIB * 9 / 10, "{free} bytes are left of {MIB}");
    // It also starts with a full disk, and serves what it has.
    disk.fill(0)?;
    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    assert_eq!(client.lines(rows).await?, whole);
    disk.make_room()?;
    insert_until_done(&url, "second").await?;
    wait_for(&mut client, "SELECT count(*) FROM t", &(2 * ROWS).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_with_a_full_disk_says_so_and_goes_on() -> TestResult {
    let Some(disk) = SmallDisk::mount(96)? else { return Ok(()) };
    let mut cluster =
        TestCluster::start_with(Mode::Embedded, embedded_on(&disk, "metadata")).await?;
    let url = cluster.url(0)?;
    let mut client = cluster.client(0).await?;
    client.update(CREATE).await?;
    client.update("CREATE TABLE other (id Int64) ENGINE = MergeTree ORDER BY id").await?;
    assert_eq!(insert(&url, "first").await?, ROWS as u64);
    disk.fill(8 * MIB)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = insert(&url, "full").await.err().ok_or("it fitted")?;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("metadata leader is nearly full"), "{status}");
    // What is there is read, and what makes room is done.
    wait_for(&mut client, "SELECT count(*) FROM t", &ROWS.to_string()).await?;
    client.update("DROP TABLE other").await?;
    disk.make_room()?;
    insert_until_done(&url, "full").await?;
    wait_for(&mut client, "SELECT count(*) FROM t", &(2 * ROWS).to_string()).await?;
    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    wait_for(&mut client, "SELECT count(*) FROM t", &(2 * ROWS).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_stop_at_the_budget_of_a_disk() -> TestResult {
    let Some(disk) = SmallDisk::mount(64)? else { return Ok(()) };
    let place = embedded_on(&disk, "worker");
    let cluster = TestCluster::start_with(Mode::Embedded, |spec| {
        place(spec);
        spec.environment.push(("GRANARY_KEEP_FREE".to_owned(), "24 MiB".to_owned()));
    })
    .await?;
    let url = cluster.url(0)?;
    let mut client = cluster.client(0).await?;
    client.update(CREATE).await?;
    client.update("SYSTEM STOP MERGES").await?;
    let takes = "SELECT takes_writes FROM system.worker_disks WHERE disk = 'default'";
    assert_eq!(client.value(takes).await?, "1");
    assert_eq!(insert(&url, "first").await?, ROWS as u64);
    disk.fill(20 * MIB)?;
    let status = insert(&url, "full").await.err().ok_or("it went beyond the budget")?;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    for words in ["disk default of worker 1", "are used", "40.0 MiB are its budget"] {
        assert!(status.message().contains(words), "{words}: {status}");
    }
    assert_eq!(client.value(takes).await?, "0");
    let budget = "SELECT budget_bytes, total_bytes FROM system.worker_disks";
    assert_eq!(client.lines(budget).await?, [format!("{}\t{}", 40 * MIB, 64 * MIB)]);
    // A merge would need room for its part.
    let error = client.update("OPTIMIZE TABLE t FINAL").await;
    if let Err(error) = error {
        assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
    }
    assert_eq!(client.value("SELECT count(*) FROM t").await?, ROWS.to_string());
    assert!(disk.free_bytes()? >= 20 * MIB * 9 / 10, "nothing of what is kept free was used");
    disk.make_room()?;
    insert_until_done(&url, "full").await?;
    assert_eq!(client.value(takes).await?, "1");
    wait_for(&mut client, "SELECT count(*) FROM t", &(2 * ROWS).to_string()).await
}
