//! One round for everyone who waits: the first waiter begins a round, and those who come while it
//! runs share the next one. An answer never comes from a round that began before its caller asked.

use std::future::Future;
use std::sync::Arc;

use granary_common::{CatalogVersion, Error, Result, TaskOwner};
use tokio::sync::{mpsc, oneshot};

/// Callers that may wait to be noticed; more wait for room.
const WAITERS_MAX: usize = 1024;

type Waiter = oneshot::Sender<Result<CatalogVersion>>;

/// Batches calls that all want to know one thing as of now.
#[derive(Clone, Debug)]
pub struct SharedRound {
    waiters: mpsc::Sender<Waiter>,
}

impl SharedRound {
    /// Runs rounds on `tasks` until it stops.
    pub fn start<F, Fut>(tasks: &TaskOwner, round: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CatalogVersion>> + Send + 'static,
    {
        let (waiters, queue) = mpsc::channel(WAITERS_MAX);
        let round = Arc::new(round);
        tasks.spawn(async move { run(queue, round).await });
        Self { waiters }
    }

    /// The answer of a round that begins after this call.
    pub async fn join(&self) -> Result<CatalogVersion> {
        let stopped = || Error::unavailable("this node is shutting down");
        let (waiter, answer) = oneshot::channel();
        self.waiters.send(waiter).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn run<F, Fut>(mut queue: mpsc::Receiver<Waiter>, round: Arc<F>)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<CatalogVersion>> + Send + 'static,
{
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, WAITERS_MAX).await > 0 {
        let answer = round().await;
        for waiter in waiting.drain(..) {
            let _ = waiter.send(answer.clone()); // The caller may have gone.
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn waiters_share_a_round() {
        let rounds = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let tasks = TaskOwner::current();
        let shared = {
            let (rounds, gate) = (Arc::clone(&rounds), Arc::clone(&gate));
            SharedRound::start(&tasks, move || {
                let (rounds, gate) = (Arc::clone(&rounds), Arc::clone(&gate));
                async move {
                    let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.acquire().await.expect("open").forget();
                    Ok(CatalogVersion(round))
                }
            })
        };
        let first = {
            let shared = shared.clone();
            tasks.spawn(async move { shared.join().await })
        };
        while rounds.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // These come while the first round runs, so they share the second one.
        let late: Vec<_> = (0..50)
            .map(|_| {
                let shared = shared.clone();
                tasks.spawn(async move { shared.join().await })
            })
            .collect();
        while shared.waiters.capacity() > WAITERS_MAX - 50 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.expect("no panic"), Some(Ok(CatalogVersion(1))));
        for task in late {
            assert_eq!(task.await.expect("no panic"), Some(Ok(CatalogVersion(2))));
        }
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
    }
}
