//! MurmurHash 2 and 3.

/// The word of `width` bytes at `at`, the lowest first.
fn word(bytes: &[u8], at: usize, width: usize) -> u64 {
    let part = bytes.get(at..(at + width).min(bytes.len())).unwrap_or_default();
    part.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// MurmurHash2 of 32 bits.
pub(super) fn two_32(bytes: &[u8], seed: u32) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let whole = bytes.len() / 4 * 4;
    let mut hash = seed ^ bytes.len() as u32;
    for at in (0..whole).step_by(4) {
        let mut k = (word(bytes, at, 4) as u32).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if whole < bytes.len() {
        hash = (hash ^ word(bytes, whole, 4) as u32).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// MurmurHash64A.
pub(super) fn two_64(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let whole = bytes.len() / 8 * 8;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    for at in (0..whole).step_by(8) {
        let mut k = word(bytes, at, 8).wrapping_mul(M);
        k = (k ^ (k >> 47)).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if whole < bytes.len() {
        hash = (hash ^ word(bytes, whole, 8)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}

/// MurmurHash3_x86_32.
pub(super) fn three_32(bytes: &[u8]) -> u32 {
    let scrambled =
        |k: u64| (k as u32).wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let whole = bytes.len() / 4 * 4;
    let mut hash = 0_u32;
    for at in (0..whole).step_by(4) {
        hash = (hash ^ scrambled(word(bytes, at, 4))).rotate_left(13);
        hash = hash.wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if whole < bytes.len() {
        hash ^= scrambled(word(bytes, whole, 4));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// MurmurHash3_x64_128, both halves as one.
pub(super) fn three_64(bytes: &[u8]) -> u64 {
    let (low, high) = three_128(bytes);
    low ^ high
}

/// MurmurHash3_x64_128.
pub(super) fn three_128(bytes: &[u8]) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let first = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let second = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let whole = bytes.len() / 16 * 16;
    let (mut h1, mut h2) = (0_u64, 0_u64);
    for at in (0..whole).step_by(16) {
        h1 = (h1 ^ first(word(bytes, at, 8))).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ second(word(bytes, at + 8, 8))).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    if whole + 8 < bytes.len() {
        h2 ^= second(word(bytes, whole + 8, 8));
    }
    if whole < bytes.len() {
        h1 ^= first(word(bytes, whole, 8));
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finished(h1);
    h2 = finished(h2);
    h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

/// Spreads every bit over all others.
pub(super) fn finished(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
