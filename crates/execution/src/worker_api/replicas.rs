//! What is asked of a worker about copies of parts.

use granary_catalog::DeletionContent;
use granary_common::{PartId, TableId, WorkerId};
use granary_storage::PartCopy;
use serde::{Deserialize, Serialize};

/// Parts to fetch from other workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySpec {
    pub parts: Vec<PartCopy>,
    /// Workers that hold all of them, the preferred one first.
    pub sources: Vec<WorkerId>,
}

/// A file of a part, or the end of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// Table and part that the files are named by.
    pub files: (TableId, PartId),
    pub name: String,
    /// Where to begin, in bytes.
    pub offset: u64,
}

/// A deletion vector that is ready for a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenDeletions {
    pub content: DeletionContent,
    /// The workers that hold it, when it is a file.
    pub synced: Vec<WorkerId>,
}
