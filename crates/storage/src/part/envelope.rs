//! How small files of a part are framed, so that a newer format and damaged bytes are told apart.
//!
//! ```text
//! magic, 8 bytes │ version u32 │ payload length u64 │ payload │ CRC-32C u32 of all before it
//! ```
//!
//! Numbers are little-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use granary_common::{Error, Result};

/// A kind of file with the newest version that this build writes and reads.
#[derive(Clone, Copy, Debug)]
pub struct FileKind {
    pub magic: [u8; 8],
    pub version: u32,
}

const HEADER_BYTES: usize = 8 + 4 + 8;
const CHECKSUM_BYTES: usize = 4;

/// Frames `payload`.
pub fn seal(kind: FileKind, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
    bytes.put_slice(&kind.magic);
    bytes.put_u32_le(kind.version);
    bytes.put_u64_le(payload.len() as u64);
    bytes.put_slice(payload);
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes.freeze()
}

/// The payload of a framed file. Kind `Unsupported` when a newer build wrote it, `Corruption` when
/// its bytes are not what was written.
pub fn open(kind: FileKind, mut bytes: Bytes) -> Result<Bytes> {
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES {
        return Err(Error::corruption(format!("it is cut: {} bytes are left", bytes.len())));
    }
    let body_bytes = bytes.len() - CHECKSUM_BYTES;
    let expected = bytes.slice(body_bytes..).get_u32_le();
    let actual = crc32c::crc32c(&bytes[..body_bytes]);
    if bytes[..8] != kind.magic {
        return Err(Error::corruption("it does not begin with its magic number"));
    }
    if actual != expected {
        return Err(Error::corruption(format!(
            "its checksum is {actual:08x} and not {expected:08x} as written"
        )));
    }
    bytes.truncate(body_bytes);
    bytes.advance(8);
    let version = bytes.get_u32_le();
    if version > kind.version {
        return Err(Error::unsupported(format!(
            "it was written in format {version} and this build reads up to {}",
            kind.version
        )));
    }
    let payload_bytes = bytes.get_u64_le();
    if payload_bytes != bytes.len() as u64 {
        return Err(Error::corruption(format!(
            "its payload has {} bytes and not {payload_bytes} as written",
            bytes.len()
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::ErrorKind;

    const KIND: FileKind = FileKind { magic: *b"GRNTEST\0", version: 2 };

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let sealed = seal(KIND, b"some payload");
        assert_eq!(open(KIND, sealed.clone()).unwrap(), b"some payload".as_slice());
        for length in 0..sealed.len() {
            let error = open(KIND, sealed.slice(..length)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "cut at {length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = open(KIND, flipped.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_apart() {
        let sealed = seal(FileKind { version: 3, ..KIND }, b"");
        assert_eq!(open(KIND, sealed).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
