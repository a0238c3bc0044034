//! Time comes through a handle, so that simulations and tests can drive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

/// Wall-clock and monotonic time, and the one way to sleep.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> u64;
    /// A monotonic reading in milliseconds from an arbitrary start.
    fn monotonic_ms(&self) -> u64;
    /// Waits for `duration` of this clock's time.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// A shared handle.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

#[async_trait]
#[allow(clippy::disallowed_methods)] // The one place that reads the machine's time.
impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since_epoch| since_epoch.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct TestClock {
    now_ms: AtomicU64,
    moved: tokio::sync::Notify,
}

impl TestClock {
    /// A clock that reads `now_ms`.
    pub fn at(now_ms: u64) -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicU64::new(now_ms), moved: tokio::sync::Notify::new() })
    }

    /// Moves time forward and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.now_ms()
    }

    async fn sleep(&self, duration: Duration) {
        let wake_ms = self.now_ms().saturating_add(duration.as_millis() as u64);
        loop {
            let moved = self.moved.notified();
            if self.now_ms() >= wake_ms {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_clock_wakes_its_sleepers() {
        let clock = TestClock::at(1_000);
        let sleeper = {
            let clock = Arc::clone(&clock);
            async move {
                clock.sleep(Duration::from_millis(500)).await;
                clock.now_ms()
            }
        };
        let mover = async {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(500));
        };
        let (woke_at_ms, ()) = tokio::join!(sleeper, mover);
        assert_eq!(woke_at_ms, 1_500);
    }
}
