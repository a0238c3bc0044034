//! What is known of a scan's output without reading: sizes decide which side of a join is built
//! and whether an input is distributed.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use granary_catalog::{ColumnType, Scalar};
use granary_common::ColumnId;
use granary_storage::{CompareOp, Filter, to_arrow_scalar};

use super::layout::ScanSpec;
use super::predicate::compares_as_stored;

/// Of rows, when nothing better is known about a comparison.
const UNKNOWN_SELECTIVITY: f64 = 0.2;
/// Of rows, for a pattern in a text.
const LIKE_SELECTIVITY: f64 = 0.1;
/// Bytes of a value whose type does not say.
const VARIABLE_VALUE_BYTES: usize = 24;

/// Statistics of one column over the parts of a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSummary {
    pub min: Option<Scalar>,
    pub max: Option<Scalar>,
    /// Whether `min` and `max` occur in the column.
    pub exact: bool,
    pub null_count: Option<u64>,
    pub distinct_estimate: Option<u64>,
}

impl ColumnSummary {
    /// The summary of the rows of both. Distinct values are taken to overlap wholly when the ranges
    /// do, and not at all when they do not.
    pub fn merged(self, other: ColumnSummary) -> ColumnSummary {
        let apart = match (&self.min, &self.max, &other.min, &other.max) {
            (Some(min), Some(max), Some(other_min), Some(other_max)) => {
                max < other_min || other_max < min
            }
            _ => false,
        };
        let distinct = self.distinct_estimate.zip(other.distinct_estimate);
        ColumnSummary {
            exact: self.exact && other.exact,
            null_count: self.null_count.zip(other.null_count).map(|(a, b)| a + b),
            distinct_estimate: distinct.map(|(a, b)| if apart { a + b } else { a.max(b) }),
            min: self.min.zip(other.min).map(|(a, b)| a.min(b)),
            max: self.max.zip(other.max).map(|(a, b)| a.max(b)),
        }
    }
}

/// Column summaries by id; columns that are not there are unknown.
pub type ColumnSummaries = BTreeMap<ColumnId, ColumnSummary>;

/// Statistics of the output of `spec`.
pub fn of_scan(spec: &ScanSpec, summaries: &ColumnSummaries) -> Statistics {
    let rows = spec.rows();
    let share = spec.filter.as_ref().map(|filter| selectivity(filter, summaries, rows));
    let rows_out = match share {
        Some(share) => Precision::Inexact(((rows as f64 * share).ceil() as usize).max(1)),
        None => precision(rows as usize, spec.collapse.is_none()),
    };
    let columns = spec.columns.iter().map(|id| column(spec, summaries, *id, &rows_out));
    let column_statistics: Vec<ColumnStatistics> = columns.collect();
    let bytes = column_statistics.iter().map(|column| column.byte_size);
    let total_byte_size = bytes.fold(Precision::Exact(0), |sum, bytes| sum.add(&bytes));
    let statistics = Statistics {
        num_rows: rows_out,
        total_byte_size: total_byte_size.to_inexact(),
        column_statistics,
    };
    match spec.fetch {
        Some(fetch) => {
            let rows = statistics.num_rows.get_value().copied().unwrap_or(fetch);
            let most = fetch.saturating_mul(spec.layout.partitions().max(1));
            Statistics { num_rows: Precision::Inexact(rows.min(most)), ..statistics.to_inexact() }
        }
        None => statistics,
    }
}

fn column(
    spec: &ScanSpec,
    summaries: &ColumnSummaries,
    id: ColumnId,
    rows: &Precision<usize>,
) -> ColumnStatistics {
    let Ok(column) = spec.schema.column(id) else { return ColumnStatistics::new_unknown() };
    let data_type = column.column_type.arrow();
    let byte_size = rows.multiply(&Precision::Inexact(value_bytes(&data_type)));
    let mut statistics = ColumnStatistics::new_unknown().with_byte_size(byte_size.to_inexact());
    if !column.column_type.is_nullable() {
        statistics = statistics.with_null_count(Precision::Exact(0));
    }
    let Some(summary) = summaries.get(&id) else { return statistics };
    let all_rows = spec.filter.is_none() && spec.shows_every_row();
    let exact = summary.exact && all_rows;
    if let Some(nulls) = summary.null_count
        && column.column_type.is_nullable()
    {
        statistics = statistics.with_null_count(precision(nulls as usize, all_rows));
    }
    if let Some(distinct) = summary.distinct_estimate {
        let most = rows.get_value().copied().unwrap_or(usize::MAX);
        statistics =
            statistics.with_distinct_count(Precision::Inexact((distinct as usize).min(most)));
    }
    let bound = |value: &Option<Scalar>| bound(value.as_ref()?, &column.column_type);
    if let Some(min) = bound(&summary.min) {
        statistics = statistics.with_min_value(precision(min, exact));
    }
    if let Some(max) = bound(&summary.max) {
        statistics = statistics.with_max_value(precision(max, exact));
    }
    statistics
}

fn precision<T: std::fmt::Debug + Clone + PartialEq + Eq + PartialOrd>(
    value: T,
    exact: bool,
) -> Precision<T> {
    if exact { Precision::Exact(value) } else { Precision::Inexact(value) }
}

fn bound(value: &Scalar, column_type: &ColumnType) -> Option<ScalarValue> {
    if !compares_as_stored(column_type) {
        return None;
    }
    let scalar = to_arrow_scalar(value, &column_type.arrow()).ok()?;
    let array = scalar.into_inner();
    ScalarValue::try_from_array(&array, 0).ok()
}

/// Bytes of a value in memory, about.
pub fn value_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 1,
        DataType::Struct(fields) => fields.iter().map(|field| value_bytes(field.data_type())).sum(),
        other => other.primitive_width().unwrap_or(VARIABLE_VALUE_BYTES),
    }
}

/// The share of `rows` that passes, 0 to 1, taking predicates for independent.
pub fn selectivity(filter: &Filter, summaries: &ColumnSummaries, rows: u64) -> f64 {
    let share = |term: &Filter| selectivity(term, summaries, rows);
    let estimate = match filter {
        Filter::And(terms) => conjunction(terms, summaries, rows),
        Filter::Or(terms) => 1.0 - terms.iter().map(|term| 1.0 - share(term)).product::<f64>(),
        Filter::Not(term) => 1.0 - share(term),
        Filter::Compare { column, op, value } => compare(summaries.get(column), *op, value, rows),
        Filter::CompareColumns { op: CompareOp::NotEq, .. } => 1.0 - UNKNOWN_SELECTIVITY,
        Filter::CompareColumns { .. } => 0.5,
        Filter::In { column, values, negated } => {
            let each = equal(summaries.get(column), rows);
            negated_if(*negated, (each * values.len() as f64).min(1.0))
        }
        Filter::IsNull { column, negated } => {
            let nulls = summaries.get(column).and_then(|summary| summary.null_count);
            let share =
                nulls.map_or(UNKNOWN_SELECTIVITY, |nulls| nulls as f64 / rows.max(1) as f64);
            negated_if(*negated, share)
        }
        Filter::Like { negated, .. } => negated_if(*negated, LIKE_SELECTIVITY),
    };
    estimate.clamp(0.0, 1.0)
}

fn negated_if(negated: bool, share: f64) -> f64 {
    if negated { 1.0 - share } else { share }
}

/// Two bounds of one column are a range, not two independent halves.
fn conjunction(terms: &[Filter], summaries: &ColumnSummaries, rows: u64) -> f64 {
    let mut flat = Vec::new();
    flatten(terms, &mut flat);
    let mut share = 1.0;
    let mut ranges: BTreeMap<ColumnId, (f64, f64)> = BTreeMap::new();
    for term in flat {
        match term {
            Filter::Compare { column, op, value } if is_range(*op) => {
                let passing = compare(summaries.get(column), *op, value, rows);
                let (below, above) = ranges.entry(*column).or_insert((1.0, 1.0));
                match op {
                    CompareOp::Lt | CompareOp::LtEq => *below = below.min(passing),
                    _ => *above = above.min(passing),
                }
            }
            other => share *= selectivity(other, summaries, rows),
        }
    }
    let of_range = |(below, above): &(f64, f64)| {
        let both = *below < 1.0 && *above < 1.0;
        if both { (below + above - 1.0).max(UNKNOWN_SELECTIVITY.powi(3)) } else { below * above }
    };
    share * ranges.values().map(of_range).product::<f64>()
}

fn flatten<'a>(terms: &'a [Filter], flat: &mut Vec<&'a Filter>) {
    for term in terms {
        match term {
            Filter::And(inner) => flatten(inner, flat),
            other => flat.push(other),
        }
    }
}

fn is_range(op: CompareOp) -> bool {
    !matches!(op, CompareOp::Eq | CompareOp::NotEq)
}

fn equal(summary: Option<&ColumnSummary>, rows: u64) -> f64 {
    let distinct = summary.and_then(|summary| summary.distinct_estimate);
    match distinct {
        Some(distinct) => 1.0 / distinct.clamp(1, rows.max(1)) as f64,
        None => UNKNOWN_SELECTIVITY / 4.0,
    }
}

fn compare(summary: Option<&ColumnSummary>, op: CompareOp, value: &Scalar, rows: u64) -> f64 {
    match op {
        CompareOp::Eq => equal(summary, rows),
        CompareOp::NotEq => 1.0 - equal(summary, rows),
        _ => {
            let place = summary.and_then(|summary| {
                let (min, max) = (number(summary.min.as_ref()?)?, number(summary.max.as_ref()?)?);
                let value = number(value)?;
                (max > min).then(|| ((value - min) / (max - min)).clamp(0.0, 1.0))
            });
            let below = place.unwrap_or(match op {
                CompareOp::Lt | CompareOp::LtEq => UNKNOWN_SELECTIVITY * 2.0,
                _ => 1.0 - UNKNOWN_SELECTIVITY * 2.0,
            });
            if matches!(op, CompareOp::Lt | CompareOp::LtEq) { below } else { 1.0 - below }
        }
    }
}

fn number(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Int(v) => Some(*v as f64),
        Scalar::UInt(v) => Some(*v as f64),
        Scalar::Wide(v) => Some(*v as f64),
        Scalar::Float(v) if v.is_finite() => Some(*v),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part_scan::layout::{Layout, tests::spec};

    fn summaries() -> ColumnSummaries {
        let summary = ColumnSummary {
            min: Some(Scalar::Int(0)),
            max: Some(Scalar::Int(1000)),
            exact: true,
            null_count: Some(0),
            distinct_estimate: Some(1000),
        };
        BTreeMap::from([(ColumnId(0), summary)])
    }

    fn compare(op: CompareOp, value: i64) -> Filter {
        Filter::Compare { column: ColumnId(0), op, value: Scalar::Int(value) }
    }

    #[test]
    fn ranges_are_shares_of_the_span() {
        let between = Filter::And(vec![compare(CompareOp::GtEq, 100), compare(CompareOp::Lt, 300)]);
        for (filter, expected) in [
            (compare(CompareOp::Lt, 250), 0.25),
            (compare(CompareOp::Gt, 250), 0.75),
            (compare(CompareOp::Eq, 5), 0.001),
            (between, 0.2),
            (Filter::And(vec![]), 1.0),
            (Filter::Or(vec![]), 0.0),
        ] {
            let share = selectivity(&filter, &summaries(), 10_000);
            assert!((share - expected).abs() < 1e-9, "{filter:?}: {share}");
        }
    }

    #[test]
    fn rows_without_a_filter_are_exact() {
        let mut spec = spec(&[100, 200], Layout::Spread { partitions: 2 });
        assert_eq!(of_scan(&spec, &summaries()).num_rows, Precision::Exact(300));
        spec.filter = Some(compare(CompareOp::Lt, 500));
        assert_eq!(of_scan(&spec, &summaries()).num_rows, Precision::Inexact(150));
        spec.filter = None;
        spec.fetch = Some(10);
        assert_eq!(of_scan(&spec, &summaries()).num_rows, Precision::Inexact(20));
    }
}
