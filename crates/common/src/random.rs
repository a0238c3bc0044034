//! Randomness comes through a handle, so that a seed reproduces a run.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// A source of random bits.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// 64 random bits.
    fn next_u64(&self) -> u64;

    /// A random identifier of 32 hexadecimal digits.
    fn next_hex(&self) -> String {
        format!("{:016x}{:016x}", self.next_u64(), self.next_u64())
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl SystemRandom {
    /// A shared handle.
    pub fn shared() -> Arc<dyn Random> {
        Arc::new(SystemRandom)
    }
}

impl Random for SystemRandom {
    #[allow(clippy::disallowed_methods)] // The one place that draws real randomness.
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// Reproducible randomness for tests and simulations.
#[derive(Debug)]
pub struct SeededRandom(Mutex<SmallRng>);

impl SeededRandom {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reproduces_its_sequence() {
        let (a, b) = (SeededRandom::new(7), SeededRandom::new(7));
        assert_eq!(a.next_hex(), b.next_hex());
        assert_eq!(a.next_hex().len(), 32);
    }
}
