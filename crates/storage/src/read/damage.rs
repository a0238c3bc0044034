//! Parts whose bytes are not what was written: who is told, and what the query says.

use std::fmt::Debug;
use std::sync::Arc;

use granary_catalog::{CopyId, DeletionContent, PartLocation};
use granary_common::{Error, ErrorKind, PartId, TableId, WorkerId};

use super::PartRef;

/// A part as a query names it, and the files that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetPart {
    pub table: TableId,
    pub part: PartId,
    /// Table and part that the files are named by.
    pub files: (TableId, PartId),
    /// Whether the files are on a volume that all workers share.
    pub is_shared: bool,
    /// The file of deletions that the query goes by, if any, by the id in its name.
    pub deletions: Option<PartId>,
}

impl MetPart {
    /// The copy of the files that `reader` reads.
    pub fn copy(&self, reader: WorkerId) -> CopyId {
        let (table, part) = self.files;
        CopyId { table, part, worker: (!self.is_shared).then_some(reader) }
    }
}

impl From<&PartRef> for MetPart {
    fn from(part: &PartRef) -> MetPart {
        let is_shared = matches!(part.location, PartLocation::Shared { .. });
        let deletions = match &part.deletions {
            Some(DeletionContent::File { name, .. }) => DeletionContent::id_of_file(name),
            Some(DeletionContent::Inline(_)) | None => None,
        };
        MetPart { table: part.table, part: part.id, files: part.files, is_shared, deletions }
    }
}

/// Is told of damaged files that reads meet.
pub trait DamageWatch: Debug + Send + Sync {
    /// `error` has kind `Corruption` and says which file of `part` is damaged and how. Returns what
    /// the query fails with. Called in the middle of reads: must not block.
    fn damaged(&self, part: &MetPart, error: Error) -> Error;

    /// Whether the copy here is known to be damaged and another one is not.
    fn is_read_elsewhere(&self, part: &MetPart) -> bool;
}

/// Names a part in errors of reading it, and tells the watch of damage.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub part: MetPart,
    pub watch: Option<Arc<dyn DamageWatch>>,
}

impl Named {
    /// `error` with the part's name.
    pub fn error(&self, error: Error) -> Error {
        match (&self.watch, error.kind()) {
            (Some(watch), ErrorKind::Corruption) => watch.damaged(&self.part, error),
            _ => error.context(format!("part {}", self.part.part)),
        }
    }
}
