//! FarmHash's portable fingerprint of 64 bits.

use super::city::{K0, K1, K2, half, shift_mix, weak, word};

fn mixed(first: u64, second: u64, multiplier: u64) -> u64 {
    let low = shift_mix((first ^ second).wrapping_mul(multiplier));
    shift_mix((second ^ low).wrapping_mul(multiplier)).wrapping_mul(multiplier)
}

/// The fingerprint.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0..=16 => short(bytes),
        17..=32 => medium(bytes),
        33..=64 => long(bytes),
        _ => endless(bytes),
    }
}

fn short(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let size = length as u64;
    let multiplier = K2.wrapping_add(size * 2);
    let (Some(first), Some(middle), Some(last)) =
        (bytes.first(), bytes.get(length / 2), bytes.last())
    else {
        return K2;
    };
    if length >= 8 {
        let a = word(bytes, 0).wrapping_add(K2);
        let b = word(bytes, length - 8);
        let c = b.rotate_right(37).wrapping_mul(multiplier).wrapping_add(a);
        let d = a.rotate_right(25).wrapping_add(b).wrapping_mul(multiplier);
        return mixed(c, d, multiplier);
    }
    if length >= 4 {
        let low = size.wrapping_add(half(bytes, 0) << 3);
        return mixed(low, half(bytes, length - 4), multiplier);
    }
    let y = u64::from(*first) + (u64::from(*middle) << 8);
    let z = size + (u64::from(*last) << 2);
    shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K0)).wrapping_mul(K2)
}

fn medium(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let multiplier = K2.wrapping_add(length as u64 * 2);
    let a = word(bytes, 0).wrapping_mul(K1);
    let b = word(bytes, 8);
    let c = word(bytes, length - 8).wrapping_mul(multiplier);
    let d = word(bytes, length - 16).wrapping_mul(K2);
    let low = a.wrapping_add(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d);
    let high = a.wrapping_add(b.wrapping_add(K2).rotate_right(18)).wrapping_add(c);
    mixed(low, high, multiplier)
}

fn long(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let multiplier = K2.wrapping_add(length as u64 * 2);
    let a = word(bytes, 0).wrapping_mul(K2);
    let b = word(bytes, 8);
    let c = word(bytes, length - 8).wrapping_mul(multiplier);
    let d = word(bytes, length - 16).wrapping_mul(K2);
    let y = a.wrapping_add(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d);
    let turned = a.wrapping_add(b.wrapping_add(K2).rotate_right(18)).wrapping_add(c);
    let z = mixed(y, turned, multiplier);
    let e = word(bytes, 16).wrapping_mul(multiplier);
    let f = word(bytes, 24);
    let g = y.wrapping_add(word(bytes, length - 32)).wrapping_mul(multiplier);
    let h = z.wrapping_add(word(bytes, length - 24)).wrapping_mul(multiplier);
    let low = e.wrapping_add(f).rotate_right(43).wrapping_add(g.rotate_right(30)).wrapping_add(h);
    let high = e.wrapping_add(f.wrapping_add(a).rotate_right(18)).wrapping_add(g);
    mixed(low, high, multiplier)
}

/// What runs through a text of more than 64 bytes.
struct Lanes {
    x: u64,
    y: u64,
    z: u64,
    v: (u64, u64),
    w: (u64, u64),
}

impl Lanes {
    /// Takes the 64 bytes at `at`; `weight` is 1 but for the last ones.
    fn take(&mut self, bytes: &[u8], at: usize, multiplier: u64, weight: u64) {
        let sum = self.x.wrapping_add(self.y).wrapping_add(self.v.0);
        self.x = sum.wrapping_add(word(bytes, at + 8)).rotate_right(37).wrapping_mul(multiplier);
        let sum = self.y.wrapping_add(self.v.1).wrapping_add(word(bytes, at + 48));
        self.y = sum.rotate_right(42).wrapping_mul(multiplier);
        self.x ^= self.w.1.wrapping_mul(weight);
        let added = self.v.0.wrapping_mul(weight).wrapping_add(word(bytes, at + 40));
        self.y = self.y.wrapping_add(added);
        self.z = self.z.wrapping_add(self.w.0).rotate_right(33).wrapping_mul(multiplier);
        let (first, second) = (self.v.1.wrapping_mul(multiplier), self.x.wrapping_add(self.w.0));
        self.v = weak(bytes, at, first, second);
        let (first, second) =
            (self.z.wrapping_add(self.w.1), self.y.wrapping_add(word(bytes, at + 16)));
        self.w = weak(bytes, at + 32, first, second);
        std::mem::swap(&mut self.z, &mut self.x);
    }
}

fn endless(bytes: &[u8]) -> u64 {
    const SEED: u64 = 81;
    let y = SEED.wrapping_mul(K1).wrapping_add(113);
    let mut lanes = Lanes {
        x: SEED.wrapping_mul(K2).wrapping_add(word(bytes, 0)),
        y,
        z: shift_mix(y.wrapping_mul(K2).wrapping_add(113)).wrapping_mul(K2),
        v: (0, 0),
        w: (0, 0),
    };
    let rest = (bytes.len() - 1) & 63;
    let end = bytes.len() - 1 - rest;
    for at in (0..end).step_by(64) {
        lanes.take(bytes, at, K1, 1);
    }
    let multiplier = K1.wrapping_add((lanes.z & 0xff) << 1);
    lanes.w.0 = lanes.w.0.wrapping_add(rest as u64);
    lanes.v.0 = lanes.v.0.wrapping_add(lanes.w.0);
    lanes.w.0 = lanes.w.0.wrapping_add(lanes.v.0);
    lanes.take(bytes, bytes.len() - 64, multiplier, 9);
    let Lanes { x, y, z, v, w } = lanes;
    let left = mixed(v.0, w.0, multiplier).wrapping_add(shift_mix(y).wrapping_mul(K0));
    mixed(left.wrapping_add(z), mixed(v.1, w.1, multiplier).wrapping_add(x), multiplier)
}
