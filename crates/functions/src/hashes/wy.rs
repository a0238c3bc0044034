//! wyhash, in its third final version with the secret of then, which ClickHouse has kept.

use super::city::word;

const SECRET: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// Both halves of the product, one over the other.
fn mixed(first: u64, second: u64) -> u64 {
    let product = u128::from(first) * u128::from(second);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash with seed 0.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let mut seed = SECRET[0];
    let (a, b) = match bytes {
        [] => (0, 0),
        [first, .., last] | [first @ last] if length < 4 => {
            let middle = bytes[length / 2];
            (u64::from(*first) << 16 | u64::from(middle) << 8 | u64::from(*last), 0)
        }
        _ if length <= 16 => {
            let half = |at: usize| word(bytes, at) & 0xffff_ffff;
            let step = (length >> 3) << 2;
            (half(0) << 32 | half(step), half(length - 4) << 32 | half(length - 4 - step))
        }
        _ => {
            let at = rounds(bytes, &mut seed);
            let rest = length - at;
            (word(bytes, at + rest - 16), word(bytes, at + rest - 8))
        }
    };
    mixed(SECRET[1] ^ length as u64, mixed(a ^ SECRET[1], b ^ seed))
}

/// Takes all but the last bytes into the seed; gives how many it took.
fn rounds(bytes: &[u8], seed: &mut u64) -> usize {
    let mut at = 0;
    let take = |seed: u64, at: usize, secret: u64| {
        mixed(word(bytes, at) ^ secret, word(bytes, at + 8) ^ seed)
    };
    if bytes.len() > 48 {
        let (mut second, mut third) = (*seed, *seed);
        while bytes.len() - at > 48 {
            *seed = take(*seed, at, SECRET[1]);
            second = take(second, at + 16, SECRET[2]);
            third = take(third, at + 32, SECRET[3]);
            at += 48;
        }
        *seed ^= second ^ third;
    }
    while bytes.len() - at > 16 {
        *seed = take(*seed, at, SECRET[1]);
        at += 16;
    }
    at
}

/// Two hashes as one.
pub(super) fn pair(first: u64, second: u64) -> u64 {
    let mut bytes = first.to_le_bytes().to_vec();
    bytes.extend(second.to_le_bytes());
    hash(&bytes)
}
