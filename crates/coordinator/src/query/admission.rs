//! How many statements run at once, and how many wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use granary_common::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded number of running statements and a bounded queue before them.
#[derive(Debug)]
pub struct Admission {
    running: Arc<Semaphore>,
    running_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    noun: &'static str,
}

impl Admission {
    /// Admits `running_max` of `noun` and lets `waiting_max` more wait.
    pub fn new(noun: &'static str, running_max: usize, waiting_max: usize) -> Self {
        let running = Arc::new(Semaphore::new(running_max));
        Self { running, running_max, waiting: AtomicUsize::new(0), waiting_max, noun }
    }

    /// Waits for its turn. Kind `ResourceExhausted` when too many wait already.
    pub async fn admit(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::enter(self)?;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        permit.map_err(|_| Error::unavailable("the coordinator is stopping"))
    }

    /// Statements that run now.
    pub fn running(&self) -> usize {
        self.running_max - self.running.available_permits().min(self.running_max)
    }
}

/// A place in the queue, given back when its holder is admitted or goes away.
struct Waiting<'a>(&'a Admission);

impl<'a> Waiting<'a> {
    fn enter(admission: &'a Admission) -> Result<Self> {
        let before = admission.waiting.fetch_add(1, Ordering::SeqCst);
        let place = Waiting(admission);
        if before >= admission.waiting_max {
            return Err(Error::exhausted(format!(
                "{} {} run and {} wait; try again later",
                admission.running_max, admission.noun, admission.waiting_max
            )));
        }
        Ok(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::ErrorKind;

    #[tokio::test]
    async fn the_queue_is_bounded_and_gives_places_back() {
        let admission = Admission::new("queries", 1, 1);
        let first = admission.admit().await.unwrap();
        assert_eq!(admission.running(), 1);
        {
            let second = admission.admit();
            tokio::pin!(second);
            assert!(futures::poll!(second.as_mut()).is_pending());
            let error = admission.admit().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        }
        // The second one went away while it waited.
        drop(first);
        let third = admission.admit().await;
        assert!(third.is_ok());
    }
}
