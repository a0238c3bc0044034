//! SHA-1, for those who keep such digests; as a text like the engine's other digests.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use datafusion::common::Result;

use crate::gives;
use crate::rows::texts;
use crate::scalar::{ONE, Scalar, scalar};

pub(super) const SHA1: Scalar = scalar("sha1", ONE, gives::text, |arguments| {
    let digest = |text: &str| -> String {
        digest(text.as_bytes()).iter().map(|word| format!("{word:08x}")).collect()
    };
    let digests: Result<StringArray> =
        texts(&arguments[0]).map(|all| all.iter().map(|text| text.map(digest)).collect());
    Ok(Arc::new(digests?) as ArrayRef)
});

/// The five words of the digest, by FIPS 180-4.
fn digest(bytes: &[u8]) -> [u32; 5] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((bytes.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, four) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = four.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words[at] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = [mixed, e, constant, *word];
            let next = next.iter().fold(a.rotate_left(5), |sum, part| sum.wrapping_add(*part));
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (word, change) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(change);
        }
    }
    state
}
