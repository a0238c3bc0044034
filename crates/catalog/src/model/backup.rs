//! What a backup says of itself, beside the files of the parts that it names.

use granary_common::CatalogVersion;
use serde::{Deserialize, Serialize};

use super::{Part, Table, View};

/// One backup: tables and views as they were at one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// The cluster that it was taken of. Ids of tables and parts, which name the files, are unique
    /// within it.
    pub cluster: String,
    pub version: CatalogVersion,
    /// When it was begun, in milliseconds since the epoch.
    pub begun_ms: u64,
    /// Those that were taken whole, with or without tables.
    pub databases: Vec<String>,
    pub tables: Vec<BackupTable>,
    /// With the names of their databases, in the order in which they were created.
    pub views: Vec<(String, View)>,
}

/// A table of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupTable {
    pub database: String,
    pub table: Table,
    /// In insert order, each with its deletions at the version of the backup.
    pub parts: Vec<Part>,
}
