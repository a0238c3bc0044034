//! What a worker tells Prometheus. Counters are noted where things happen, states at intervals.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::NewPart;
use granary_common::Clock;
use granary_execution::{ActiveWork, NodeMemory};
use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::merge::Merges;

const INTERVAL: Duration = Duration::from_secs(5);

const PARTS_WRITTEN: &str = "granary_worker_parts_written_total";
const BYTES_WRITTEN: &str = "granary_worker_bytes_written_total";
const MERGES: &str = "granary_worker_merges_total";
const MERGE_READ: &str = "granary_worker_merge_read_bytes_total";
const MERGE_WRITTEN: &str = "granary_worker_merge_written_bytes_total";
const COPIED: &str = "granary_worker_copied_bytes_total";
const RUNNING: &str = "granary_worker_work_running";
const MERGES_RUNNING: &str = "granary_worker_merges_running";
const MEMORY: &str = "granary_worker_query_memory_bytes";
const MEMORY_LIMIT: &str = "granary_worker_query_memory_limit_bytes";

/// Parts that an insert made here.
pub(crate) fn count_written(parts: &[NewPart]) {
    counter!(PARTS_WRITTEN).increment(parts.len() as u64);
    counter!(BYTES_WRITTEN).increment(parts.iter().map(|part| part.bytes).sum());
}

/// A merge that was committed, with the bytes of its inputs and of its result.
pub(crate) fn count_merge(read: u64, written: u64) {
    counter!(MERGES).increment(1);
    counter!(MERGE_READ).increment(read);
    counter!(MERGE_WRITTEN).increment(written);
}

/// Bytes that came from other workers, to hold copies of their parts.
pub(crate) fn count_copied(bytes: usize) {
    counter!(COPIED).increment(bytes as u64);
}

/// What is looked at every few seconds.
pub(crate) struct Gauges {
    active: ActiveWork,
    merges: Arc<Merges>,
    memory: Arc<NodeMemory>,
    memory_bytes_max: u64,
}

impl Gauges {
    /// Of these parts of a worker.
    pub fn new(
        active: &ActiveWork,
        merges: &Arc<Merges>,
        memory: &Arc<NodeMemory>,
        memory_bytes_max: u64,
    ) -> Gauges {
        let (merges, memory) = (Arc::clone(merges), Arc::clone(memory));
        Gauges { active: active.clone(), merges, memory, memory_bytes_max }
    }

    /// Looks until its task is stopped.
    pub async fn watch(self, clock: Arc<dyn Clock>) {
        describe();
        loop {
            gauge!(RUNNING).set(self.active.count() as f64);
            gauge!(MERGES_RUNNING).set(self.merges.running().len() as f64);
            gauge!(MEMORY).set(self.memory.used_bytes() as f64);
            gauge!(MEMORY_LIMIT).set(self.memory_bytes_max as f64);
            clock.sleep(INTERVAL).await;
        }
    }
}

fn describe() {
    describe_counter!(PARTS_WRITTEN, "Parts that inserts made on this worker.");
    describe_counter!(BYTES_WRITTEN, "Bytes of these parts.");
    describe_counter!(MERGES, "Merges that were committed.");
    describe_counter!(MERGE_READ, "Bytes of the parts that they read.");
    describe_counter!(MERGE_WRITTEN, "Bytes of the parts that they made.");
    describe_counter!(COPIED, "Bytes that came from other workers to hold copies of parts.");
    describe_gauge!(RUNNING, "Fragments, writes and reads that run now.");
    describe_gauge!(MERGES_RUNNING, "Merges that run now.");
    describe_gauge!(MEMORY, "Bytes of memory that queries hold.");
    describe_gauge!(MEMORY_LIMIT, "Bytes of memory that queries may hold together.");
}
