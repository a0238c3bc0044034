use granary_common::{BucketIndex, Epoch, TableId, WorkerId};
use serde::{Deserialize, Serialize};

/// A table's unit of placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The table it belongs to.
    pub table: TableId,
    /// Its position in the table.
    pub index: BucketIndex,
    /// The replica that accepts writes and merges.
    pub leader: WorkerId,
    /// Every replica, the one first that leads when it can.
    pub replicas: Vec<WorkerId>,
    /// The replicas that hold every part. The leader may still be fetching some.
    pub in_sync: Vec<WorkerId>,
    /// Moves whenever `replicas` or `in_sync` do; a commit names the one that it was prepared under.
    pub in_sync_version: u64,
    /// Moves whenever the leader does.
    pub epoch: Epoch,
    /// Moves with every write to a bucket of a table with a unique key; keys are checked at one.
    #[serde(default)]
    pub upsert_version: u64,
}
