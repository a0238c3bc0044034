//! What queries may hold on this node: a bound for all of them together and one for each, and where
//! they spill to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use granary_common::units::display_bytes;
use granary_common::{Error, Result};

/// Of a query's limit, one such share is what each of its sorts keeps back.
const SORT_RESERVATION_SHARE: u64 = 32;

/// Bounds of a node.
#[derive(Clone, Debug)]
pub struct MemoryLimits {
    /// Bytes of all queries together on this node.
    pub node_bytes_max: u64,
    /// Where queries spill to; made when needed, emptied at the start.
    pub spill_dir: PathBuf,
    /// Bytes of spilled files together.
    pub spill_bytes_max: u64,
}

/// The memory and spill space of a node, shared by its queries.
#[derive(Debug)]
pub struct NodeMemory {
    base: RuntimeEnv,
    used: Arc<NodeBudget>,
}

impl NodeMemory {
    /// Makes and empties the spill folder. Kind `Unavailable` when that fails.
    pub fn new(limits: &MemoryLimits) -> Result<NodeMemory> {
        let failed = |error: &dyn fmt::Display| {
            let folder = limits.spill_dir.display();
            Error::unavailable(format!("the spill folder {folder} cannot be used: {error}"))
        };
        if limits.spill_dir.exists() {
            std::fs::remove_dir_all(&limits.spill_dir).map_err(|error| failed(&error))?;
        }
        std::fs::create_dir_all(&limits.spill_dir).map_err(|error| failed(&error))?;
        let disk = DiskManager::builder()
            .with_mode(DiskManagerMode::Directories(vec![limits.spill_dir.clone()]))
            .with_max_temp_directory_size(limits.spill_bytes_max);
        let base = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(disk)
            .build()
            .map_err(|error| failed(&error))?;
        let max = usize::try_from(limits.node_bytes_max).unwrap_or(usize::MAX);
        Ok(NodeMemory { base, used: Arc::new(NodeBudget { used: AtomicUsize::new(0), max }) })
    }

    /// The runtime of one query, which may hold `query_bytes_max`; 0: as much as the node.
    pub fn for_query(&self, query_bytes_max: u64) -> Arc<RuntimeEnv> {
        let wanted = match query_bytes_max {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        let max = wanted.min(self.used.max);
        let pool = QueryPool { query: FairSpillPool::new(max), node: Arc::clone(&self.used), max };
        Arc::new(RuntimeEnv { memory_pool: Arc::new(pool), ..self.base.clone() })
    }

    /// Bytes that queries hold now.
    pub fn used_bytes(&self) -> u64 {
        self.used.used.load(Ordering::Relaxed) as u64
    }
}

/// How operators spill. What a sort keeps back to merge what it spilled is a part of a small limit, else
/// the engine's own. An exchange has a file for each batch: those who write to it at the same time begin
/// files of their own, its reader waits for the end of the first, and with files that stay open until they
/// are large, writers and readers of two partitions can wait for each other forever.
pub fn fit_spills(config: &mut SessionConfig, query_bytes_max: u64) {
    let share = usize::try_from(query_bytes_max / SORT_RESERVATION_SHARE).unwrap_or(usize::MAX);
    let execution = &mut config.options_mut().execution;
    // One is not zero.
    if let Ok(one) = ConfigNonZeroUsize::try_new(1) {
        execution.max_spill_file_size_bytes = one;
    }
    if query_bytes_max > 0 {
        execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(share);
    }
}

#[derive(Debug)]
struct NodeBudget {
    used: AtomicUsize,
    max: usize,
}

impl NodeBudget {
    fn try_take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// The pool of one query inside the node's budget.
#[derive(Debug)]
struct QueryPool {
    query: FairSpillPool,
    node: Arc<NodeBudget>,
    max: usize,
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query({} of {})", self.query.reserved(), self.max)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.query.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.query.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.node.used.fetch_add(additional, Ordering::Relaxed);
        self.query.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.query.shrink(reservation, shrink);
        self.node.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(
        &self,
        reservation: &MemoryReservation,
        additional: usize,
    ) -> Result<(), DataFusionError> {
        if !self.node.try_take(additional) {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "the queries of this node hold {} of {}; {} more for {} do not fit. Run fewer at \
                 the same time, or raise the node's memory limit",
                display_bytes(self.node.used.load(Ordering::Relaxed) as u64),
                display_bytes(self.node.max as u64),
                display_bytes(additional as u64),
                reservation.consumer().name(),
            )));
        }
        self.query.try_grow(reservation, additional).map_err(|_| {
            self.node.used.fetch_sub(additional, Ordering::Relaxed);
            DataFusionError::ResourcesExhausted(format!(
                "the query holds {} of {} on this node; {} more for {} do not fit. Raise \
                 max_memory_usage or the node's memory limit",
                display_bytes(self.query.reserved() as u64),
                display_bytes(self.max as u64),
                display_bytes(additional as u64),
                reservation.consumer().name(),
            ))
        })
    }

    fn reserved(&self) -> usize {
        self.query.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(max: u64) -> (tempfile::TempDir, NodeMemory) {
        let folder = tempfile::tempdir().unwrap();
        let spill_dir = folder.path().join("spill");
        let limits = MemoryLimits { node_bytes_max: max, spill_dir, spill_bytes_max: 1 << 20 };
        let memory = NodeMemory::new(&limits).unwrap();
        (folder, memory)
    }

    #[test]
    fn queries_share_the_node_and_have_limits_of_their_own() {
        let (_folder, node) = node(1000);
        let (small, large) = (node.for_query(100), node.for_query(0));
        let small = MemoryConsumer::new("a").register(&small.memory_pool);
        let large = MemoryConsumer::new("b").register(&large.memory_pool);
        assert!(small.try_grow(101).is_err());
        assert_eq!(node.used_bytes(), 0);
        small.try_grow(100).unwrap();
        assert!(large.try_grow(901).is_err());
        large.try_grow(900).unwrap();
        assert_eq!(node.used_bytes(), 1000);
        drop(large);
        assert_eq!(node.used_bytes(), 100);
    }
}
