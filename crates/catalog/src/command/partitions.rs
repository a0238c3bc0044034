//! Changes of partitions.

use granary_common::TableId;
use serde::{Deserialize, Serialize};

use super::Partitions;

/// A change of whole partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionChange {
    Drop(Partitions),
    /// Hides them; their files stay until they are attached or dropped.
    Detach(Partitions),
    Attach(Partitions),
    DropDetached(Partitions),
}

/// Shows partitions of one table in another as well, without copying files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyPartitions {
    pub from: TableId,
    pub to: TableId,
    pub partitions: Partitions,
    /// Whether what the target has in them goes away.
    pub replace: bool,
    /// Whether they leave the source.
    pub remove: bool,
}
