//! Bloom filters.

use granary_catalog::Scalar;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::sort_order::canonical_f64;

/// Bits of a filter at most: beyond that it keeps out nothing that is worth its reading.
const BITS_MAX: usize = 1 << 27;

/// A set that may take others for its own, and never one of its own for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bloom {
    words: Vec<u64>,
    hashes: u32,
}

impl Bloom {
    /// An empty one of so many bytes, with so many bits for each entry.
    pub fn of_bytes(bytes: usize, hashes: u32) -> Bloom {
        let words = bytes.div_ceil(8).clamp(1, BITS_MAX / 64);
        Bloom { words: vec![0; words], hashes: hashes.clamp(1, 32) }
    }

    /// An empty one for so many entries.
    pub fn for_entries(entries: usize, false_per_million: u32) -> Bloom {
        let rate = f64::from(false_per_million.clamp(1, 999_999)) / 1e6;
        let ln2 = std::f64::consts::LN_2;
        let bits = (entries.max(1) as f64 * -rate.ln() / (ln2 * ln2)).ceil();
        let hashes = (bits / entries.max(1) as f64 * ln2).round() as u32;
        Bloom::of_bytes((bits / 8.0).ceil() as usize, hashes)
    }

    /// The places of an entry, from two halves of its hash.
    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let bits = self.words.len() as u64 * 64;
        let step = hash.rotate_left(32) | 1;
        (0..u64::from(self.hashes)).map(move |at| {
            let bit = hash.wrapping_add(at.wrapping_mul(step)) % bits;
            ((bit / 64) as usize, 1_u64 << (bit % 64))
        })
    }

    pub fn insert(&mut self, hash: u64) {
        for (word, bit) in self.places(hash) {
            self.words[word] |= bit;
        }
    }

    /// Whether the entry may be there.
    pub fn may_contain(&self, hash: u64) -> bool {
        self.places(hash).all(|(word, bit)| self.words[word] & bit != 0)
    }

    pub fn memory_bytes(&self) -> usize {
        self.words.len() * 8
    }
}

/// The hash of a canonical value. Values of different kinds are never compared.
pub fn hash_of(value: &Scalar) -> u64 {
    match value {
        Scalar::Null => 0,
        Scalar::Bool(value) => xxh3_64(&[u8::from(*value)]),
        Scalar::Int(value) => xxh3_64(&value.to_le_bytes()),
        Scalar::UInt(value) => xxh3_64(&value.to_le_bytes()),
        Scalar::Float(value) => xxh3_64(&canonical_f64(*value).to_le_bytes()),
        Scalar::Wide(value) => xxh3_64(&value.to_le_bytes()),
        Scalar::Text(value) => xxh3_64(value.as_bytes()),
        Scalar::Bytes(value) => xxh3_64(value),
    }
}

/// The hash of a piece of a text.
pub fn hash_of_piece(piece: &str, seed: u64) -> u64 {
    xxh3_64_with_seed(piece.as_bytes(), seed)
}
