//! What is known of a column's values without reading them.

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray};
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
                let (min, max) = view_extremes(values)?;
                let text = |row| Scalar::Text(values.value(row).to_owned());
                Some((text(min), text(max)))
            }
            DataType::Binary => {
                let values = values.as_binary::<i32>();
                let (min, max) = (aggregate::min_binary(values)?, aggregate::max_binary(values)?);
                Some((Scalar::Bytes(min.to_owned()), Scalar::Bytes(max.to_owned())))
            }
            DataType::BinaryView => {
                let values = values.as_binary_view();
                let (min, max) = view_extremes(values)?;
                let bytes = |row| Scalar::Bytes(values.value(row).to_owned());
                Some((bytes(min), bytes(max)))
            }
            _ => None,
        }
    )
}

/// The rows of the smallest and the largest value. Most values are between both by their first four
/// bytes, which stand in the view, or have the very view of one of them.
fn view_extremes<T: ByteViewType>(values: &GenericByteViewArray<T>) -> Option<(usize, usize)> {
    let begins = |view: u128| ((view >> 32) as u32).swap_bytes();
    let bytes = |row: usize| -> &[u8] { values.value(row).as_ref() };
    let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
    let is_null = |row: usize| nulls.is_some_and(|nulls| nulls.is_null(row));
    let views = values.views();
    let first = (0..views.len()).find(|row| !is_null(*row))?;
    let (mut min, mut max) = (first, first);
    let (mut least, mut most) = (views[first], views[first]);
    for (row, view) in views.iter().enumerate().skip(first + 1) {
        let begin = begins(*view);
        let is_between = begins(least) < begin && begin < begins(most);
        if is_between || *view == least || *view == most || is_null(row) {
            continue;
        }
        let is_below = begin.cmp(&begins(least)).then_with(|| bytes(row).cmp(bytes(min))).is_lt();
        if is_below {
            (min, least) = (row, *view);
        }
        let is_above = begin.cmp(&begins(most)).then_with(|| bytes(row).cmp(bytes(max))).is_gt();
        if is_above {
            (max, most) = (row, *view);
        }
    }
    Some((min, max))
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryViewArray, StringViewArray};
    use proptest::prelude::*;

    fn check(values: Vec<Option<Vec<u8>>>) {
        let array = BinaryViewArray::from_iter(values.clone());
        let expected = values.iter().flatten().min().zip(values.iter().flatten().max());
        let found = view_extremes(&array).map(|(min, max)| (array.value(min), array.value(max)));
        assert_eq!(found, expected.map(|(min, max)| (min.as_slice(), max.as_slice())));
    }

    proptest! {
        #[test]
        fn extremes_of_bytes(values in prop::collection::vec(
            prop::option::of("[ab\u{0}]{0,16}".prop_map(String::into_bytes)), 0..20)) {
            check(values);
        }
    }

    #[test]
    fn a_prefix_is_before_what_it_begins() {
        let texts = StringViewArray::from(vec!["abcd", "abc", "abc\0", "abcdefghijklmnop", "abcd"]);
        assert_eq!(view_extremes(&texts), Some((1, 3)));
        assert_eq!(view_extremes(&StringViewArray::from(vec![None::<&str>])), None);
    }
}
