//! RocksDB and the thread that writes to it.
//!
//! Every write goes through one thread, one after the other, so that a slow sync never blocks an
//! async worker and vote and log writes keep their order.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use granary_common::{Error, Result};
use parking_lot::Mutex;
use rocksdb::{ColumnFamily, DB, DBRecoveryMode, Options, WriteBatch, WriteOptions};
use tokio::sync::{mpsc, oneshot};

/// Entries of the Raft log by their index, big-endian.
pub(crate) const LOG: &str = "log";
/// Rows of the catalog, by generation and row key.
pub(crate) const STATE: &str = "state";
/// Identity of the folder, vote, purged position, applied position.
pub(crate) const META: &str = "meta";
pub(crate) const FAMILIES: [&str; 3] = [LOG, STATE, META];

/// Writes that may wait for the thread; more make their callers wait.
const QUEUE: usize = 256;
const WRITE_BUFFER_BYTES: usize = 16 << 20;
const WAL_BYTES_MAX: u64 = 256 << 20;

type Job = Box<dyn FnOnce(&DB) + Send>;

/// An open database with its write thread.
pub(crate) struct Disk {
    db: Arc<DB>,
    jobs: mpsc::Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Released with the database, when nobody uses it any more.
    _lock: File,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("path", &self.db.path()).finish()
    }
}

/// Whether a write is on disk when it is reported as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    /// Survives the process, and survives the machine once any later write is synced: the
    /// write-ahead log keeps the order.
    Ordered,
}

impl Disk {
    /// Opens or creates the database in `folder`, which `lock` guards.
    pub fn open(folder: &Path, lock: File) -> Result<Self> {
        let mut options = base_options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_total_wal_size(WAL_BYTES_MAX);
        options.set_max_background_jobs(2);
        // A torn record at the very end was never acknowledged. Anything else that is damaged is
        // not cut off silently: Raft could lose a vote or an acknowledged entry by it.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        let families = std::iter::once("default").chain(FAMILIES);
        let db = DB::open_cf(&options, folder, families)
            .map_err(|error| storage_error("cannot open the metadata store", &error))?;
        let db = Arc::new(db);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = {
            let db = Arc::clone(&db);
            std::thread::Builder::new()
                .name("granary-raft-disk".to_owned())
                .spawn(move || write_loop(&db, queue))
                .map_err(|error| Error::internal(format!("cannot start a thread: {error}")))?
        };
        Ok(Self { db, jobs, thread: Mutex::new(Some(thread)), _lock: lock })
    }

    /// For reads, which are short: what Raft reads was just written, or is read at start.
    pub fn db(&self) -> &Arc<DB> {
        &self.db
    }

    /// Runs `work` on the write thread after everything that was asked for before.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DB) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let _ = done.send(work(db)); // The caller may have gone.
        });
        let stopped = || Error::unavailable("the metadata store is closed");
        self.jobs.send(job).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }

    /// Writes what `fill` puts into the batch, all or nothing.
    pub async fn write(
        &self,
        durability: Durability,
        fill: impl FnOnce(&DB, &mut WriteBatch) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.run(move |db| {
            let mut batch = WriteBatch::default();
            fill(db, &mut batch)?;
            write_batch(db, batch, durability)
        })
        .await
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Ends the thread's queue, then waits for it, so that the folder is free afterwards.
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.jobs, closed));
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn write_loop(db: &DB, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(db);
    }
}

/// Options that any opening of the database shares.
pub(crate) fn base_options() -> Options {
    let mut options = Options::default();
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options
}

/// Writes one batch.
pub(crate) fn write_batch(db: &DB, batch: WriteBatch, durability: Durability) -> Result<()> {
    let mut options = WriteOptions::default();
    options.set_sync(durability == Durability::Synced);
    db.write_opt(batch, &options).map_err(|error| storage_error("cannot write metadata", &error))
}

/// A column family that was opened.
pub(crate) fn family<'db>(db: &'db DB, name: &str) -> Result<&'db ColumnFamily> {
    db.cf_handle(name).ok_or_else(|| {
        Error::corruption(format!("the metadata store has no column family '{name}'"))
    })
}

/// A value of the `meta` column family.
pub(crate) fn read_meta<T: serde::de::DeserializeOwned>(db: &DB, key: &str) -> Result<Option<T>> {
    let bytes = db
        .get_cf(family(db, META)?, key)
        .map_err(|error| storage_error("cannot read metadata", &error))?;
    bytes.map(|bytes| granary_catalog::codec::decode(&bytes)).transpose()
}

/// Puts a value of the `meta` column family into a batch.
pub(crate) fn put_meta<T: serde::Serialize>(
    db: &DB,
    batch: &mut WriteBatch,
    key: &str,
    value: &T,
) -> Result<()> {
    batch.put_cf(family(db, META)?, key, granary_catalog::codec::encode(value)?);
    Ok(())
}

/// What RocksDB reports, with the kind that tells the caller what to do.
pub(crate) fn storage_error(doing: &str, error: &rocksdb::Error) -> Error {
    let text = format!("{doing}: {error}");
    match error.kind() {
        rocksdb::ErrorKind::Corruption => Error::corruption(text),
        rocksdb::ErrorKind::Busy | rocksdb::ErrorKind::TryAgain => Error::unavailable(text),
        _ => Error::internal(text),
    }
}
