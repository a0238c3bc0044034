//! Which granules may hold a row that passes.
//!
//! A filter is evaluated over what is known of a granule's values, in SQL's three-valued logic, to
//! the set of outcomes that its rows may have. A granule stays unless TRUE is not among them.

use std::cmp::Ordering;
use std::ops::Range;

use granary_catalog::Scalar;
use granary_common::ColumnId;

use super::Pruned;
use crate::filter::{CompareOp, Filter};
use crate::part::index::PartIndex;
use crate::part::key_range::{lower_bound, text_above};
use crate::part::statistics::GranuleStatistics;
use crate::sort_order::canonical_f64;

/// The outcomes that a predicate may have for the rows of a granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcomes {
    can_true: bool,
    can_false: bool,
    can_null: bool,
}

impl Outcomes {
    const ANY: Outcomes = Outcomes { can_true: true, can_false: true, can_null: true };
    const TRUE: Outcomes = Outcomes { can_true: true, can_false: false, can_null: false };
    const FALSE: Outcomes = Outcomes { can_true: false, can_false: true, can_null: false };

    fn not(self) -> Outcomes {
        Outcomes { can_true: self.can_false, can_false: self.can_true, can_null: self.can_null }
    }

    fn and(self, other: Outcomes) -> Outcomes {
        let (a, b) = (self, other);
        Outcomes {
            can_true: a.can_true && b.can_true,
            can_false: a.can_false || b.can_false,
            can_null: (a.can_null && (b.can_null || b.can_true))
                || (b.can_null && (a.can_null || a.can_true)),
        }
    }
}

/// The rows of the part that may pass `filter`.
pub fn prune(index: &PartIndex, filter: &Filter) -> Pruned {
    let granules = index.granules();
    let window = key_window(index, filter);
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut selected = 0;
    for granule in window {
        if !outcomes(index, filter, granule).can_true {
            continue;
        }
        selected += 1;
        let rows = index.rows_of(granule..granule + 1);
        match ranges.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => ranges.push(rows),
        }
    }
    Pruned { ranges, granules_total: granules as u64, granules_selected: selected }
}

/// The granules that the sparse index leaves, found by binary search on the key's first column.
fn key_window(index: &PartIndex, filter: &Filter) -> Range<usize> {
    let granules = index.granules();
    let Some(column) = index.key.first().filter(|_| !index.first_keys.is_empty()) else {
        return 0..granules;
    };
    let mut window = 0..granules;
    for (op, value) in bounds_on(filter, *column) {
        let first = |granule: usize| &index.first_keys[granule][0];
        let comparable = same_kind(first(0), value) || matches!(first(0), Scalar::Null);
        if !comparable || matches!(value, Scalar::Null) {
            continue;
        }
        if matches!(op, CompareOp::Eq | CompareOp::Lt | CompareOp::LtEq) {
            // The first granule that begins above the value, and all after it, cannot hold it.
            let end = index.first_keys.partition_point(|key| key[0] <= *value);
            window.end = window.end.min(end);
        }
        if matches!(op, CompareOp::Eq | CompareOp::Gt | CompareOp::GtEq) {
            // The granule before the first one that begins at or above the value may reach it. The
            // value is cut as the keys are, else a cut key could seem to be below it.
            let value = lower_bound(value);
            let start = index.first_keys.partition_point(|key| key[0] < value);
            window.start = window.start.max(start.saturating_sub(1));
        }
    }
    if window.start >= window.end { 0..0 } else { window }
}

/// Comparisons of `column` that every passing row satisfies.
fn bounds_on(filter: &Filter, column: ColumnId) -> Vec<(CompareOp, &Scalar)> {
    match filter {
        Filter::And(terms) => terms.iter().flat_map(|term| bounds_on(term, column)).collect(),
        Filter::Compare { column: of, op, value } if *of == column => vec![(*op, value)],
        Filter::In { column: of, values, negated: false } if *of == column => {
            let known: Vec<&Scalar> =
                values.iter().filter(|value| !matches!(value, Scalar::Null)).collect();
            match (known.iter().min(), known.iter().max()) {
                (Some(min), Some(max)) if same_kind(min, max) => {
                    vec![(CompareOp::GtEq, *min), (CompareOp::LtEq, *max)]
                }
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn same_kind(a: &Scalar, b: &Scalar) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn outcomes(index: &PartIndex, filter: &Filter, granule: usize) -> Outcomes {
    let statistics =
        |column: &ColumnId| index.column(*column).map(|column| &column.granules[granule]);
    match filter {
        Filter::And(terms) => terms
            .iter()
            .fold(Outcomes::TRUE, |so_far, term| so_far.and(outcomes(index, term, granule))),
        Filter::Or(terms) => terms
            .iter()
            .fold(Outcomes::TRUE, |so_far, term| so_far.and(outcomes(index, term, granule).not()))
            .not(),
        Filter::Not(term) => outcomes(index, term, granule).not(),
        Filter::Compare { column, op, value } => {
            statistics(column).map_or(Outcomes::ANY, |known| compare(known, *op, value))
        }
        Filter::CompareColumns { .. } => Outcomes::ANY,
        Filter::In { column, values, negated } => {
            let found = statistics(column).map_or(Outcomes::ANY, |known| is_in(known, values));
            if *negated { found.not() } else { found }
        }
        Filter::IsNull { column, negated } => {
            let found = statistics(column).map_or(Outcomes::ANY, |known| Outcomes {
                can_true: known.null_count > 0,
                can_false: known.null_count < known.rows,
                can_null: false,
            });
            if *negated { found.not() } else { found }
        }
        Filter::Like { column, pattern, negated, case_insensitive } => {
            let found = match statistics(column) {
                Some(known) if !case_insensitive => is_like(known, pattern),
                _ => Outcomes::ANY,
            };
            if *negated { found.not() } else { found }
        }
    }
}

/// Where the granule's values lie relative to `value`: whether some may be below, equal, above.
fn positions(known: &GranuleStatistics, value: &Scalar) -> Option<[(Ordering, bool); 3]> {
    let value = match value {
        Scalar::Float(value) => &Scalar::Float(canonical_f64(*value)),
        other => other,
    };
    let bounds = [known.min.as_ref(), known.max.as_ref()];
    if !bounds.iter().flatten().all(|bound| same_kind(bound, value)) {
        return None;
    }
    let [min, max] = bounds;
    Some([
        (Ordering::Less, min.is_none_or(|min| min < value)),
        (Ordering::Equal, min.is_none_or(|min| min <= value) && max.is_none_or(|max| max >= value)),
        (Ordering::Greater, max.is_none_or(|max| max > value)),
    ])
}

/// Whether some of the values may compare so.
pub(crate) fn may_compare(known: &GranuleStatistics, op: CompareOp, value: &Scalar) -> bool {
    compare(known, op, value).can_true
}

/// Whether some of the values may be like the pattern.
pub(crate) fn may_like(known: &GranuleStatistics, pattern: &str) -> bool {
    is_like(known, pattern).can_true
}

fn compare(known: &GranuleStatistics, op: CompareOp, value: &Scalar) -> Outcomes {
    if matches!(value, Scalar::Null) || known.null_count == known.rows {
        return Outcomes { can_true: false, can_false: false, can_null: true };
    }
    let Some(places) = positions(known, value) else { return Outcomes::ANY };
    Outcomes {
        can_true: places.iter().any(|(at, may)| *may && op.holds(*at)),
        can_false: places.iter().any(|(at, may)| *may && !op.holds(*at)),
        can_null: known.null_count > 0,
    }
}

fn is_in(known: &GranuleStatistics, values: &[Scalar]) -> Outcomes {
    let equal = values.iter().map(|value| compare(known, CompareOp::Eq, value));
    if values.is_empty() {
        return Outcomes::FALSE;
    }
    equal.fold(Outcomes::TRUE, |so_far, outcome| so_far.and(outcome.not())).not()
}

fn is_like(known: &GranuleStatistics, pattern: &str) -> Outcomes {
    if known.null_count == known.rows {
        return Outcomes { can_true: false, can_false: false, can_null: true };
    }
    let literal: String = pattern.chars().take_while(|c| !matches!(c, '%' | '_' | '\\')).collect();
    let begins_below = match &known.max {
        Some(Scalar::Text(max)) => *max < literal,
        _ => false,
    };
    let begins_above = match (&known.min, text_above(&literal)) {
        (Some(Scalar::Text(min)), Some(above)) => *min >= above,
        _ => false,
    };
    Outcomes {
        can_true: !begins_below && !begins_above,
        can_false: true,
        can_null: known.null_count > 0,
    }
}
