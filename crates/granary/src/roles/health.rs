//! Whether a process may be sent work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use granary_common::{Error, Result};
use parking_lot::Mutex;

/// A check that takes longer has failed.
pub(super) const CHECK_LIMIT: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Draining,
}

/// The state behind `/readyz`. Clones share it.
#[derive(Clone)]
pub(super) struct Health {
    phase: Arc<Mutex<Phase>>,
    check: Arc<Mutex<Option<Check>>>,
}

impl Health {
    pub(super) fn starting() -> Self {
        Self { phase: Arc::new(Mutex::new(Phase::Starting)), check: Arc::default() }
    }

    pub(super) fn set_ready(&self) {
        *self.phase.lock() = Phase::Ready;
    }

    pub(super) fn set_draining(&self) {
        *self.phase.lock() = Phase::Draining;
    }

    /// Also asks `check` from now on.
    pub(super) fn set_check<C, F>(&self, check: C)
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        *self.check.lock() = Some(Arc::new(move || Box::pin(check())));
    }

    /// `Ok` when work may be sent.
    pub(super) async fn ready(&self) -> Result<()> {
        let phase = *self.phase.lock();
        match phase {
            Phase::Starting => Err(Error::unavailable("starting")),
            Phase::Draining => Err(Error::unavailable("draining")),
            Phase::Ready => {
                let check = self.check.lock().clone();
                let Some(check) = check else { return Ok(()) };
                match tokio::time::timeout(CHECK_LIMIT, check()).await {
                    Ok(checked) => checked,
                    Err(_) => Err(Error::unavailable("the catalog does not answer")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_between_starting_and_draining() {
        let health = Health::starting();
        assert!(health.ready().await.is_err());
        health.set_ready();
        assert!(health.ready().await.is_ok());
        health.set_check(|| async { Err(Error::unavailable("no majority")) });
        assert_eq!(health.ready().await, Err(Error::unavailable("no majority")));
        health.set_draining();
        assert_eq!(health.ready().await, Err(Error::unavailable("draining")));
    }
}
