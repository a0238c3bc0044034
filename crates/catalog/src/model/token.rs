use granary_common::{CatalogVersion, TableId};
use serde::{Deserialize, Serialize};

use super::Part;

/// The memory of an insert, so that the same token again returns the first answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsertToken {
    pub table: TableId,
    pub token: String,
    /// Of the content; the same token with another digest is an error.
    pub digest: String,
    pub rows: u64,
    pub parts: u64,
    pub version: CatalogVersion,
    /// When it was committed, in milliseconds since the epoch; tokens expire by time and count.
    pub committed_ms: u64,
}

/// Parts of a long stream that are written but not yet visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedInsert {
    /// Chosen by the coordinator, unique.
    pub transaction: String,
    pub table: TableId,
    /// The table's versions when the stream began.
    pub schema_version: u64,
    pub view_set_version: u64,
    pub data_version: u64,
    /// Of the table and of its views' targets.
    pub parts: Vec<Part>,
    /// The targets of its views, as they were when the stream began.
    #[serde(default)]
    pub views: Vec<StagedTarget>,
    /// When it was last added to, in milliseconds since the epoch; abandoned ones are dropped.
    pub touched_ms: u64,
}

/// A table that a view fills from a staged insert, with its versions when the stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedTarget {
    pub table: TableId,
    pub schema_version: u64,
    pub view_set_version: u64,
    pub data_version: u64,
}
