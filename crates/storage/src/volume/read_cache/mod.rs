//! A bounded cache of what was read from object stores, on the disk of the worker.
//!
//! ```text
//!   read of a range ─► its blocks of 1 MiB ─┬─ on the disk  ─► checked and given
//!                                           ├─ on their way ─► waited for
//!                                           └─ neither      ─► one request for each run of them
//! ```
//!
//! Files of parts never change under their name, so a block is good for as long as it is kept. Every
//! block has a checksum of its own: a damaged one is fetched again. The cache never needs to be
//! there, so nothing of it is synced, and where the disk has no room for it, it gives way.

mod fetch;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use granary_common::units::MIB;
use granary_common::{Result, unusable_folder};
use moka::notification::RemovalCause;
use moka::sync::Cache;
use object_store::ObjectMeta;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Reserve, Room};

pub use store::CachedStore;

/// What is fetched and kept as a whole.
pub(super) const BLOCK_BYTES: u64 = MIB;
/// Behind the bytes of each block, their CRC-32C.
const CHECKSUM_BYTES: usize = 4;
/// Objects whose sizes are remembered.
const OBJECTS_MAX: u64 = 100_000;
/// Left of the disk beside what is kept free for rows, at most, so that the metadata and spilled queries
/// on the same disk do not run into what the cache has taken.
const SPARED_BYTES_MAX: u64 = 256 * MIB;
/// What is dropped at once when the disk has no room.
const GIVEN_UP_BYTES: u64 = 64 * MIB;

/// A block of an object, by a hash of everything that tells the object from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BlockKey {
    object: u128,
    block: u64,
}

impl BlockKey {
    fn file_name(&self) -> String {
        format!("{:032x}-{}", self.object, self.block)
    }

    fn of_file(name: &str) -> Option<BlockKey> {
        let (object, block) = name.split_once('-')?;
        let key =
            BlockKey { object: u128::from_str_radix(object, 16).ok()?, block: block.parse().ok()? };
        (key.file_name() == name).then_some(key)
    }
}

/// How much a cache holds and what became of reads since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCacheFigures {
    /// On the disk, about.
    pub bytes: u64,
    /// Bytes of blocks that were there, or on their way for another reader.
    pub hit_bytes: u64,
    /// Bytes of blocks that were fetched.
    pub fetched_bytes: u64,
}

/// The cache of one worker, for all of its object stores.
pub struct ReadCache {
    folder: PathBuf,
    /// What is kept free of the disk.
    reserve: Reserve,
    /// The bytes of each block's file.
    blocks: Cache<BlockKey, u32>,
    objects: Cache<String, ObjectMeta>,
    /// Blocks that somebody fetches.
    fetching: Mutex<HashMap<BlockKey, watch::Receiver<Option<Bytes>>>>,
    /// Files that are being written have names of their own.
    writes: AtomicU64,
    hit_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    /// Whether the last block could not be kept, so that it is told once.
    is_failing: AtomicBool,
}

impl fmt::Debug for ReadCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadCache {{ folder: {:?}, {:?} }}", self.folder, self.figures())
    }
}

impl ReadCache {
    /// Opens the cache in `folder`, which is made when it is not there, and keeps what it holds of
    /// before. It takes at most about `bytes_max` bytes, and none of what `reserve` keeps free.
    /// Kinds as of a data folder that cannot be used.
    pub fn open(folder: &Path, bytes_max: u64, reserve: Reserve) -> Result<Arc<ReadCache>> {
        let unusable = |error: io::Error| unusable_folder(folder, &error);
        fs::create_dir_all(folder).map_err(unusable)?;
        let files = folder.to_owned();
        let blocks = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_: &BlockKey, bytes: &u32| *bytes)
            .eviction_listener(move |key: Arc<BlockKey>, _, cause| {
                if cause != RemovalCause::Replaced {
                    remove(&files.join(key.file_name()));
                }
            })
            .build();
        let cache = ReadCache {
            folder: folder.to_owned(),
            reserve,
            blocks,
            objects: Cache::new(OBJECTS_MAX),
            fetching: Mutex::default(),
            writes: AtomicU64::new(0),
            hit_bytes: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        };
        for entry in fs::read_dir(folder).map_err(unusable)? {
            cache.take_over(&entry.map_err(unusable)?).map_err(unusable)?;
        }
        cache.blocks.run_pending_tasks();
        Ok(Arc::new(cache))
    }

    /// A file of before: a block, or one that was never finished.
    fn take_over(&self, entry: &fs::DirEntry) -> io::Result<()> {
        let key = entry.file_name().to_str().and_then(BlockKey::of_file);
        match (key, u32::try_from(entry.metadata()?.len())) {
            (Some(key), Ok(bytes)) => self.blocks.insert(key, bytes),
            _ => remove(&entry.path()),
        }
        Ok(())
    }

    /// What the cache holds and did.
    pub fn figures(&self) -> ReadCacheFigures {
        ReadCacheFigures {
            bytes: self.blocks.weighted_size(),
            hit_bytes: self.hit_bytes.load(Ordering::Relaxed),
            fetched_bytes: self.fetched_bytes.load(Ordering::Relaxed),
        }
    }

    /// Drops blocks of about `bytes` bytes, whichever, so that something else can be written.
    pub fn give_way(&self, bytes: u64) {
        let mut dropped = 0;
        for (key, bytes_of_block) in &self.blocks {
            if dropped >= bytes {
                break;
            }
            self.forget(&key);
            dropped += u64::from(bytes_of_block);
        }
    }

    /// The block, if it is there and whole.
    async fn get(&self, key: &BlockKey, bytes: u64) -> Option<Bytes> {
        self.blocks.get(key)?;
        let content = tokio::fs::read(self.folder.join(key.file_name())).await;
        let checked = content.ok().map(Bytes::from).and_then(|content| {
            let end = content.len().checked_sub(CHECKSUM_BYTES)?;
            let sum = crc32c::crc32c(&content[..end]).to_le_bytes();
            (end as u64 == bytes && content[end..] == sum).then(|| content.slice(..end))
        });
        match &checked {
            Some(_) => drop(self.hit_bytes.fetch_add(bytes, Ordering::Relaxed)),
            None => self.forget(key),
        }
        checked
    }

    /// Keeps a block that was fetched, unless there is no room. Nobody depends on it.
    async fn put(&self, key: BlockKey, content: &Bytes) {
        self.fetched_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        let is_too_much = |room: &Room| {
            let spared = (room.total_bytes / 20).min(SPARED_BYTES_MAX);
            !room.fits(content.len() as u64 + spared)
        };
        if self.room().is_some_and(|room| is_too_much(&room)) {
            self.give_way(GIVEN_UP_BYTES);
            return;
        }
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{number}.new"));
        let writing = async {
            let mut file = Vec::with_capacity(content.len() + CHECKSUM_BYTES);
            file.extend_from_slice(content);
            file.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
            let bytes = file.len() as u32; // A block and its checksum: about 1 MiB.
            tokio::fs::write(&temporary, file).await?;
            tokio::fs::rename(&temporary, self.folder.join(key.file_name())).await?;
            self.blocks.insert(key, bytes);
            Ok::<(), io::Error>(())
        };
        let written = writing.await;
        let was_failing = self.is_failing.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written {
            remove(&temporary);
            if !was_failing {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "what is read from object stores cannot be kept");
            }
        }
    }

    fn room(&self) -> Option<Room> {
        let stats = fs4::statvfs(&self.folder).ok()?;
        Some(Room::new(stats.total_space(), stats.available_space(), self.reserve))
    }

    fn forget(&self, key: &BlockKey) {
        self.blocks.invalidate(key);
        remove(&self.folder.join(key.file_name()));
    }
}

/// A file that may be gone already.
fn remove(file: &Path) {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "a file of the read cache stays");
        }
        _ => {}
    }
}
