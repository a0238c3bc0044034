use granary_common::{CatalogVersion, ClusterId};
use serde::{Deserialize, Serialize};

use crate::protocol;

/// The one row about the cluster itself: its identity and the counters of ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn once, when the metadata group forms.
    pub id: ClusterId,
    /// The next database's id.
    pub next_database_id: u64,
    /// The next table's id.
    pub next_table_id: u64,
    /// The next worker's id.
    pub next_worker_id: u64,
    /// The first part id that no range holds.
    pub next_part_id: u64,
    /// Versions below this one may be collected; reading them is refused.
    pub horizon: CatalogVersion,
    /// Whether the merges of all tables are stopped.
    #[serde(default)]
    pub merges_stopped: bool,
    /// The version of the protocol that every node speaks.
    #[serde(default = "protocol::first", skip_serializing_if = "protocol::is_first")]
    pub protocol: u32,
}
