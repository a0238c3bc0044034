//! Reads of a file whose bytes are compared with their checksums.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{BoxFuture, FutureExt};
use vortex::array::buffer::BufferHandle;
use vortex::buffer::{Alignment, ByteBuffer};
use vortex::error::{VortexError, VortexResult};
use vortex::io::{CoalesceConfig, VortexReadAt};

use crate::part::blocks::BlockChecksums;

/// A reader that checks each block of its file the first time that bytes of it are read. A read is
/// widened to the whole of such blocks; after that, reads pass as they are and cost nothing.
pub struct CheckedReadAt {
    file: Arc<dyn VortexReadAt>,
    bytes: u64,
    blocks: Arc<CheckedBlocks>,
}

/// The checksums with a bit for each block that was found whole.
struct CheckedBlocks {
    checksums: BlockChecksums,
    seen: Vec<AtomicU64>,
}

impl CheckedBlocks {
    fn is_seen(&self, block: usize) -> bool {
        let word = self.seen.get(block / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (block % 64)) != 0)
    }

    fn note(&self, block: usize) {
        if let Some(word) = self.seen.get(block / 64) {
            word.fetch_or(1 << (block % 64), Ordering::Relaxed);
        }
    }

    /// `wanted` with the rest of the blocks that must be checked.
    fn widened(&self, wanted: Range<u64>, bytes: u64) -> Range<u64> {
        let blocks = self.checksums.blocks_of(wanted.clone());
        let Some(last) = blocks.end.checked_sub(1) else { return wanted };
        let start = match self.is_seen(blocks.start) {
            true => wanted.start,
            false => self.checksums.bytes_of(blocks.start, bytes).start,
        };
        let end = match self.is_seen(last) {
            true => wanted.end,
            false => self.checksums.bytes_of(last, bytes).end,
        };
        start.min(wanted.start)..end.max(wanted.end)
    }

    /// Checks the blocks that are whole in `content`, which are the bytes `range` of the file.
    fn check(&self, range: &Range<u64>, bytes: u64, content: &[u8]) -> VortexResult<()> {
        for block in self.checksums.blocks_of(range.clone()) {
            let of_block = self.checksums.bytes_of(block, bytes);
            if of_block.start < range.start || of_block.end > range.end || self.is_seen(block) {
                continue;
            }
            let at = (of_block.start - range.start) as usize;
            let length = (of_block.end - of_block.start) as usize;
            let checked = self.checksums.check(block, of_block.start, &content[at..at + length]);
            checked.map_err(damaged)?;
            self.note(block);
        }
        Ok(())
    }
}

/// The kind and the message come back out of the library's error.
fn damaged(error: granary_common::Error) -> VortexError {
    io::Error::new(io::ErrorKind::InvalidData, error).into()
}

impl CheckedReadAt {
    /// Reads `file`, which has `bytes` bytes with `checksums`.
    pub fn new(
        file: Arc<dyn VortexReadAt>,
        bytes: u64,
        checksums: BlockChecksums,
    ) -> CheckedReadAt {
        let words = checksums.crc32c.len().div_ceil(64);
        let seen = std::iter::repeat_with(AtomicU64::default).take(words).collect();
        CheckedReadAt { file, bytes, blocks: Arc::new(CheckedBlocks { checksums, seen }) }
    }
}

impl VortexReadAt for CheckedReadAt {
    fn uri(&self) -> Option<&Arc<str>> {
        self.file.uri()
    }

    fn coalesce_config(&self) -> Option<CoalesceConfig> {
        self.file.coalesce_config()
    }

    fn concurrency(&self) -> usize {
        self.file.concurrency()
    }

    fn size(&self) -> BoxFuture<'static, VortexResult<u64>> {
        self.file.size()
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
        alignment: Alignment,
    ) -> BoxFuture<'static, VortexResult<BufferHandle>> {
        let wanted = offset..offset.saturating_add(length as u64);
        if length == 0 || wanted.end > self.bytes {
            // Nothing to check, or for the file itself to refuse.
            return self.file.read_at(offset, length, alignment);
        }
        let range = self.blocks.widened(wanted.clone(), self.bytes);
        let reading = self.file.read_at(range.start, (range.end - range.start) as usize, alignment);
        let (blocks, bytes) = (Arc::clone(&self.blocks), self.bytes);
        async move {
            let content = reading.await?.try_into_host()?.await?;
            blocks.check(&range, bytes, content.as_slice())?;
            if range == wanted {
                return Ok(BufferHandle::new_host(content));
            }
            let start = (wanted.start - range.start) as usize;
            Ok(BufferHandle::new_host(cut(&content, start..start + length, alignment)))
        }
        .boxed()
    }
}

/// A range of `content` on its own. A small one is copied, so that it does not keep the rest in
/// memory.
fn cut(content: &ByteBuffer, range: Range<usize>, alignment: Alignment) -> ByteBuffer {
    match range.len() < content.len() / 2 {
        true => ByteBuffer::copy_from_aligned(&content.as_slice()[range], alignment),
        false => content.slice_unaligned(range).aligned(alignment),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::part::blocks::BLOCK_BYTES;

    const BLOCK: usize = BLOCK_BYTES as usize;

    /// Bytes in memory that count how many of them were read.
    struct Counting(ByteBuffer, Arc<AtomicUsize>);

    impl VortexReadAt for Counting {
        fn concurrency(&self) -> usize {
            1
        }

        fn size(&self) -> BoxFuture<'static, VortexResult<u64>> {
            self.0.size()
        }

        fn read_at(
            &self,
            offset: u64,
            length: usize,
            alignment: Alignment,
        ) -> BoxFuture<'static, VortexResult<BufferHandle>> {
            self.1.fetch_add(length, Ordering::Relaxed);
            self.0.read_at(offset, length, alignment)
        }
    }

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 31 / 7) as u8).collect()
    }

    async fn read(reader: &CheckedReadAt, range: Range<usize>) -> VortexResult<Vec<u8>> {
        let buffer = reader.read_at(range.start as u64, range.len(), Alignment::new(8)).await?;
        assert!(buffer.is_aligned_to(Alignment::new(8)));
        Ok(buffer.into_host().await.as_slice().to_vec())
    }

    #[tokio::test]
    async fn blocks_are_read_whole_once() {
        let content = content(3 * BLOCK + 100);
        let count = Arc::new(AtomicUsize::new(0));
        let file = Counting(ByteBuffer::from(content.clone()), Arc::clone(&count));
        let sums = BlockChecksums::of(&content);
        let reader = CheckedReadAt::new(Arc::new(file), content.len() as u64, sums);
        for (range, bytes_read) in [
            (100..200, BLOCK),
            (100..200, 100),
            (0..BLOCK, BLOCK),
            (BLOCK - 10..BLOCK + 10, BLOCK + 10),
            (3 * BLOCK + 16..3 * BLOCK + 24, 100),
            (8..3 * BLOCK + 100, 3 * BLOCK + 92),
            (8..3 * BLOCK + 100, 3 * BLOCK + 92),
        ] {
            let before = count.load(Ordering::Relaxed);
            assert_eq!(read(&reader, range.clone()).await.unwrap(), content[range.clone()]);
            assert_eq!(count.load(Ordering::Relaxed) - before, bytes_read, "{range:?}");
        }
        let beyond = reader.read_at(3 * BLOCK as u64, 101, Alignment::none()).await;
        assert!(beyond.is_err());
    }

    #[tokio::test]
    async fn damage_is_seen_where_it_is_and_nowhere_else() {
        let mut content = content(4 * BLOCK);
        let sums = BlockChecksums::of(&content);
        content[2 * BLOCK + 5] ^= 1;
        let file = Arc::new(ByteBuffer::from(content.clone()));
        let reader = CheckedReadAt::new(file, content.len() as u64, sums);
        for (range, is_whole) in [
            (0..2 * BLOCK, true),
            (2 * BLOCK + 1_000..2 * BLOCK + 1_008, false),
            (2 * BLOCK + 1_000..2 * BLOCK + 1_008, false),
            (3 * BLOCK..4 * BLOCK, true),
            (0..4 * BLOCK, false),
        ] {
            let outcome = read(&reader, range.clone()).await;
            assert_eq!(outcome.is_ok(), is_whole, "{range:?}");
            if let Err(error) = outcome {
                let error = super::super::read_error(error);
                assert_eq!(error.kind(), granary_common::ErrorKind::Corruption);
                let place = format!("bytes {} to {}", 2 * BLOCK, 3 * BLOCK);
                assert!(error.message().starts_with(&place), "{error}");
            }
        }
    }
}
