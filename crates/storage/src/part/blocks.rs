//! Checksums of a large file by blocks, so that whoever reads a range of it can check the range.
//!
//! The checksum of the whole file can only be compared after reading all of it. A scan reads some
//! columns and granules; it checks the blocks that its reads touch, each once as long as the part
//! stays open. The file itself is as its format wants it: the checksums stand in the descriptor.

use std::ops::Range;

use granary_common::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bytes of a block of the files that this build writes. A read is widened to whole blocks the first
/// time, so a block is small beside what a scan reads at once; 4 bytes for each stand in the
/// descriptor, 64 KiB of them for a file of 1 GiB.
pub const BLOCK_BYTES: u32 = 64 << 10;

/// CRC-32C of each block of a file; the last block may be shorter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockChecksums {
    pub block_bytes: u32,
    pub crc32c: Vec<u32>,
}

impl BlockChecksums {
    /// The checksums of `content`.
    pub fn of(content: &[u8]) -> BlockChecksums {
        let mut builder = BlockChecksumsBuilder::default();
        builder.push(content);
        builder.finish()
    }

    /// Whether there is one for each block of a file of `bytes` bytes.
    pub fn covers(&self, bytes: u64) -> bool {
        self.block_bytes > 0
            && bytes.div_ceil(u64::from(self.block_bytes)) == self.crc32c.len() as u64
    }

    /// The blocks that have a byte of `range`.
    pub fn blocks_of(&self, range: Range<u64>) -> Range<usize> {
        let block = u64::from(self.block_bytes.max(1));
        (range.start / block) as usize..range.end.div_ceil(block) as usize
    }

    /// The bytes of a block of a file of `bytes` bytes.
    pub fn bytes_of(&self, block: usize, bytes: u64) -> Range<u64> {
        let start = block as u64 * u64::from(self.block_bytes);
        start..(start + u64::from(self.block_bytes)).min(bytes)
    }

    /// Compares a block that begins at `start` in its file with what was written. Kind `Corruption`.
    pub fn check(&self, block: usize, start: u64, content: &[u8]) -> Result<()> {
        let Some(expected) = self.crc32c.get(block) else {
            return Err(Error::corruption(format!("it has no checksum for block {block}")));
        };
        let actual = crc32c::crc32c(content);
        match actual == *expected {
            true => Ok(()),
            false => Err(Error::corruption(format!(
                "bytes {start} to {} have the checksum {actual:08x} and not {expected:08x} as \
                 written",
                start + content.len() as u64
            ))),
        }
    }
}

/// Makes checksums of a file that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct BlockChecksumsBuilder {
    finished: Vec<u32>,
    /// Of the block that is not full yet.
    crc32c: u32,
    filled: usize,
}

impl BlockChecksumsBuilder {
    /// The next bytes.
    pub fn push(&mut self, mut content: &[u8]) {
        while !content.is_empty() {
            let room = BLOCK_BYTES as usize - self.filled;
            let (piece, rest) = content.split_at(content.len().min(room));
            self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
            self.filled += piece.len();
            if self.filled == BLOCK_BYTES as usize {
                self.end_block();
            }
            content = rest;
        }
    }

    fn end_block(&mut self) {
        self.finished.push(self.crc32c);
        (self.crc32c, self.filled) = (0, 0);
    }

    /// The checksums of all bytes.
    pub fn finish(mut self) -> BlockChecksums {
        if self.filled > 0 {
            self.end_block();
        }
        BlockChecksums { block_bytes: BLOCK_BYTES, crc32c: self.finished }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter() {
        let block = BLOCK_BYTES as usize;
        for length in [0, 1, block - 1, block, block + 1, 3 * block + 7] {
            let content: Vec<u8> = (0..length).map(|at| (at * 7 / 3) as u8).collect();
            let whole = BlockChecksums::of(&content);
            assert!(whole.covers(length as u64), "{length}");
            assert!(!whole.covers(length as u64 + BLOCK_BYTES as u64), "{length}");
            for piece in [1_000, block, block + 1] {
                let mut builder = BlockChecksumsBuilder::default();
                content.chunks(piece).for_each(|piece| builder.push(piece));
                assert_eq!(builder.finish(), whole, "{length} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn ranges_and_blocks() {
        let sums = BlockChecksums { block_bytes: 10, crc32c: vec![0; 3] };
        for (range, blocks) in [
            (0..1, 0..1),
            (0..10, 0..1),
            (9..11, 0..2),
            (10..25, 1..3),
            (24..25, 2..3),
            (5..5, 0..1),
        ] {
            assert_eq!(sums.blocks_of(range.clone()), blocks, "{range:?}");
        }
        assert_eq!(sums.bytes_of(1, 25), 10..20);
        assert_eq!(sums.bytes_of(2, 25), 20..25);
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut content = vec![7; 1_000];
        let sums = BlockChecksums::of(&content);
        sums.check(0, 0, &content).unwrap();
        content[500] ^= 4;
        let error = sums.check(0, 0, &content).unwrap_err();
        assert!(error.message().starts_with("bytes 0 to 1000 have the checksum"), "{error}");
        assert!(sums.check(1, 65_536, &content).is_err(), "a block that was never written");
    }
}
