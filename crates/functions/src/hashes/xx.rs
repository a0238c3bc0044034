//! xxHash of 32 and of 64 bits, and MetroHash.

/// The word of up to `width` bytes at `at`, the lowest first.
fn word(bytes: &[u8], at: usize, width: usize) -> u64 {
    let part = bytes.get(at..(at + width).min(bytes.len())).unwrap_or_default();
    part.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// xxHash32.
pub(super) fn xx_32(bytes: &[u8]) -> u32 {
    const P: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    let half = |at: usize| word(bytes, at, 4) as u32;
    let mut at = 0;
    let mut hash = match bytes.len() {
        0..16 => P[4],
        length => {
            let mut lanes = [P[0].wrapping_add(P[1]), P[1], 0, 0_u32.wrapping_sub(P[0])];
            while at + 16 <= length {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    let mixed = value.wrapping_add(half(at + 4 * lane).wrapping_mul(P[1]));
                    *value = mixed.rotate_left(13).wrapping_mul(P[0]);
                }
                at += 16;
            }
            let turns = [1, 7, 12, 18];
            lanes
                .iter()
                .zip(turns)
                .fold(0_u32, |hash, (lane, turn)| hash.wrapping_add(lane.rotate_left(turn)))
        }
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    while at + 4 <= bytes.len() {
        hash = hash.wrapping_add(half(at).wrapping_mul(P[2]));
        hash = hash.rotate_left(17).wrapping_mul(P[3]);
        at += 4;
    }
    for byte in &bytes[at..] {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(P[4]));
        hash = hash.rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P[2]);
    hash ^ (hash >> 16)
}

const P: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

fn round(lane: u64, value: u64) -> u64 {
    lane.wrapping_add(value.wrapping_mul(P[1])).rotate_left(31).wrapping_mul(P[0])
}

/// xxHash64.
pub(super) fn xx_64(bytes: &[u8]) -> u64 {
    let mut at = 0;
    let mut hash = match bytes.len() {
        0..32 => P[4],
        length => {
            let mut lanes = [P[0].wrapping_add(P[1]), P[1], 0, 0_u64.wrapping_sub(P[0])];
            while at + 32 <= length {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    *value = round(*value, word(bytes, at + 8 * lane, 8));
                }
                at += 32;
            }
            let turns = [1, 7, 12, 18];
            let hash = lanes
                .iter()
                .zip(turns)
                .fold(0_u64, |hash, (lane, turn)| hash.wrapping_add(lane.rotate_left(turn)));
            lanes.iter().fold(hash, |hash, lane| {
                (hash ^ round(0, *lane)).wrapping_mul(P[0]).wrapping_add(P[3])
            })
        }
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    while at + 8 <= bytes.len() {
        hash = (hash ^ round(0, word(bytes, at, 8))).rotate_left(27).wrapping_mul(P[0]);
        hash = hash.wrapping_add(P[3]);
        at += 8;
    }
    if at + 4 <= bytes.len() {
        hash ^= word(bytes, at, 4).wrapping_mul(P[0]);
        hash = hash.rotate_left(23).wrapping_mul(P[1]).wrapping_add(P[2]);
        at += 4;
    }
    for byte in &bytes[at..] {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P[2]);
    hash ^ (hash >> 32)
}

/// MetroHash64 in its first variant.
pub(super) fn metro(bytes: &[u8]) -> u64 {
    const K: [u64; 4] = [0xc83a_91e1, 0x8648_dbdb, 0x7bde_c03b, 0x2f58_70a5];
    // (seed + k2) * k0 + length
    let mut hash = K[2].wrapping_mul(K[0]).wrapping_add(bytes.len() as u64);
    let mut at = 0;
    if bytes.len() >= 32 {
        let mut v = [hash; 4];
        while at + 32 <= bytes.len() {
            for lane in 0..4 {
                let added =
                    v[lane].wrapping_add(word(bytes, at + 8 * lane, 8).wrapping_mul(K[lane]));
                v[lane] = added.rotate_right(29);
                v[lane] = v[lane].wrapping_add(v[(lane + 2) % 4]);
            }
            at += 32;
        }
        let mixed = |a: u64, b: u64, c: u64, k: u64| {
            a.wrapping_add(b).wrapping_mul(k).wrapping_add(c).rotate_right(33)
        };
        v[2] ^= mixed(v[0], v[3], v[1], K[0]).wrapping_mul(K[1]);
        v[3] ^= mixed(v[1], v[2], v[0], K[1]).wrapping_mul(K[0]);
        v[0] ^= mixed(v[0], v[2], v[3], K[0]).wrapping_mul(K[1]);
        v[1] ^= mixed(v[1], v[3], v[2], K[1]).wrapping_mul(K[0]);
        hash = hash.wrapping_add(v[0] ^ v[1]);
    }
    let mut left = bytes.len() - at;
    if left >= 16 {
        let mut v0 = hash.wrapping_add(word(bytes, at, 8).wrapping_mul(K[0]));
        v0 = v0.rotate_right(33).wrapping_mul(K[1]);
        let mut v1 = hash.wrapping_add(word(bytes, at + 8, 8).wrapping_mul(K[1]));
        v1 = v1.rotate_right(33).wrapping_mul(K[2]);
        v0 ^= v0.wrapping_mul(K[0]).rotate_right(35).wrapping_add(v1);
        v1 ^= v1.wrapping_mul(K[3]).rotate_right(35).wrapping_add(v0);
        hash = hash.wrapping_add(v1);
        (at, left) = (at + 16, left - 16);
    }
    for (width, turn) in [(8, 33), (4, 15), (2, 13), (1, 25)] {
        if left >= width {
            hash = hash.wrapping_add(word(bytes, at, width).wrapping_mul(K[3]));
            hash ^= hash.rotate_right(turn).wrapping_mul(K[1]);
            (at, left) = (at + width, left - width);
        }
    }
    hash ^= hash.rotate_right(33);
    hash = hash.wrapping_mul(K[0]);
    hash ^ hash.rotate_right(33)
}
