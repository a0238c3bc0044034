//! How fast copies are fetched and parts merged that nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use granary_common::Clock;
use granary_storage::merge::Throttle;
use parking_lot::Mutex;

/// So many bytes a second over all transfers that share it.
#[derive(Debug)]
pub struct Pace {
    clock: Arc<dyn Clock>,
    bytes_per_s: u64,
    /// When the bytes that were admitted so far are paid for, on the monotonic clock.
    paid_ms: Mutex<u64>,
}

impl Pace {
    /// Bytes a second, at least one.
    pub fn new(clock: Arc<dyn Clock>, bytes_per_s: u64) -> Pace {
        Pace { clock, bytes_per_s: bytes_per_s.max(1), paid_ms: Mutex::new(0) }
    }

    /// How long whoever takes `bytes` more has to wait first.
    fn take(&self, bytes: u64) -> Duration {
        let now_ms = self.clock.monotonic_ms();
        let mut paid_ms = self.paid_ms.lock();
        let from_ms = (*paid_ms).max(now_ms);
        *paid_ms = from_ms + bytes.saturating_mul(1000) / self.bytes_per_s;
        Duration::from_millis(from_ms - now_ms)
    }
}

#[async_trait]
impl Throttle for Pace {
    async fn admit(&self, bytes: u64) {
        let wait = self.take(bytes);
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_common::SystemClock;

    use super::*;

    #[test]
    fn a_second_of_bytes_takes_a_second() {
        let pace = Pace::new(SystemClock::shared(), 1_000_000);
        assert_eq!(pace.take(500_000), Duration::ZERO);
        let wait = pace.take(500_000).as_millis();
        assert!((400..=500).contains(&wait), "{wait} ms");
        let wait = pace.take(1).as_millis();
        assert!((900..=1000).contains(&wait), "{wait} ms");
    }
}
