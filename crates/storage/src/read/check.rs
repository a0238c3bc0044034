//! Whether the files of a part are what was written: all of their bytes, read from the volume.

use std::sync::Arc;

use granary_catalog::DeletionContent;
use granary_common::{Error, PartId, Result, TableId};
use object_store::ObjectStoreExt;

use super::PartRef;
use super::part_files::{PartFiles, read_file};
use super::store::missing_is_corruption;
use crate::deletions::Deletions;
use crate::merge::Throttle;
use crate::part::descriptor::{Descriptor, FileEntry};
use crate::part::file_path;
use crate::volume::{Volume, store_error};

/// Bytes that are in memory at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// Reads every file of `part`, whatever is open or was checked before. Kind `Corruption` names the
/// file, and the bytes where that is known; `Unavailable` when the volume does not answer.
pub(super) async fn check_part(
    volume: &Arc<Volume>,
    part: &PartRef,
    throttle: &dyn Throttle,
) -> Result<()> {
    let files = PartFiles::open(Arc::clone(volume), part).await?;
    check_files(volume, &files.descriptor, throttle).await?;
    match &part.deletions {
        None => Ok(()),
        Some(content) => check_deletions(volume, part, content).await,
    }
}

/// Reads every file that a descriptor names.
pub(super) async fn check_files(
    volume: &Volume,
    descriptor: &Descriptor,
    throttle: &dyn Throttle,
) -> Result<()> {
    for file in &descriptor.files {
        check_file(volume, (descriptor.schema.table, descriptor.part), file, throttle).await?;
    }
    Ok(())
}

/// Reads a file of the part that files are named by, and compares every byte of it.
pub async fn check_file(
    volume: &Volume,
    (table, part): (TableId, PartId),
    file: &FileEntry,
    throttle: &dyn Throttle,
) -> Result<()> {
    let name = &file.name;
    let path = volume.path(&file_path(table, part, name));
    let mut crc32c = 0;
    let mut start = 0;
    while start < file.bytes {
        let end = file.bytes.min(start + PIECE_BYTES);
        throttle.admit(end - start).await;
        let piece = volume.store.get_range(&path, start..end).await;
        let piece = piece.map_err(|error| missing_is_corruption(store_error(&error), name))?;
        if piece.len() as u64 != end - start {
            return Err(Error::corruption(format!(
                "file {name} has {} bytes and not {} as written",
                start + piece.len() as u64,
                file.bytes
            )));
        }
        if let Some(blocks) = &file.blocks {
            for block in blocks.blocks_of(start..end) {
                let of_block = blocks.bytes_of(block, file.bytes);
                // Pieces are whole blocks of what this build writes; another size is left to the
                // checksum of the whole.
                if of_block.start < start || of_block.end > end {
                    continue;
                }
                let at = (of_block.start - start) as usize..(of_block.end - start) as usize;
                let checked = blocks.check(block, of_block.start, &piece[at]);
                checked.map_err(|error| error.context(format!("file {name}")))?;
            }
        }
        crc32c = crc32c::crc32c_append(crc32c, &piece);
        start = end;
    }
    match crc32c == file.crc32c {
        true => Ok(()),
        false => Err(Error::corruption(format!(
            "file {name} has the checksum {crc32c:08x} and not {:08x} as written",
            file.crc32c
        ))),
    }
}

async fn check_deletions(volume: &Volume, part: &PartRef, content: &DeletionContent) -> Result<()> {
    let deletions = match content {
        DeletionContent::Inline(_) => Deletions::from_content(content)?,
        DeletionContent::File { name, bytes, crc32c } => {
            let (table, owner) = part.files;
            read_deletions(volume, (table, owner), name, *bytes, *crc32c).await?
        }
    };
    match deletions.len() == part.rows_deleted {
        true => Ok(()),
        false => Err(Error::corruption(format!(
            "its deletions are {} rows and not {} as the catalog has them",
            deletions.len(),
            part.rows_deleted
        ))),
    }
}

/// A vector that is in a file of the part `(table, part)`.
pub(super) async fn read_deletions(
    volume: &Volume,
    (table, part): (TableId, PartId),
    name: &str,
    bytes: u64,
    crc32c: u32,
) -> Result<Deletions> {
    let content = read_file(volume, table, part, name).await?;
    FileEntry { name: name.to_owned(), bytes, crc32c, blocks: None }.check(&content)?;
    Deletions::decode(&content).map_err(|error| error.context(format!("file {name}")))
}
