use granary_common::{CatalogVersion, DatabaseId, TableId};
use serde::{Deserialize, Serialize};

/// Makes a table that begins with the parts of another one, without copying files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneTable {
    pub from: TableId,
    /// What of the source is taken; `None`: what it is when the command is carried out.
    pub version: Option<CatalogVersion>,
    pub database: DatabaseId,
    pub name: String,
    pub if_not_exists: bool,
}
