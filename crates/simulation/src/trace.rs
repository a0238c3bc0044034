//! What happened, folded into a number: two runs of one seed have the same.

use parking_lot::Mutex;

/// The story of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: Mutex<u64>,
    is_told: bool,
}

const PRIME: u64 = 0x0100_0000_01b3;
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

impl Trace {
    /// A story that is told on standard error as it happens, or only remembered.
    pub fn new(is_told: bool) -> Trace {
        Trace { hash: Mutex::new(BASIS), is_told }
    }

    /// Adds an event.
    pub fn note(&self, now_ms: u64, event: &str) {
        if self.is_told {
            eprintln!("{now_ms:>8} {event}");
        }
        let mut hash = self.hash.lock();
        for byte in now_ms.to_le_bytes().iter().chain(event.as_bytes()) {
            *hash = (*hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// The story so far.
    pub fn hash(&self) -> u64 {
        *self.hash.lock()
    }
}
