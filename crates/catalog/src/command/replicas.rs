//! Commands about who holds what.

use granary_common::{BucketIndex, Epoch, TableId, WorkerId};
use serde::{Deserialize, Serialize};

use super::KnownPart;
use crate::model::Bucket;

/// Who leads and who holds a bucket from now on, and the state that this was decided from: at another
/// one the command is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPlacement {
    pub table: TableId,
    pub bucket: BucketIndex,
    pub epoch: Epoch,
    pub in_sync_version: u64,
    pub leader: WorkerId,
    pub replicas: Vec<WorkerId>,
    /// Whoever joins them must hold every part of the bucket by then.
    pub in_sync: Vec<WorkerId>,
}

impl BucketPlacement {
    /// What holds now, to be changed.
    pub fn of(bucket: &Bucket) -> BucketPlacement {
        BucketPlacement {
            table: bucket.table,
            bucket: bucket.index,
            epoch: bucket.epoch,
            in_sync_version: bucket.in_sync_version,
            leader: bucket.leader,
            replicas: bucket.replicas.clone(),
            in_sync: bucket.in_sync.clone(),
        }
    }
}

/// What became of copies on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyChange {
    /// It has them now, with their deletion vectors as far as they were known.
    Added,
    /// It gives them up, wherever all of the bucket's replicas have one.
    Spare,
    /// It does not have them any more; the last copy of a part stays named.
    Lost,
}

/// Copies that come or go. Parts that moved on meanwhile are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesChange {
    pub table: TableId,
    pub worker: WorkerId,
    pub change: CopyChange,
    pub parts: Vec<KnownPart>,
}
