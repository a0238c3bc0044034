//! What a member keeps on disk.
//!
//! ```text
//!   data folder
//!     LOCK          held by the process
//!     db/           RocksDB: log, state (catalog rows), meta (identity, vote, purged)
//!     snapshots/    the current snapshot: a RocksDB checkpoint and its manifest
//!     incoming/     a snapshot that is being received; emptied at start
//! ```
//!
//! The log, the vote and the purged position are synced before they count. Applied rows are not
//! synced one by one: they share the write-ahead log with the entries that they come from, so what
//! survives a crash is a prefix in which entries come before their effects. A restart begins at
//! the applied position that survived, and the log still holds everything after it, because
//! entries are purged only behind a snapshot, by a synced write that comes later in the same
//! write-ahead log.

pub(crate) mod acquaintance;
pub(crate) mod disk;
pub(crate) mod entry;
pub(crate) mod log;
pub(crate) mod snapshot;
pub(crate) mod state;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use granary_common::{Error, NodeId, Random, Result};
use serde::{Deserialize, Serialize};

use acquaintance::Acquaintance;
use disk::{Disk, Durability, put_meta, read_meta};

/// The layout of the data folder that this build reads and writes.
const FOLDER_FORMAT: u32 = 1;
const IDENTITY: &str = "identity";

/// Whose folder this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub format: u32,
    pub node: u64,
    /// Drawn when the folder was made.
    pub folder: String,
}

/// An open data folder.
#[derive(Debug)]
pub(crate) struct Store {
    pub disk: Arc<Disk>,
    pub folder: PathBuf,
    pub members: Arc<Acquaintance>,
}

impl Store {
    /// Opens or creates the folder of `node`.
    ///
    /// Kind `Unavailable` when another process has it open, `Unsupported` when a newer build
    /// wrote it, `InvalidInput` when it belongs to another node.
    pub async fn open(folder: &Path, node: NodeId, random: &dyn Random) -> Result<Self> {
        let lock = lock_folder(folder)?;
        for name in ["snapshots", "incoming"] {
            make_folder(&folder.join(name))?;
        }
        let disk = Arc::new(Disk::open(&folder.join("db"), lock)?);
        let identity = check_identity(&disk, folder, node, random).await?;
        let members = Acquaintance::new(node, identity.folder, &disk);
        Ok(Self { disk, folder: folder.to_owned(), members })
    }
}

async fn check_identity(
    disk: &Disk,
    folder: &Path,
    node: NodeId,
    random: &dyn Random,
) -> Result<Identity> {
    let folder = folder.display();
    match read_meta::<Identity>(disk.db(), IDENTITY)? {
        Some(identity) if identity.format > FOLDER_FORMAT => Err(Error::unsupported(format!(
            "data folder {folder} has format {} and this build reads up to {FOLDER_FORMAT}; \
                 start a newer build on it",
            identity.format
        ))),
        Some(identity) if identity.node != node.0 => Err(Error::invalid(format!(
            "data folder {folder} belongs to metadata node {}, not to node {node}",
            identity.node
        ))),
        Some(identity) => Ok(identity),
        None => {
            let identity =
                Identity { format: FOLDER_FORMAT, node: node.0, folder: random.next_hex() };
            let stored = identity.clone();
            let put = move |db: &rocksdb::DB, batch: &mut rocksdb::WriteBatch| {
                put_meta(db, batch, IDENTITY, &stored)
            };
            disk.write(Durability::Synced, put).await?;
            Ok(identity)
        }
    }
}

fn lock_folder(folder: &Path) -> Result<File> {
    make_folder(folder)?;
    let path = folder.join("LOCK");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| io_error("cannot open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::unavailable(format!(
            "data folder {} is in use by another process; stop it, or give this one another \
             folder",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io_error("cannot lock", &path, &error)),
    }
}

pub(crate) fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| io_error("cannot create", path, &error))
}

/// Makes what was created in or renamed into a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| io_error("cannot sync", path, &error))
}

pub(crate) fn io_error(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    let text = format!("{doing} {}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::exhausted(text)
        }
        std::io::ErrorKind::PermissionDenied => Error::denied(text),
        _ => Error::internal(text),
    }
}

#[cfg(test)]
mod tests;
