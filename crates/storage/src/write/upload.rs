//! A file that goes to its volume while it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use granary_common::{Error, PartId, Result, TableId};
use object_store::{ObjectStoreExt, WriteMultipart};

use super::part::put;
use crate::part::blocks::BlockChecksumsBuilder;
use crate::part::descriptor::FileEntry;
use crate::part::file_path;
use crate::part::format::ByteSink;
use crate::volume::{Volume, store_error};

/// Bytes of a piece. Files up to this size are written in one go.
const PIECE_BYTES: usize = 8 << 20;
/// Pieces that are under way at the same time.
const PIECES_MAX: usize = 2;

/// A file of a part that grows. It appears, durable, when it is finished; nothing of it is seen when
/// the upload is dropped before.
pub struct Upload<'a> {
    volume: &'a Volume,
    table: TableId,
    part: PartId,
    file: String,
    /// The beginning, until it is larger than a piece.
    small: Vec<u8>,
    large: Option<WriteMultipart>,
    bytes: u64,
    crc32c: u32,
    blocks: BlockChecksumsBuilder,
    /// Counts bytes for others to see.
    progress: Arc<AtomicU64>,
}

impl<'a> Upload<'a> {
    /// A file without bytes yet, whose bytes are added to `progress`.
    pub fn new(
        volume: &'a Volume,
        table: TableId,
        part: PartId,
        file: &str,
        progress: Arc<AtomicU64>,
    ) -> Upload<'a> {
        let (small, large) = (Vec::new(), None);
        let (file, blocks) = (file.to_owned(), BlockChecksumsBuilder::default());
        Upload { volume, table, part, file, small, large, bytes: 0, crc32c: 0, blocks, progress }
    }

    /// Bytes so far, with their checksum.
    pub fn written(&self) -> (u64, u32) {
        (self.bytes, self.crc32c)
    }

    /// The file is complete: makes it durable.
    pub async fn finish(self) -> Result<FileEntry> {
        let Upload { volume, table, part, file, small, large, bytes, crc32c, blocks, .. } = self;
        match large {
            None => put(volume, table, part, &file, Bytes::from(small)).await?,
            Some(large) => {
                let finished = large.finish().await;
                finished.map_err(|error| named(error, volume, part, &file))?;
            }
        }
        Ok(FileEntry { name: file, bytes, crc32c, blocks: Some(blocks.finish()) })
    }

    async fn store(&mut self, bytes: &[u8]) -> object_store::Result<()> {
        if self.large.is_none() {
            self.small.extend_from_slice(bytes);
            if self.small.len() <= PIECE_BYTES {
                return Ok(());
            }
            let path = self.volume.path(&file_path(self.table, self.part, &self.file));
            let upload = self.volume.store.put_multipart(&path).await?;
            let mut large = WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES);
            large.write(&std::mem::take(&mut self.small));
            self.large = Some(large);
        } else if let Some(large) = &mut self.large {
            large.wait_for_capacity(PIECES_MAX).await?;
            large.write(bytes);
        }
        Ok(())
    }
}

impl ByteSink for Upload<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.blocks.push(bytes);
        self.progress.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let stored = self.store(bytes).await;
        stored.map_err(|error| named(error, self.volume, self.part, &self.file))
    }
}

fn named(error: object_store::Error, volume: &Volume, part: PartId, file: &str) -> Error {
    store_error(&error).context(format!("part {part} on volume {}: file {file}", volume.name))
}
