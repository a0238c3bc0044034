//! Changes of how many buckets a table has.

use granary_common::{BucketIndex, Epoch, TableId};
use serde::{Deserialize, Serialize};

use super::{KnownPart, MergedPart};

/// A step on the way to another number of buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BucketChange {
    /// So many buckets take what is inserted from now on; rows of before stay where they are.
    Count {
        table: TableId,
        /// The version that this was computed from; the command is refused at another one.
        schema_version: u64,
        buckets: u32,
    },
    /// Rows of before move.
    Split(SplitParts),
}

/// Replaces parts of a bucket of before by parts of the buckets that their rows belong to now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitParts {
    pub table: TableId,
    /// The schema that the new parts were written under.
    pub schema_version: u64,
    /// Where the inputs are.
    pub bucket: BucketIndex,
    pub epoch: Epoch,
    /// Neighbours in insert order, of one partition.
    pub inputs: Vec<KnownPart>,
    /// All of their rows, none more.
    pub outputs: Vec<(BucketIndex, MergedPart)>,
}
