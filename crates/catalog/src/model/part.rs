use granary_common::{BucketIndex, CatalogVersion, PartId, TableId, WorkerId};
use serde::{Deserialize, Serialize};

use super::{KeyRange, PartitionValue};

/// Where a part's files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartLocation {
    /// On the local volumes of these workers.
    Local { copies: Vec<WorkerId> },
    /// Once, on the shared volume of this name.
    Shared { volume: String },
}

/// An immutable sorted columnar file set of one bucket and one partition.
///
/// Bounded to about 512 bytes: column statistics are side files of the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub id: PartId,
    pub table: TableId,
    pub bucket: BucketIndex,
    pub partition: PartitionValue,
    /// Rows, deleted ones included.
    pub rows: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Smallest and largest primary key; `None` when the table has no key.
    pub key_range: Option<KeyRange>,
    /// The schema that it was written under.
    pub schema_version: u64,
    /// How often its rows were merged.
    pub level: u32,
    pub location: PartLocation,
    /// Insert order as a range, first to last: (commit version, ordinal within the commit).
    pub inserted: ((CatalogVersion, u32), (CatalogVersion, u32)),
    /// The version that made it visible.
    pub added: CatalogVersion,
    /// The version that hid it; files stay until the horizon passes.
    pub removed: Option<CatalogVersion>,
}

impl Part {
    /// Whether a query at `version` sees the part.
    pub fn visible_at(&self, version: CatalogVersion) -> bool {
        self.added <= version && self.removed.is_none_or(|removed| version < removed)
    }
}
