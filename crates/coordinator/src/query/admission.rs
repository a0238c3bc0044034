//! How many statements run at once, and how many wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use granary_common::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Statements that read.
    Queries,
    /// Statements and calls that add rows.
    Inserts,
}

impl Admitted {
    fn noun(self) -> &'static str {
        match self {
            Admitted::Queries => "queries",
            Admitted::Inserts => "inserts",
        }
    }

    /// What `/metrics` says of them.
    fn gauge(self) -> metrics::Gauge {
        match self {
            Admitted::Queries => {
                metrics::describe_gauge!(QUERIES_ADMITTED, "Queries that hold a place.");
                metrics::gauge!(QUERIES_ADMITTED)
            }
            Admitted::Inserts => {
                metrics::describe_gauge!(INSERTS_ADMITTED, "Inserts that hold a place.");
                metrics::gauge!(INSERTS_ADMITTED)
            }
        }
    }
}

const QUERIES_ADMITTED: &str = "granary_coordinator_queries_admitted";
const INSERTS_ADMITTED: &str = "granary_coordinator_inserts_admitted";

/// A bounded number of running statements and a bounded queue before them.
pub struct Admission {
    running: Arc<Semaphore>,
    running_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    admitted: Admitted,
    /// The places that are held.
    held: metrics::Gauge,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Admission of {} of {} {}",
            self.running(),
            self.running_max,
            self.admitted.noun()
        )
    }
}

/// A place among those that run, held until it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    held: metrics::Gauge,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.decrement(1.0);
    }
}

impl Admission {
    /// Admits `running_max` of `admitted` and lets `waiting_max` more wait.
    pub fn new(admitted: Admitted, running_max: usize, waiting_max: usize) -> Self {
        let running = Arc::new(Semaphore::new(running_max));
        let held = admitted.gauge();
        // It is there before the first one.
        held.set(0.0);
        let waiting = AtomicUsize::new(0);
        Self { running, running_max, waiting, waiting_max, admitted, held }
    }

    /// Waits for its turn. Kind `ResourceExhausted` when too many wait already.
    pub async fn admit(&self) -> Result<Place> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(self.place(permit));
        }
        let _waiting = Waiting::enter(self)?;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        let permit = permit.map_err(|_| Error::unavailable("the coordinator is stopping"))?;
        Ok(self.place(permit))
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        self.held.increment(1.0);
        Place { _permit: permit, held: self.held.clone() }
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
                admission.running_max,
                admission.admitted.noun(),
                admission.waiting_max
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
        let admission = Admission::new(Admitted::Queries, 1, 1);
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
