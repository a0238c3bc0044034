//! What a worker tells Prometheus. Counters are noted where things happen, states at intervals.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::NewPart;
use granary_common::Clock;
use granary_execution::{ActiveWork, NodeMemory};
use granary_storage::{PartStore, Volume};
use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::merge::Merges;

const INTERVAL: Duration = Duration::from_secs(1);

const PARTS_WRITTEN: &str = "granary_worker_parts_written_total";
const BYTES_WRITTEN: &str = "granary_worker_bytes_written_total";
const MERGES: &str = "granary_worker_merges_total";
const MERGE_READ: &str = "granary_worker_merge_read_bytes_total";
const MERGE_WRITTEN: &str = "granary_worker_merge_written_bytes_total";
const COPIED: &str = "granary_worker_copied_bytes_total";
const SCRUBBED_PARTS: &str = "granary_worker_scrubbed_parts_total";
const SCRUBBED: &str = "granary_worker_scrubbed_bytes_total";
const SCRUB_DAMAGE: &str = "granary_worker_scrub_damaged_parts_total";
const DISK_USED: &str = "granary_worker_disk_used_bytes";
const DISK_BUDGET: &str = "granary_worker_disk_budget_bytes";
const DISK_TOTAL: &str = "granary_worker_disk_total_bytes";
const CACHE: &str = "granary_worker_read_cache_bytes";
const CACHE_HITS: &str = "granary_worker_read_cache_hit_bytes_total";
const CACHE_FETCHED: &str = "granary_worker_read_cache_fetched_bytes_total";
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

/// A part that a scrub has read.
pub(crate) fn count_scrubbed(bytes: u64, is_damaged: bool) {
    counter!(SCRUBBED_PARTS).increment(1);
    counter!(SCRUBBED).increment(bytes);
    counter!(SCRUB_DAMAGE).increment(u64::from(is_damaged));
}

/// What is looked at every second.
pub(crate) struct Gauges {
    active: ActiveWork,
    merges: Arc<Merges>,
    memory: Arc<NodeMemory>,
    memory_bytes_max: u64,
    volumes: Vec<Arc<Volume>>,
}

impl Gauges {
    /// Of these parts of a worker.
    pub fn new(
        active: &ActiveWork,
        merges: &Arc<Merges>,
        memory: &Arc<NodeMemory>,
        memory_bytes_max: u64,
        store: &PartStore,
    ) -> Gauges {
        let volumes = store.volumes().own().map(Arc::clone).collect();
        let (merges, memory) = (Arc::clone(merges), Arc::clone(memory));
        Gauges { active: active.clone(), merges, memory, memory_bytes_max, volumes }
    }

    /// Looks until its task is stopped.
    pub async fn watch(self, clock: Arc<dyn Clock>) {
        describe();
        loop {
            gauge!(RUNNING).set(self.active.count() as f64);
            gauge!(MERGES_RUNNING).set(self.merges.running().len() as f64);
            gauge!(MEMORY).set(self.memory.used_bytes() as f64);
            gauge!(MEMORY_LIMIT).set(self.memory_bytes_max as f64);
            let cache = self.volumes.iter().find_map(|volume| volume.read_cache());
            let figures = cache.map(|cache| cache.figures()).unwrap_or_default();
            gauge!(CACHE).set(figures.bytes as f64);
            counter!(CACHE_HITS).absolute(figures.hit_bytes);
            counter!(CACHE_FETCHED).absolute(figures.fetched_bytes);
            for (volume, room) in self.volumes.iter().filter_map(|of| Some((of, of.room()?))) {
                let disk = volume.disk_name().to_owned();
                gauge!(DISK_USED, "disk" => disk.clone()).set(room.used_bytes() as f64);
                gauge!(DISK_BUDGET, "disk" => disk.clone()).set(room.budget_bytes as f64);
                gauge!(DISK_TOTAL, "disk" => disk).set(room.total_bytes as f64);
            }
            clock.sleep(INTERVAL).await;
        }
    }
}

fn describe() {
    // They are there before the first of what they count.
    for name in [
        PARTS_WRITTEN,
        BYTES_WRITTEN,
        MERGES,
        MERGE_READ,
        MERGE_WRITTEN,
        COPIED,
        SCRUBBED_PARTS,
        SCRUBBED,
        SCRUB_DAMAGE,
    ] {
        counter!(name).increment(0);
    }
    describe_counter!(PARTS_WRITTEN, "Parts that inserts made on this worker.");
    describe_counter!(BYTES_WRITTEN, "Bytes of these parts.");
    describe_counter!(MERGES, "Merges that were committed.");
    describe_counter!(MERGE_READ, "Bytes of the parts that they read.");
    describe_counter!(MERGE_WRITTEN, "Bytes of the parts that they made.");
    describe_counter!(COPIED, "Bytes that came from other workers to hold copies of parts.");
    describe_counter!(SCRUBBED_PARTS, "Parts that the scrub has read.");
    describe_counter!(SCRUBBED, "Bytes of these parts.");
    describe_counter!(SCRUB_DAMAGE, "Parts that the scrub has found damaged.");
    describe_gauge!(CACHE, "Bytes that the read cache of object stores holds.");
    describe_counter!(CACHE_HITS, "Bytes that reads of object stores found in it.");
    describe_counter!(CACHE_FETCHED, "Bytes that they had to fetch.");
    describe_gauge!(DISK_USED, "Bytes of a disk that are used, by whomever.");
    describe_gauge!(DISK_BUDGET, "Bytes of a disk beyond which writes are refused.");
    describe_gauge!(DISK_TOTAL, "Bytes of a disk.");
    describe_gauge!(RUNNING, "Fragments, writes and reads that run now.");
    describe_gauge!(MERGES_RUNNING, "Merges that run now.");
    describe_gauge!(MEMORY, "Bytes of memory that queries hold.");
    describe_gauge!(MEMORY_LIMIT, "Bytes of memory that queries may hold together.");
}
