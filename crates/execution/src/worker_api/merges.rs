//! What is asked of a worker about the merges of its buckets.

use granary_catalog::{Partitions, TtlPlace};
use granary_common::{BucketIndex, ColumnId, PartId, TableId, WorkerId};
use serde::{Deserialize, Serialize};

/// Merges that a statement asks for: OPTIMIZE TABLE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptimizeSpec {
    pub table: TableId,
    /// Buckets that the worker leads.
    pub buckets: Vec<BucketIndex>,
    pub partitions: Partitions,
    /// All parts of a partition and bucket become one, else one round of picking is done.
    pub is_final: bool,
    /// Whether rows that are marked as deleted by the engine go as well; needs `is_final`.
    pub is_cleanup: bool,
    /// Of rows that are equal in these columns one stays; needs `is_final`.
    pub deduplicate_by: Option<Vec<ColumnId>>,
    /// Only parts with rows that are due by the table's TTL are written again, each by itself.
    #[serde(default)]
    pub is_ttl: bool,
    /// Nothing is merged: parts move there.
    #[serde(default)]
    pub relocation: Option<Relocation>,
    /// Nothing is merged: parts that lack the index of this name get it.
    #[serde(default)]
    pub index: Option<String>,
    /// Only parts that lack the projection of this name are written again, each by itself.
    #[serde(default)]
    pub projection: Option<String>,
    /// Parts are written again without it, each by itself.
    #[serde(default)]
    pub cleared: Option<Cleared>,
}

impl OptimizeSpec {
    /// One round of picking in `partitions` of all buckets.
    pub fn of(table: TableId, partitions: Partitions) -> Self {
        Self {
            table,
            buckets: Vec::new(),
            partitions,
            is_final: false,
            is_cleanup: false,
            deduplicate_by: None,
            is_ttl: false,
            relocation: None,
            index: None,
            projection: None,
            cleared: None,
        }
    }
}

/// What parts lose, by its name. The table goes on to give it to new ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleared {
    Index(String),
    Projection(String),
}

/// Parts that move to another disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    pub place: TtlPlace,
    /// Only this one.
    pub part: Option<PartId>,
}

/// What OPTIMIZE did on a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Optimized {
    pub merges: u64,
    /// Parts that were merged.
    pub parts: u64,
    /// Bytes of those parts.
    pub bytes: u64,
}

impl Optimized {
    /// Adds what was done elsewhere.
    pub fn add(&mut self, other: Optimized) {
        self.merges += other.merges;
        self.parts += other.parts;
        self.bytes += other.bytes;
    }
}

/// A merge that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningMerge {
    pub worker: WorkerId,
    pub table: TableId,
    pub bucket: BucketIndex,
    /// The partition's value as text.
    pub partition: String,
    /// In insert order.
    pub parts: Vec<PartId>,
    pub bytes: u64,
    pub rows: u64,
    pub rows_read: u64,
    pub rows_written: u64,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
    /// Whether a statement asked for it.
    pub is_optimize: bool,
}
