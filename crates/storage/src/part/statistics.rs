//! What is known of a column's values without reading them.

use granary_catalog::Scalar;
use granary_common::ColumnId;
use serde::{Deserialize, Serialize};

/// Statistics of a column over a whole part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    pub column: ColumnId,
    /// No value is below; `None` when unknown or when every value is NULL.
    pub min: Option<Scalar>,
    /// No value is above; `None` when unknown or when every value is NULL.
    pub max: Option<Scalar>,
    /// Whether `min` and `max` occur in the column; long texts are cut.
    pub exact: bool,
    pub null_count: u64,
    /// About how many different values there are, if that was cheap to learn.
    pub distinct_estimate: Option<u64>,
}
