use granary_common::{BucketIndex, CatalogVersion, PartId, TableId, WorkerId};
use serde::{Deserialize, Serialize};

use super::{KeyRange, PartProjection, PartitionValue};

/// Where a part's files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartLocation {
    /// On the local volumes of these workers: their data folders, or their disks of this name.
    Local {
        copies: Vec<WorkerId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disk: Option<String>,
    },
    /// Once, on the shared volume of this name.
    Shared { volume: String },
}

impl PartLocation {
    /// The disk of a local part, when it is not in the data folder.
    pub fn disk(&self) -> Option<&str> {
        match self {
            PartLocation::Local { disk, .. } => disk.as_deref(),
            PartLocation::Shared { .. } => None,
        }
    }
}

/// Which rows of a part are deleted, from a version on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionVector {
    pub since: CatalogVersion,
    /// How many rows are deleted.
    pub rows: u64,
    pub content: DeletionContent,
}

/// Positions of deleted rows, as a roaring bitmap in its portable format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionContent {
    /// Small ones, in the catalog.
    Inline(Vec<u8>),
    /// A file beside the part's, on every copy of the part, by its name.
    File { name: String, bytes: u64, crc32c: u32 },
}

/// Of the names of files of deletions, before their id.
pub const DELETIONS_FILE_PREFIX: &str = "deletions-";

impl DeletionContent {
    /// The id in the name of such a file, from the same leases as the ids of parts.
    pub fn id_of_file(name: &str) -> Option<PartId> {
        name.strip_prefix(DELETIONS_FILE_PREFIX)?.parse().ok().map(PartId)
    }
}

/// Table and part that files are named by, and the projections among them.
///
/// Earlier builds wrote the first two as a pair, which reads as the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFiles {
    pub table: TableId,
    pub part: PartId,
    #[serde(default)]
    pub projections: Vec<PartProjection>,
}

impl PartFiles {
    /// Files without projections.
    pub fn of((table, part): (TableId, PartId)) -> PartFiles {
        PartFiles { table, part, projections: Vec::new() }
    }
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
    /// The version that hid it; files stay until its table's history has passed it.
    pub removed: Option<CatalogVersion>,
    /// By `since`; those that no query can need any more are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<DeletionVector>,
    /// Whose files it shows, when they are not its own, and what else is among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<PartFiles>,
    /// Hidden, and kept until it is attached again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

impl Part {
    /// Whether a query at `version` sees the part.
    pub fn visible_at(&self, version: CatalogVersion) -> bool {
        self.added <= version && self.removed.is_none_or(|removed| version < removed)
    }

    /// The rows that a query at `version` does not see.
    pub fn deletions_at(&self, version: CatalogVersion) -> Option<&DeletionVector> {
        self.deletions.iter().rev().find(|vector| vector.since <= version)
    }

    /// The vectors that a query at `horizon` or above may need.
    pub fn deletions_from(&self, horizon: CatalogVersion) -> &[DeletionVector] {
        let first = self.deletions.iter().rposition(|vector| vector.since <= horizon);
        &self.deletions[first.unwrap_or(0)..]
    }

    /// Drops vectors that no query at `horizon` or above can need.
    pub fn forget_deletions_below(&mut self, horizon: CatalogVersion) {
        let needed = self.deletions_from(horizon).len();
        self.deletions.drain(..self.deletions.len() - needed);
    }

    /// Rows that a query at `version` sees.
    pub fn rows_at(&self, version: CatalogVersion) -> u64 {
        self.rows - self.deletions_at(version).map_or(0, |vector| vector.rows)
    }

    /// Table and part that the files are named by.
    pub fn file_owner(&self) -> (TableId, PartId) {
        self.files.as_ref().map_or((self.table, self.id), |files| (files.table, files.part))
    }

    /// The part whose files it shows, when they are not its own.
    pub fn foreign_owner(&self) -> Option<PartId> {
        self.files.as_ref().map(|files| files.part).filter(|owner| *owner != self.id)
    }

    /// What another part says that shows the same files.
    pub fn shown_files(&self) -> PartFiles {
        let (table, part) = self.file_owner();
        PartFiles { table, part, projections: self.projections().to_vec() }
    }

    /// The projections that it has.
    pub fn projections(&self) -> &[PartProjection] {
        self.files.as_ref().map_or(&[], |files| &files.projections)
    }
}
