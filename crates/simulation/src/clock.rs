//! Simulated time: each host has a wall clock of its own, which may jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use granary_common::Clock;

use crate::executor;

/// Where the wall clocks begin, in milliseconds since the epoch.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// The clock of a host. All go at the same pace.
#[derive(Debug, Default)]
pub struct HostClock {
    wall_offset_ms: AtomicI64,
}

impl HostClock {
    /// A clock that shows the true time.
    pub fn right() -> Arc<HostClock> {
        Arc::default()
    }

    /// Sets the wall clock to so much beside the true time.
    pub fn jump(&self, by_ms: i64) {
        self.wall_offset_ms.store(by_ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for HostClock {
    fn now_ms(&self) -> u64 {
        let true_ms = BEGIN_MS + self.monotonic_ms();
        true_ms.saturating_add_signed(self.wall_offset_ms.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        executor::now().as_millis() as u64
    }

    async fn sleep(&self, duration: Duration) {
        executor::sleep(duration).await;
    }
}
