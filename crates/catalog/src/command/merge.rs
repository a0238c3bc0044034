//! The command of a merge.

use granary_common::{BucketIndex, Epoch, TableId, WorkerId};
use serde::{Deserialize, Serialize};

use super::{KnownPart, NewPart};
use crate::model::DeletionContent;

/// Replaces parts of a bucket by what they were merged into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeParts {
    pub table: TableId,
    /// The schema that the merged parts were written under.
    pub schema_version: u64,
    pub bucket: BucketIndex,
    pub epoch: Epoch,
    pub in_sync_version: u64,
    /// The replicas that synced every new part.
    pub synced: Vec<WorkerId>,
    /// Neighbours in insert order, of one partition unless the merge crosses them on purpose.
    pub inputs: Vec<KnownPart>,
    /// None when no row is left.
    pub outputs: Vec<MergedPart>,
    /// [`TableOptions::ttl_version`] of the rules that were applied.
    ///
    /// [`TableOptions::ttl_version`]: crate::TableOptions::ttl_version
    #[serde(default)]
    pub ttl_version: u64,
    /// Whether the output is its one input on another volume, row by row.
    #[serde(default)]
    pub is_move: bool,
}

/// A part that a merge made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergedPart {
    pub part: NewPart,
    /// Rows that were deleted from the inputs while they were merged, and how many they are.
    #[serde(default)]
    pub deletions: Option<(u64, DeletionContent)>,
}
