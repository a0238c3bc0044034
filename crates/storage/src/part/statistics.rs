//! What is known of a column's values without reading them.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::aggregate;
use arrow::datatypes::*;
use granary_catalog::Scalar;
use granary_common::ColumnId;
use serde::{Deserialize, Serialize};

use super::key_range::{lower_bound, upper_bound};
use crate::scalar::with_primitive;

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

/// Statistics of a column over a granule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredStatistics", into = "StoredStatistics")]
pub struct GranuleStatistics {
    pub rows: u64,
    /// No value is below; `None` when unknown or when every value is NULL.
    pub min: Option<Scalar>,
    /// No value is above; `None` when unknown or when every value is NULL.
    pub max: Option<Scalar>,
    /// Whether `min` and `max` occur in the granule.
    pub exact: bool,
    pub null_count: u64,
}

/// A granule's statistics as the index holds them: without names, since there are many.
#[derive(Serialize, Deserialize)]
struct StoredStatistics(u64, Option<Scalar>, Option<Scalar>, bool, u64);

impl From<GranuleStatistics> for StoredStatistics {
    fn from(known: GranuleStatistics) -> Self {
        StoredStatistics(known.rows, known.min, known.max, known.exact, known.null_count)
    }
}

impl From<StoredStatistics> for GranuleStatistics {
    fn from(stored: StoredStatistics) -> Self {
        let StoredStatistics(rows, min, max, exact, null_count) = stored;
        GranuleStatistics { rows, min, max, exact, null_count }
    }
}

impl GranuleStatistics {
    /// The statistics of `values`. Floats must be canonical.
    pub fn of(values: &ArrayRef) -> GranuleStatistics {
        let rows = values.len() as u64;
        let null_count = values.logical_null_count() as u64;
        let found = if null_count == rows { None } else { extremes(values) };
        let Some((min, max)) = found else {
            return GranuleStatistics { rows, min: None, max: None, exact: false, null_count };
        };
        let (low, high) = (lower_bound(&min), upper_bound(&max));
        let exact = low == min && high.as_ref() == Some(&max);
        GranuleStatistics { rows, min: Some(low), max: high, exact, null_count }
    }
}

/// Smallest and largest value, for types that have canonical values.
fn extremes(values: &ArrayRef) -> Option<(Scalar, Scalar)> {
    macro_rules! primitive {
        ($arrow:ident, $variant:ident) => {{
            let values = values.as_primitive::<$arrow>();
            let (min, max) = (aggregate::min(values)?, aggregate::max(values)?);
            Some((Scalar::$variant(min.into()), Scalar::$variant(max.into())))
        }};
    }
    with_primitive!(
        values.data_type(),
        primitive,
        match values.data_type() {
            DataType::Boolean => {
                let values = values.as_boolean();
                let (min, max) = (aggregate::min_boolean(values)?, aggregate::max_boolean(values)?);
                Some((Scalar::Bool(min), Scalar::Bool(max)))
            }
            DataType::Decimal128(..) => {
                let values = values.as_primitive::<Decimal128Type>();
                Some((Scalar::Wide(aggregate::min(values)?), Scalar::Wide(aggregate::max(values)?)))
            }
            DataType::Decimal256(..) => {
                let values = values.as_primitive::<Decimal256Type>();
                let (min, max) = (aggregate::min(values)?, aggregate::max(values)?);
                Some((Scalar::Wide(min.to_i128()?), Scalar::Wide(max.to_i128()?)))
            }
            DataType::Utf8View => {
                let values = values.as_string_view();
                let min = aggregate::min_string_view(values)?;
                let max = aggregate::max_string_view(values)?;
                Some((Scalar::Text(min.to_owned()), Scalar::Text(max.to_owned())))
            }
            DataType::Binary => {
                let values = values.as_binary::<i32>();
                let (min, max) = (aggregate::min_binary(values)?, aggregate::max_binary(values)?);
                Some((Scalar::Bytes(min.to_owned()), Scalar::Bytes(max.to_owned())))
            }
            DataType::BinaryView => {
                let values = values.as_binary_view();
                let min = aggregate::min_binary_view(values)?;
                let max = aggregate::max_binary_view(values)?;
                Some((Scalar::Bytes(min.to_owned()), Scalar::Bytes(max.to_owned())))
            }
            _ => None,
        }
    )
}

/// The statistics of a whole column from those of its granules.
pub fn combine(column: ColumnId, granules: &[GranuleStatistics]) -> ColumnStatistics {
    let with_values = || granules.iter().filter(|granule| granule.null_count < granule.rows);
    // One granule whose bound is not known leaves the whole column's unknown.
    let min = with_values().map(|granule| granule.min.as_ref()).collect::<Option<Vec<_>>>();
    let max = with_values().map(|granule| granule.max.as_ref()).collect::<Option<Vec<_>>>();
    let min = min.and_then(|values| values.into_iter().min().cloned());
    let max = max.and_then(|values| values.into_iter().max().cloned());
    ColumnStatistics {
        column,
        exact: min.is_some() && max.is_some() && with_values().all(|granule| granule.exact),
        min,
        max,
        null_count: granules.iter().map(|granule| granule.null_count).sum(),
        distinct_estimate: None,
    }
}
