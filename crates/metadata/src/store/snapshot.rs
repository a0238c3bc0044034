//! Snapshots: RocksDB checkpoints in a folder of their own, so that taking one costs hard links
//! and not a copy of the catalog.
//!
//! A snapshot is streamed to a follower file by file and in bounded chunks (see `raft::network`);
//! the follower opens it read-only and takes the catalog's rows out of it. The leader's log and
//! vote, which a checkpoint also holds, are ignored.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use granary_catalog::codec;
use granary_common::{Error, Random, Result};
use openraft::SnapshotMeta;
use openraft::impls::BasicNode;
use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::disk::{FAMILIES, base_options, storage_error};
use super::entry::{Applied, StoredLogId, StoredMembers};
use super::state::read_applied;
use super::{io_error, make_folder, sync_folder};

const MANIFEST: &str = "manifest";
const FILES: &str = "files";

/// What a snapshot holds and of which files it consists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub id: String,
    pub last: Option<StoredLogId>,
    pub members_at: Option<StoredLogId>,
    pub members: StoredMembers,
    /// Names with their length in bytes.
    pub files: Vec<(String, u64)>,
}

impl Manifest {
    pub fn meta(&self) -> SnapshotMeta<u64, BasicNode> {
        SnapshotMeta {
            last_log_id: self.last.map(Into::into),
            last_membership: openraft::StoredMembership::new(
                self.members_at.map(Into::into),
                self.members.clone().into(),
            ),
            snapshot_id: self.id.clone(),
        }
    }
}

/// A snapshot on disk. Deleted with its last user once a newer one has taken its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct SnapshotFolder(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    manifest: Manifest,
    obsolete: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::SeqCst)
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an old snapshot stays on disk");
        }
    }
}

impl SnapshotFolder {
    fn of(path: PathBuf, manifest: Manifest) -> Self {
        Self(Some(Arc::new(Inner { path, manifest, obsolete: AtomicBool::new(false) })))
    }

    fn inner(&self) -> Result<&Inner> {
        self.0.as_deref().ok_or_else(|| Error::internal("the snapshot holds nothing"))
    }

    pub fn manifest(&self) -> Result<&Manifest> {
        Ok(&self.inner()?.manifest)
    }

    /// The last position of the log that it holds.
    pub fn position(&self) -> Option<u64> {
        Some(self.manifest().ok()?.last?.index)
    }

    /// Where the file of this name is.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        Ok(self.inner()?.path.join(FILES).join(name))
    }

    pub fn mark_obsolete(&self) {
        if let Some(inner) = &self.0 {
            inner.obsolete.store(true, Ordering::SeqCst);
        }
    }

    /// Opens the checkpoint for reading.
    pub fn open(&self) -> Result<DB> {
        open_checkpoint(&self.inner()?.path.join(FILES))
    }

    /// Takes a checkpoint of `db` into `snapshots`.
    pub fn take(db: &DB, snapshots: &Path, random: &dyn Random) -> Result<Self> {
        let draft = snapshots.join(format!("draft-{}", random.next_hex()));
        make_folder(&draft)?;
        let files = draft.join(FILES);
        Checkpoint::new(db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(&files))
            .map_err(|error| storage_error("cannot take a snapshot", &error))?;
        let listed = list_files(&files)?;
        let applied: Applied = read_applied(&open_checkpoint(&files)?)?;
        let index = applied.last.map_or(0, |id| id.index);
        let manifest = Manifest {
            id: format!("{index:020}-{}", random.next_hex()),
            last: applied.last,
            members_at: applied.members_at,
            members: applied.members,
            files: listed,
        };
        Self::seal(&draft, snapshots, manifest)
    }

    /// Writes the manifest, which makes the folder a snapshot, and moves it to its place.
    fn seal(draft: &Path, snapshots: &Path, manifest: Manifest) -> Result<Self> {
        let path = draft.join(MANIFEST);
        std::fs::write(&path, codec::encode(&manifest)?)
            .and_then(|()| std::fs::File::open(&path)?.sync_all())
            .map_err(|error| io_error("cannot write", &path, &error))?;
        sync_folder(&draft.join(FILES))?;
        sync_folder(draft)?;
        let place = snapshots.join(&manifest.id);
        std::fs::rename(draft, &place)
            .map_err(|error| io_error("cannot move a snapshot to", &place, &error))?;
        sync_folder(snapshots)?;
        Ok(Self::of(place, manifest))
    }

    /// A folder for the files of a snapshot that is about to be received.
    pub fn receive(incoming: &Path, manifest: &Manifest) -> Result<Self> {
        let names = manifest.files.iter().map(|(name, _)| name).chain([&manifest.id]);
        for name in names {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
                return Err(Error::invalid(format!("'{name}' is no name of a snapshot's file")));
            }
        }
        let path = incoming.join(&manifest.id);
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .map_err(|error| io_error("cannot clear", &path, &error))?;
        }
        make_folder(&path.join(FILES))?;
        let folder = Self::of(path, manifest.clone());
        folder.mark_obsolete(); // Until it is kept.
        Ok(folder)
    }

    /// Moves a received snapshot to its place among `snapshots`.
    pub fn keep(&self, snapshots: &Path) -> Result<Self> {
        let inner = self.inner()?;
        if inner.path.parent() == Some(snapshots) {
            return Ok(self.clone());
        }
        inner.obsolete.store(false, Ordering::SeqCst);
        Self::seal(&inner.path, snapshots, inner.manifest.clone())
    }

    /// The newest complete snapshot of a folder; others are deleted.
    pub fn newest(snapshots: &Path) -> Result<Option<Self>> {
        let mut complete = Vec::new();
        let entries = std::fs::read_dir(snapshots)
            .map_err(|error| io_error("cannot list", snapshots, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| io_error("cannot list", snapshots, &error))?.path();
            let manifest = std::fs::read(path.join(MANIFEST)).ok();
            match manifest.map(|bytes| codec::decode::<Manifest>(&bytes)) {
                Some(Ok(manifest)) => complete.push(Self::of(path, manifest)),
                _ => Self::of(path, Manifest::nothing()).mark_obsolete(),
            }
        }
        complete.sort_by_key(SnapshotFolder::position);
        let newest = complete.pop();
        complete.iter().for_each(SnapshotFolder::mark_obsolete);
        Ok(newest)
    }
}

impl Manifest {
    fn nothing() -> Self {
        Self {
            id: String::new(),
            last: None,
            members_at: None,
            members: StoredMembers::default(),
            files: Vec::new(),
        }
    }
}

/// Deletes what is left of transfers that did not end.
pub(crate) fn clear_incoming(incoming: &Path) -> Result<()> {
    std::fs::remove_dir_all(incoming)
        .map_err(|error| io_error("cannot clear", incoming, &error))?;
    make_folder(incoming)
}

fn open_checkpoint(files: &Path) -> Result<DB> {
    let families = std::iter::once("default").chain(FAMILIES);
    DB::open_cf_for_read_only(&base_options(), files, families, false)
        .map_err(|error| storage_error("cannot open a snapshot", &error))
}

fn list_files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let failed = |error: io::Error| io_error("cannot list", folder, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let bytes = entry.metadata().map_err(failed)?.len();
        files.push((entry.file_name().to_string_lossy().into_owned(), bytes));
    }
    files.sort();
    Ok(files)
}

// The library asks for a byte stream, because its own transport reads one. Ours sends the
// folder's files itself, so these are never called.

fn not_a_stream<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::from(io::ErrorKind::Unsupported)))
}

impl AsyncRead for SnapshotFolder {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        not_a_stream()
    }
}

impl AsyncWrite for SnapshotFolder {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        not_a_stream()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        not_a_stream()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        not_a_stream()
    }
}

impl AsyncSeek for SnapshotFolder {
    fn start_seek(self: Pin<&mut Self>, _: io::SeekFrom) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        not_a_stream()
    }
}
