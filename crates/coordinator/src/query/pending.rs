//! What was bound and waits for its client to come back with the ticket.

use std::sync::Arc;
use std::time::Duration;

use granary_common::QueryId;
use parking_lot::Mutex;

use super::BoundQuery;

/// Taken once, by the first call that brings the ticket.
type Slot = Arc<Mutex<Option<BoundQuery>>>;

/// Bound queries by id; bounded by number and age. One that falls out is bound again.
pub struct PendingQueries {
    slots: moka::sync::Cache<String, Slot>,
}

impl std::fmt::Debug for PendingQueries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PendingQueries({})", self.slots.entry_count())
    }
}

impl PendingQueries {
    /// Room for `queries_max`, each for at most `age_max`.
    pub fn new(queries_max: usize, age_max: Duration) -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(queries_max as u64)
            .time_to_live(age_max)
            .build();
        Self { slots }
    }

    /// Keeps a bound query.
    pub fn put(&self, bound: BoundQuery) {
        let id = bound.request.id.0.clone();
        self.slots.insert(id, Arc::new(Mutex::new(Some(bound))));
    }

    /// Takes a bound query out.
    pub fn take(&self, id: &QueryId) -> Option<BoundQuery> {
        self.slots.remove(&id.0)?.lock().take()
    }

    /// Lets go of what is too old; nothing else does while no query comes.
    pub fn forget_old(&self) {
        self.slots.run_pending_tasks();
    }
}
