//! The disk of a worker: parts as lists of rows. What was not synced may be lost or torn when the host
//! dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use granary_common::{Error, PartId, Result};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::executor;
use crate::far::Far;
use crate::net::Host;
use crate::sabotage::Sabotage;

/// Milliseconds that writing takes, and syncing.
const WRITE_MS: std::ops::Range<u64> = 1..10;
const FAR_MS: std::ops::Range<u64> = 5..40;
const SYNC_MS: std::ops::Range<u64> = 1..10;

#[derive(Clone, Debug)]
struct File {
    rows: Vec<u64>,
    /// Whether all of it was written; a checksum would tell.
    is_whole: bool,
    is_synced: bool,
}

/// A disk in one life of its host.
#[derive(Clone, Debug)]
pub struct WorkerDisk {
    files: Arc<Mutex<BTreeMap<PartId, File>>>,
    is_full: Arc<AtomicBool>,
    cluster: Arc<Cluster>,
    host: Host,
    life: u64,
}

impl WorkerDisk {
    /// An empty disk.
    pub fn new(cluster: &Arc<Cluster>, host: Host) -> WorkerDisk {
        let cluster = Arc::clone(cluster);
        WorkerDisk { files: Arc::default(), is_full: Arc::default(), cluster, host, life: 0 }
    }

    /// The same disk in another life.
    pub fn reopen(&self, life: u64) -> WorkerDisk {
        let net = &self.cluster.net;
        self.files.lock().retain(|_, file| {
            let fate = if file.is_synced { 2 } else { net.pick(0..3) };
            file.is_whole &= fate == 2;
            file.is_synced = true;
            fate > 0
        });
        WorkerDisk { life, ..self.clone() }
    }

    /// From now on there is no room for anything, or there is again.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::SeqCst)
    }

    async fn work(&self, ms: std::ops::Range<u64>) -> Result<()> {
        let net = &self.cluster.net;
        net.breathe(self.host).await;
        executor::sleep_ms(net.pick(ms)).await;
        match net.is_alive(self.host, self.life) {
            true => Ok(()),
            false => Err(Error::unavailable("the host is dead")),
        }
    }

    /// Writes a part and syncs it.
    pub async fn write(&self, part: PartId, rows: Vec<u64>) -> Result<()> {
        if self.is_full() {
            return Err(Error::exhausted("the disk is full"));
        }
        self.work(0..1).await?;
        self.files.lock().insert(part, File { rows, is_whole: false, is_synced: false });
        self.work(WRITE_MS).await?;
        self.change(part, |file| file.is_whole = true)?;
        self.work(SYNC_MS).await?;
        let is_synced = self.cluster.sabotage != Some(Sabotage::UnsyncedParts);
        self.change(part, |file| file.is_synced = is_synced)
    }

    /// Writes a part where every worker reaches it. What is on its way arrives, whoever dies.
    pub async fn write_far(&self, part: PartId, rows: Vec<u64>) -> Result<()> {
        self.send_far(move |far| far.put(part, rows)).await
    }

    /// The same for a file of deletions.
    pub async fn write_far_deletions(&self, file: PartId, rows: BTreeSet<u64>) -> Result<()> {
        self.send_far(move |far| far.put_deletions(file, rows)).await
    }

    async fn send_far(&self, put: impl FnOnce(&Far) + Send + 'static) -> Result<()> {
        self.work(0..1).await?;
        let (cluster, ms) = (Arc::clone(&self.cluster), self.cluster.net.pick(FAR_MS));
        let sent = self.cluster.net.spawn(Host::Client, async move {
            executor::sleep_ms(ms).await;
            put(&cluster.far);
        });
        sent.await.map_err(|_| Error::unavailable("the shared volume does not answer"))?;
        self.work(0..1).await
    }

    fn change(&self, part: PartId, change: impl FnOnce(&mut File)) -> Result<()> {
        let mut files = self.files.lock();
        let file = files.get_mut(&part);
        change(file.ok_or_else(|| Error::unavailable(format!("part {part} was deleted")))?);
        Ok(())
    }

    /// The rows of a part. Kind `NotFound` for one that is not there, `Corruption` for a torn one.
    pub fn read(&self, part: PartId) -> Result<Vec<u64>> {
        let files = self.files.lock();
        let file = files.get(&part);
        let file = file.ok_or_else(|| Error::not_found(format!("part {part} is not here")))?;
        match file.is_whole {
            true => Ok(file.rows.clone()),
            false => Err(Error::corruption(format!("part {part} is torn"))),
        }
    }

    pub fn delete(&self, part: PartId) {
        self.files.lock().remove(&part);
    }

    /// Every part that has files.
    pub fn parts(&self) -> Vec<PartId> {
        self.files.lock().keys().copied().collect()
    }
}
