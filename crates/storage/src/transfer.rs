//! Files of parts on their way from one worker to another.
//!
//! ```text
//!   descriptor ─► which files, how long, which checksums ─► each file, from where it broke off ─►
//!   synced and renamed into place ─► the descriptor last
//! ```
//!
//! A file that is there was copied or written before, whole, and never changes. It is read all the
//! same: a copy is fetched anew where the disk has lost bytes of the one that was there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{DeletionContent, DeletionVector, NewPart, Part, PartLocation};
use granary_common::{Error, ErrorKind, PartId, Result, TableId};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use crate::merge::{Throttle, Unthrottled};
use crate::part::descriptor::{Descriptor, FileEntry};
use crate::part::format::ByteSink;
use crate::part::{DESCRIPTOR_FILE, file_path};
use crate::read::{check_file, read_file};
use crate::volume::{Volume, store_error};
use crate::write::{Upload, put};

/// Bytes of a piece that is read and sent in one go.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes of a descriptor at most.
const DESCRIPTOR_BYTES_MAX: usize = 16 << 20;
/// How often a file's transfer may break off in a row without a byte having come.
const FAILURES_MAX: u32 = 3;

/// What to copy of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartCopy {
    /// Table and part that the files are named by.
    pub files: (TableId, PartId),
    /// The disk that they are on, at every holder; `None`: its data folder.
    #[serde(default)]
    pub disk: Option<String>,
    /// Whether the part's own files are wanted, or only its deletions.
    pub whole: bool,
    /// Deletion vectors in files.
    pub deletions: Vec<FileEntry>,
}

impl PartCopy {
    /// All of `part`, with those of its deletions that somebody needs.
    pub fn of(part: &Part, deletions: &[DeletionVector]) -> PartCopy {
        let vectors = deletions.iter().map(|vector| &vector.content);
        let deletions = vectors.filter_map(deletion_file).collect();
        PartCopy { files: part.file_owner(), disk: disk_of(&part.location), whole: true, deletions }
    }

    /// A part that has just been written.
    pub fn of_new(table: TableId, part: &NewPart) -> PartCopy {
        let disk = disk_of(&part.location);
        PartCopy { files: (table, part.id), disk, whole: true, deletions: Vec::new() }
    }
}

fn disk_of(location: &PartLocation) -> Option<String> {
    location.disk().map(str::to_owned)
}

/// The file of a deletion vector, when it is in one.
pub fn deletion_file(content: &DeletionContent) -> Option<FileEntry> {
    match content {
        DeletionContent::Inline(_) => None,
        DeletionContent::File { name, bytes, crc32c } => {
            Some(FileEntry { name: name.clone(), bytes: *bytes, crc32c: *crc32c, blocks: None })
        }
    }
}

/// Where the bytes of a part's files come from.
#[async_trait]
pub trait FileSource: Send + Sync {
    /// The bytes of `file` from `offset` on. Asked again, for what is missing, when they break off.
    async fn read(&self, file: &str, offset: u64) -> Result<BoxStream<'static, Result<Bytes>>>;
}

/// The bytes of a part's file from `offset` on. Kinds: `InvalidInput` for a name that no file has,
/// `NotFound` for one that is not there, `Unavailable`.
pub async fn file_bytes(
    volume: &Arc<Volume>,
    (table, part): (TableId, PartId),
    file: &str,
    offset: u64,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    if file.is_empty() || file.contains(['/', '\\']) || file.starts_with('.') {
        return Err(Error::invalid(format!("'{file}' is not a file of a part")));
    }
    let path = volume.path(&file_path(table, part, file));
    let failed =
        move |error: object_store::Error| store_error(&error).context(format!("part {part}"));
    let length = volume.store.head(&path).await.map_err(failed)?.size;
    let store = Arc::clone(&volume.store);
    let pieces = stream::try_unfold(offset, move |from| {
        let (store, path) = (Arc::clone(&store), path.clone());
        async move {
            if from >= length {
                return Ok(None);
            }
            let to = (from + PIECE_BYTES).min(length);
            let piece = store.get_range(&path, from..to).await.map_err(failed)?;
            Ok::<_, Error>(Some((piece, to)))
        }
    });
    Ok(pieces.boxed())
}

/// Copies a part from `source` to `volume`; files that are there already are read, and left as they
/// are when every byte is as it was written. Everything is synced when it returns.
///
/// Kinds: `Corruption` for bytes that are not those that were written, `ResourceExhausted` for a full
/// disk, and those of the source.
pub async fn copy_part(
    volume: &Volume,
    wanted: &PartCopy,
    source: &dyn FileSource,
    throttle: &dyn Throttle,
) -> Result<()> {
    let (table, part) = wanted.files;
    let named = |error: Error| error.context(format!("copying part {part}"));
    for entry in &wanted.deletions {
        copy_file(volume, wanted.files, entry, source, throttle).await.map_err(named)?;
    }
    if !wanted.whole {
        return Ok(());
    }
    let there = read_file(volume, table, part, DESCRIPTOR_FILE).await.ok();
    let there = there.and_then(|bytes| describes(bytes, wanted.files).ok());
    let (descriptor, bytes) = match there {
        Some(descriptor) => (descriptor, None),
        None => {
            let bytes = whole_descriptor(source).await.map_err(named)?;
            (describes(bytes.clone(), wanted.files).map_err(named)?, Some(bytes))
        }
    };
    if bytes.is_some() {
        volume.check_room(descriptor.files.iter().map(|entry| entry.bytes).sum())?;
    }
    let files = descriptor.files.iter();
    let copies = files.map(|entry| copy_file(volume, wanted.files, entry, source, throttle));
    futures::future::try_join_all(copies).await.map_err(named)?;
    match bytes {
        Some(bytes) => put(volume, table, part, DESCRIPTOR_FILE, bytes).await,
        None => Ok(()),
    }
}

async fn whole_descriptor(source: &dyn FileSource) -> Result<Bytes> {
    let mut pieces = source.read(DESCRIPTOR_FILE, 0).await?;
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.try_next().await? {
        whole.extend_from_slice(&piece);
        if whole.len() > DESCRIPTOR_BYTES_MAX {
            return Err(Error::corruption("its descriptor is too long"));
        }
    }
    Ok(whole.freeze())
}

fn describes(bytes: Bytes, (table, part): (TableId, PartId)) -> Result<Descriptor> {
    let descriptor = Descriptor::decode(bytes)?;
    match descriptor.part == part && descriptor.schema.table == table {
        true => Ok(descriptor),
        false => Err(Error::corruption(format!(
            "its descriptor is that of part {} of table {}",
            descriptor.part, descriptor.schema.table
        ))),
    }
}

async fn copy_file(
    volume: &Volume,
    (table, part): (TableId, PartId),
    entry: &FileEntry,
    source: &dyn FileSource,
    throttle: &dyn Throttle,
) -> Result<()> {
    if check_file(volume, (table, part), entry, &Unthrottled).await.is_ok() {
        return Ok(());
    }
    let mut upload = Upload::new(volume, table, part, &entry.name, Arc::default());
    let mut failures = 0;
    while upload.written().0 < entry.bytes {
        let before = upload.written().0;
        let broken = match receive(&mut upload, entry, source, throttle).await {
            Ok(()) => Error::unavailable(format!("file {} ended too early", entry.name)),
            Err(error) if may_pass(&error) => error,
            Err(error) => return Err(error),
        };
        if upload.written().0 == entry.bytes {
            break;
        }
        failures = if upload.written().0 > before { 0 } else { failures + 1 };
        if failures >= FAILURES_MAX {
            return Err(broken);
        }
    }
    if upload.written() != (entry.bytes, entry.crc32c) {
        let (bytes, crc32c) = upload.written();
        return Err(Error::corruption(format!(
            "file {} came with {bytes} bytes and checksum {crc32c:08x}, and was written with {} and \
             {:08x}",
            entry.name, entry.bytes, entry.crc32c
        )));
    }
    let copied = upload.finish().await?;
    match entry.blocks.as_ref().is_none_or(|_| entry.blocks == copied.blocks) {
        true => Ok(()),
        false => Err(Error::corruption(format!(
            "file {} came whole, with other checksums of its blocks",
            entry.name
        ))),
    }
}

/// Whether another attempt, perhaps elsewhere, may bring the rest. What fails here would fail again.
fn may_pass(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::NotFound | ErrorKind::Corruption | ErrorKind::Internal
    )
}

async fn receive(
    upload: &mut Upload<'_>,
    entry: &FileEntry,
    source: &dyn FileSource,
    throttle: &dyn Throttle,
) -> Result<()> {
    let mut pieces = source.read(&entry.name, upload.written().0).await?;
    while let Some(piece) = pieces.try_next().await? {
        throttle.admit(piece.len() as u64).await;
        upload.write(&piece).await?;
        if upload.written().0 > entry.bytes {
            return Err(Error::exhausted(format!("file {} is too long", entry.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
