//! Inserts, merges, deletions and sweeps against a fault at every step: afterwards the table has
//! the rows of before or of after, never a mix, and nothing stays that a sweep does not delete.

use std::path::Path;
use std::sync::Arc;

use granary_common::WorkerId;
use granary_storage::{LocalStore, Volume, VolumeKind};
use object_store::memory::InMemory;
use object_store::{MultipartUpload, ObjectStoreExt};

use super::bench::{BIG, Bench, Change, Life, is_told};
use super::faulty_disk::{Fault, FaultyDisk, Left};
use super::faulty_store::FaultyStore;

/// Steps that a script may have at most; beyond it something does not end.
const STEPS_MAX: u64 = 500;
/// Runs, each on a disk of its own, that go on at the same time.
const RUNS_AT_ONCE: usize = 8;
const PARTS: [Change; 5] =
    [Change::Insert(40), Change::Insert(40), Change::Optimize, Change::Sweep, Change::Insert(10)];
const DELETIONS: [Change; 1] = [Change::DeleteHalf(0)];

/// What is done to which table.
#[derive(Clone, Copy)]
struct Script {
    /// Rows of the table before.
    base: i64,
    changes: &'static [Change],
    /// What must go well after a restart.
    then: &'static [Change],
    /// Steps that it has at least, so that a fault was really met.
    steps_min: u64,
}

const OF_PARTS: Script = Script {
    base: 20,
    changes: &PARTS,
    then: &[Change::Insert(10), Change::Optimize],
    steps_min: 40,
};
const OF_DELETIONS: Script =
    Script { base: BIG, changes: &DELETIONS, then: &[Change::Insert(10)], steps_min: 5 };

fn kind() -> VolumeKind {
    VolumeKind::Local { worker: WorkerId(1) }
}

fn local(store: LocalStore) -> Arc<Volume> {
    Arc::new(Volume::over_local("local", kind(), store))
}

/// Makes the changes of a script. After one that fails because of a crash, nothing more is done;
/// after a step that failed alone, the same change is made again and must go well.
async fn play(bench: &mut Bench, life: &mut Life, script: &[Change], fault: Fault) {
    for change in script {
        let Err(error) = bench.make(life, *change).await else { continue };
        assert!(is_told(error.kind()), "{change:?}: {error}");
        if fault == Fault::Crash {
            return;
        }
        bench.check_rows(life).await;
        let again = bench.make(life, *change).await;
        again.unwrap_or_else(|error| panic!("{change:?} again: {error}"));
    }
}

/// After a restart on `volume`: the rows are right, the sweep leaves nothing, and work goes on.
async fn check_restart(bench: &mut Bench, volume: Arc<Volume>, then: &[Change]) {
    let mut life = bench.start(volume).await;
    bench.check_rows(&life).await;
    bench.make(&mut life, Change::Sweep).await.unwrap();
    bench.check_files(&life).await;
    bench.check_rows(&life).await;
    for change in then {
        bench.make(&mut life, *change).await.unwrap();
    }
    bench.check_rows(&life).await;
}

/// One run on a disk; whether the fault was met.
async fn run_on_disk(script: Script, fault: Fault, at: u64, left: Left) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("volume");
    let store = LocalStore::open_owned(&root).unwrap();
    let disk = Arc::new(FaultyDisk::new(store.folder()));
    let mut bench = Bench::new().await;
    let mut life = bench.start(local(store.watched(disk.clone()))).await;
    bench.make(&mut life, Change::Insert(script.base)).await.unwrap();
    disk.arm(fault, at);
    play(&mut bench, &mut life, script.changes, fault).await;
    let is_met = disk.has_failed();
    drop(life);
    let found = match left {
        Left::Everything => root,
        Left::Synced | Left::Some(_) => {
            let found = folder.path().join("found");
            let seed = if let Left::Some(seed) = left { Some(seed + at) } else { None };
            disk.recover(&found, seed);
            found
        }
    };
    let volume = local(LocalStore::open_owned(Path::new(&found)).unwrap());
    check_restart(&mut bench, volume, script.then).await;
    is_met
}

/// The same with a fault at the first step, the second, and so on, until no step is left.
async fn check_disk(script: Script, fault: Fault, left: Left) {
    for from in (1..STEPS_MAX).step_by(RUNS_AT_ONCE) {
        // Most of a run is waiting for syncs.
        let steps = from..from + RUNS_AT_ONCE as u64;
        let runs = steps.map(|at| run_on_disk(script, fault, at, left));
        let met = futures::future::join_all(runs).await;
        if let Some(beyond) = met.iter().position(|is_met| !is_met) {
            let steps = from + beyond as u64;
            assert!(steps > script.steps_min, "only {steps} steps were met");
            return;
        }
    }
    panic!("the script does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_failure_at_any_step_leaves_old_or_new() {
    check_disk(OF_PARTS, Fault::Crash, Left::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_failure_that_keeps_this_and_that_leaves_old_or_new() {
    check_disk(OF_PARTS, Fault::Crash, Left::Some(20_261_128)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_leaves_old_or_new() {
    check_disk(OF_PARTS, Fault::Crash, Left::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_told_and_leaves_nothing() {
    check_disk(OF_PARTS, Fault::OneStep, Left::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_in_files_outlast_faults() {
    for (fault, left) in [
        (Fault::Crash, Left::Synced),
        (Fault::Crash, Left::Some(7)),
        (Fault::OneStep, Left::Everything),
    ] {
        check_disk(OF_DELETIONS, fault, left).await;
    }
}

/// A file that is written in pieces: there is none, or all of it, and all when the writer was told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_appears_whole_or_not_at_all() {
    let path = object_store::path::Path::from("parts/1/2/data.vortex");
    let mut at = 1;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open_owned(&folder.path().join("volume")).unwrap();
        let disk = Arc::new(FaultyDisk::new(store.folder()));
        let store = store.watched(disk.clone());
        disk.arm(Fault::Crash, at);
        let writing = async {
            let mut upload = store.put_multipart(&path).await?;
            upload.put_part("hello ".into()).await?;
            upload.put_part("world".into()).await?;
            upload.complete().await
        };
        let is_told = writing.await.is_ok();
        for seed in [None, Some(at), Some(at + 1_000)] {
            let found = folder.path().join(format!("found {seed:?}"));
            disk.recover(&found, seed);
            let found = LocalStore::open_owned(&found).unwrap();
            match found.get(&path).await {
                Ok(file) => assert_eq!(file.bytes().await.unwrap(), "hello world", "step {at}"),
                Err(error) => assert!(!is_told, "step {at}: {error}"),
            }
        }
        if !disk.has_failed() {
            assert!(is_told && at > 8, "only {at} steps were met");
            return;
        }
        at += 1;
    }
}

/// One run on an object store; whether the fault was met.
async fn run_on_store(script: Script, fault: Fault, at: u64, is_done: bool) -> bool {
    let objects = Arc::new(InMemory::new());
    let store = FaultyStore::new(objects.clone());
    let mut bench = Bench::new().await;
    let volume = Volume::over("local", kind(), Arc::new(store.clone()));
    let mut life = bench.start(Arc::new(volume)).await;
    bench.make(&mut life, Change::Insert(script.base)).await.unwrap();
    store.arm(fault, at, is_done);
    play(&mut bench, &mut life, script.changes, fault).await;
    let is_met = store.has_failed();
    drop(life);
    let volume = Arc::new(Volume::over("local", kind(), objects));
    check_restart(&mut bench, volume, script.then).await;
    is_met
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_fails_at_any_change_leaves_old_or_new() {
    for fault in [Fault::OneStep, Fault::Crash] {
        for is_done in [false, true] {
            let mut at = 1;
            while run_on_store(OF_PARTS, fault, at, is_done).await {
                at += 1;
                assert!(at < STEPS_MAX, "the script does not end");
            }
            assert!(at > 15, "only {at} changes were met");
        }
    }
}
