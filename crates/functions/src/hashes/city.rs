//! CityHash of version 1.0.2, which ClickHouse has kept.

pub(super) const K0: u64 = 0xc3a5_c85c_97cb_3127;
pub(super) const K1: u64 = 0xb492_b66f_be98_f273;
pub(super) const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;

/// The eight bytes at `at`, the lowest first.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    (0..8).fold(0, |word, place| {
        word | u64::from(bytes.get(at + place).copied().unwrap_or(0)) << (8 * place)
    })
}

pub(super) fn half(bytes: &[u8], at: usize) -> u64 {
    word(bytes, at) & 0xffff_ffff
}

pub(super) fn shift_mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

/// Two hashes as one.
pub(super) fn combine(low: u64, high: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9ddf_ea08_eb38_2d69;
    let first = shift_mix((low ^ high).wrapping_mul(MULTIPLIER));
    shift_mix((high ^ first).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER)
}

/// The hash of 64 bits.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0..=16 => short(bytes),
        17..=32 => medium(bytes),
        33..=64 => long(bytes),
        _ => endless(bytes),
    }
}

fn short(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let (Some(first), Some(middle), Some(last)) =
        (bytes.first(), bytes.get(length / 2), bytes.last())
    else {
        return K2;
    };
    if length > 8 {
        let (a, b) = (word(bytes, 0), word(bytes, length - 8));
        let turned = b.wrapping_add(length as u64).rotate_right(length as u32);
        return combine(a, turned) ^ b;
    }
    if length >= 4 {
        let low = (length as u64).wrapping_add(half(bytes, 0) << 3);
        return combine(low, half(bytes, length - 4));
    }
    let y = u64::from(*first) + (u64::from(*middle) << 8);
    let z = length as u64 + (u64::from(*last) << 2);
    shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
}

fn medium(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let a = word(bytes, 0).wrapping_mul(K1);
    let b = word(bytes, 8);
    let c = word(bytes, length - 8).wrapping_mul(K2);
    let d = word(bytes, length - 16).wrapping_mul(K0);
    let low = a.wrapping_sub(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d);
    let high = a.wrapping_add((b ^ K3).rotate_right(20)).wrapping_sub(c);
    combine(low, high.wrapping_add(length as u64))
}

fn long(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let end = |back: usize| word(bytes, length - back);
    let tail = |mut a: u64, z: u64, second: u64, third: u64| {
        let b = a.wrapping_add(z).rotate_right(52);
        let mut c = a.rotate_right(37);
        a = a.wrapping_add(second);
        c = c.wrapping_add(a.rotate_right(7));
        a = a.wrapping_add(third);
        (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c))
    };
    let begin = (length as u64).wrapping_add(end(16)).wrapping_mul(K0);
    let (v_first, v_second) =
        tail(word(bytes, 0).wrapping_add(begin), word(bytes, 24), word(bytes, 8), word(bytes, 16));
    let (w_first, w_second) = tail(word(bytes, 16).wrapping_add(end(32)), end(8), end(24), end(16));
    let left = v_first.wrapping_add(w_second).wrapping_mul(K2);
    let right = w_first.wrapping_add(v_second).wrapping_mul(K0);
    let mixed = shift_mix(left.wrapping_add(right));
    shift_mix(mixed.wrapping_mul(K0).wrapping_add(v_second)).wrapping_mul(K2)
}

/// Two hashes of 32 bytes from `at` on.
pub(super) fn weak(bytes: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let (w, x) = (word(bytes, at), word(bytes, at + 8));
    let (y, z) = (word(bytes, at + 16), word(bytes, at + 24));
    let first = a.wrapping_add(w);
    let turned = b.wrapping_add(first).wrapping_add(z).rotate_right(21);
    let all = first.wrapping_add(x).wrapping_add(y);
    let second = turned.wrapping_add(all.rotate_right(44));
    (all.wrapping_add(z), second.wrapping_add(first))
}

fn endless(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let size = length as u64;
    let mut x = word(bytes, 0);
    let mut y = word(bytes, length - 16) ^ K1;
    let mut z = word(bytes, length - 56) ^ K0;
    let mut v = weak(bytes, length - 64, size, y);
    let mut w = weak(bytes, length - 32, size.wrapping_mul(K1), K0);
    z = z.wrapping_add(shift_mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(length - 1) & !63).step_by(64) {
        let sum = x.wrapping_add(y).wrapping_add(v.0).wrapping_add(word(bytes, at + 16));
        x = sum.rotate_right(37).wrapping_mul(K1) ^ w.1;
        let sum = y.wrapping_add(v.1).wrapping_add(word(bytes, at + 48));
        y = sum.rotate_right(42).wrapping_mul(K1) ^ v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak(bytes, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak(bytes, at + 32, z.wrapping_add(w.1), y);
        std::mem::swap(&mut z, &mut x);
    }
    let left = combine(v.0, w.0).wrapping_add(shift_mix(y).wrapping_mul(K1)).wrapping_add(z);
    combine(left, combine(v.1, w.1).wrapping_add(x))
}
