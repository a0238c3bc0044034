use granary_common::{PartId, TableId, WorkerId};
use serde::{Deserialize, Serialize};

/// One copy of the files of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CopyId {
    /// Table and part that the files are named by.
    pub table: TableId,
    pub part: PartId,
    /// On the local volume of this worker; `None`: on a volume that all workers share.
    pub worker: Option<WorkerId>,
}

/// A copy whose bytes are not what was written. It is not merged, and read only where there is no
/// other copy; every read checks what it reads, so it gives right rows or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub copy: CopyId,
    /// Which file, and how.
    pub reason: String,
    /// When it was found, in milliseconds since the epoch.
    pub found_ms: u64,
}
