//! The first half of MD5, which is all that `halfMD5` gives.

/// The first eight bytes of the digest, the first byte the highest.
pub(super) fn half(bytes: &[u8]) -> u64 {
    let [a, b, ..] = digest(bytes);
    u64::from(a.swap_bytes()) << 32 | u64::from(b.swap_bytes())
}

/// What combines the hashes of several values.
pub(super) fn pair(first: u64, second: u64) -> u64 {
    let mut bytes = first.to_le_bytes().to_vec();
    bytes.extend(second.to_le_bytes());
    half(&bytes)
}

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

fn digest(bytes: &[u8]) -> [u32; 4] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() < bytes.len() + 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 16];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, word) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), 7 * step % 16),
            };
            // The whole part of the sine of each step.
            let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(words[word]);
            let turned = sum.rotate_left(SHIFTS[step / 16][step % 4]);
            (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
        }
        for (state, next) in state.iter_mut().zip([a, b, c, d]) {
            *state = state.wrapping_add(next);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        let shown = |bytes: &[u8]| -> String {
            digest(bytes).iter().map(|word| format!("{:08x}", word.swap_bytes())).collect()
        };
        assert_eq!(shown(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(shown(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(shown(&[b'a'; 56]), "3b0c8ac703f828b04c6c197006d17218");
        assert_eq!(half(b"abc"), 0x9001_5098_3cd2_4fb0);
    }
}
