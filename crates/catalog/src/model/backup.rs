//! What a backup says of itself, beside the files of the parts that it names.

use std::collections::BTreeMap;
use std::fmt;

use granary_common::{CatalogVersion, PartId, TableId};
use serde::{Deserialize, Serialize};

use super::{Part, SqlFunction, Table, UserSettings, View};

/// Where backups are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BackupPlace {
    /// A URL, or a folder of the coordinator's machine.
    Url(String),
    /// A folder of a disk of the configuration.
    Disk { disk: String, folder: String },
}

impl fmt::Display for BackupPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupPlace::Url(url) => write!(f, "'{url}'"),
            BackupPlace::Disk { disk, folder } => write!(f, "Disk('{disk}', '{folder}')"),
        }
    }
}

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
    /// Database and name of each table that a view is made of, whether it is in the backup or not.
    pub made_of: BTreeMap<TableId, (String, String)>,
    /// Other places that hold some of the files.
    pub bases: Vec<BackupPlace>,
    /// The parts whose files are at a base, by the part that the files are named by, with the base's
    /// position in `bases`. Their deletions are here all the same.
    pub elsewhere: BTreeMap<PartId, usize>,
    /// Functions in SQL, which views may call; of a backup that holds whole databases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<SqlFunction>,
    /// Of a backup of everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_settings: Vec<UserSettings>,
}

/// A table of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupTable {
    pub database: String,
    pub table: Table,
    /// In insert order, each with its deletions at the version of the backup.
    pub parts: Vec<Part>,
}
