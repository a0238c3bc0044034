//! Background tasks belong to an owner that can stop them; nothing else spawns.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns background tasks on one runtime. Clones share the ownership; a child stops with its
/// parent but not the other way round.
#[derive(Clone, Debug)]
pub struct TaskOwner {
    runtime: Handle,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl TaskOwner {
    /// An owner whose tasks run on `runtime`.
    pub fn on(runtime: Handle) -> Self {
        Self { runtime, tracker: TaskTracker::new(), cancel: CancellationToken::new() }
    }

    /// An owner on the runtime that the caller runs on. Panics outside of a runtime.
    pub fn current() -> Self {
        Self::on(Handle::current())
    }

    /// An owner with tasks of its own that also stop when `self` stops.
    pub fn child(&self) -> Self {
        Self {
            runtime: self.runtime.clone(),
            tracker: TaskTracker::new(),
            cancel: self.cancel.child_token(),
        }
    }

    /// Cancelled when the owner stops; long tasks select on it to leave in good order.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Runs `task` until it ends or the owner stops, when it is dropped at its next await.
    #[allow(clippy::disallowed_methods)] // The one place that spawns.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cancel = self.cancel.clone();
        self.tracker.spawn_on(async move { cancel.run_until_cancelled(task).await }, &self.runtime)
    }

    /// Runs blocking `work` on the runtime's blocking threads.
    #[allow(clippy::disallowed_methods)] // The one place that spawns.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker.spawn_blocking_on(work, &self.runtime)
    }

    /// Tells every task to stop and waits up to `limit`. Returns whether all ended in time.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.cancel.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_a_parent_stops_its_child() {
        let parent = TaskOwner::current();
        let child = parent.child();
        let task = child.spawn(std::future::pending::<()>());
        assert!(parent.stop(Duration::from_secs(5)).await);
        assert_eq!(task.await.expect("not a panic"), None);
    }
}
