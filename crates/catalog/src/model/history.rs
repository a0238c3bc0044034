//! What is remembered of the past, so that it can be read.

use granary_common::{CatalogVersion, TableId};
use serde::{Deserialize, Serialize};

use super::Table;

/// How far back a table can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHistory {
    pub table: TableId,
    /// Reading an older version is refused.
    pub readable_from: CatalogVersion,
    /// What nobody can read who begins at this version or later may be forgotten. It follows
    /// `readable_from` one step later: see [`crate::history`].
    pub settled: CatalogVersion,
    /// What was needed only below this version is forgotten.
    #[serde(default)]
    pub forgotten: CatalogVersion,
}

/// What a table was until a version changed its definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierTable {
    /// The first version without it.
    pub until: CatalogVersion,
    pub definition: Table,
}

/// When a version took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub version: CatalogVersion,
    /// Milliseconds since the epoch. Never before the moment of an earlier version, whatever the
    /// clocks of the metadata nodes say.
    pub time_ms: u64,
}
