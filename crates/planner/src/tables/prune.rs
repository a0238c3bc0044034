//! Which parts a filter can match, from what the catalog alone knows of them: the values of their
//! partition and the range of their primary key.

use std::collections::BTreeMap;
use std::mem::discriminant;

use granary_catalog::{Part, Scalar};
use granary_common::ColumnId;
use granary_storage::{CompareOp, Filter, PART_COLUMN, PartSchema};

/// Inclusive bounds of a column's values in one part.
#[derive(Clone, Debug, PartialEq)]
struct Bounds {
    min: Scalar,
    /// `None`: unbounded.
    max: Option<Scalar>,
}

/// Whether some row of `part` may pass `filter`.
pub fn may_match(schema: &PartSchema, part: &Part, filter: &Filter) -> bool {
    may_pass(filter, &bounds(schema, part))
}

/// The same from the part's partition alone.
pub fn partition_may_match(schema: &PartSchema, part: &Part, filter: &Filter) -> bool {
    may_pass(filter, &bounds_of_partition(schema, part).collect())
}

fn bounds_of_partition<'a>(
    schema: &'a PartSchema,
    part: &'a Part,
) -> impl Iterator<Item = (ColumnId, Bounds)> + 'a {
    let values = schema.partition.iter().zip(&part.partition.0);
    values.map(|(column, value)| (*column, Bounds { min: value.clone(), max: Some(value.clone()) }))
}

fn bounds(schema: &PartSchema, part: &Part) -> BTreeMap<ColumnId, Bounds> {
    let id = Scalar::UInt(part.id.0);
    let id = Bounds { min: id.clone(), max: Some(id) };
    let mut known = BTreeMap::from([(PART_COLUMN, id)]);
    if let Some(range) = &part.key_range {
        for (place, column) in schema.primary_key().iter().enumerate() {
            let Some(min) = range.min.get(place) else {
                break;
            };
            let max = range.max.as_ref().and_then(|max| max.get(place));
            known.insert(*column, Bounds { min: min.clone(), max: max.cloned() });
            // Later columns are ordered only among equal values of this one.
            if max != Some(min) {
                break;
            }
        }
    }
    known.extend(bounds_of_partition(schema, part));
    known
}

fn may_pass(filter: &Filter, bounds: &BTreeMap<ColumnId, Bounds>) -> bool {
    match filter {
        Filter::And(terms) => terms.iter().all(|term| may_pass(term, bounds)),
        Filter::Or(terms) => terms.iter().any(|term| may_pass(term, bounds)),
        Filter::Compare { column, op, value } => {
            bounds.get(column).is_none_or(|bounds| may_compare(bounds, *op, value))
        }
        Filter::In { column, values, negated: false } => bounds.get(column).is_none_or(|bounds| {
            values.iter().any(|value| may_compare(bounds, CompareOp::Eq, value))
        }),
        Filter::IsNull { column, negated: false } => bounds
            .get(column)
            .and_then(|bounds| bounds.max.as_ref())
            .is_none_or(|max| *max == Scalar::Null),
        Filter::IsNull { column, negated: true } => {
            bounds.get(column).is_none_or(|bounds| bounds.min != Scalar::Null)
        }
        // Nothing is concluded from the rest.
        Filter::Not(_)
        | Filter::CompareColumns { .. }
        | Filter::In { negated: true, .. }
        | Filter::Like { .. } => true,
    }
}

fn may_compare(bounds: &Bounds, op: CompareOp, value: &Scalar) -> bool {
    if *value == Scalar::Null {
        return false;
    }
    let alien =
        |bound: &Scalar| *bound != Scalar::Null && discriminant(bound) != discriminant(value);
    if alien(&bounds.min) || bounds.max.as_ref().is_some_and(alien) {
        return true;
    }
    let min = &bounds.min;
    let max_at_least = |value: &Scalar| bounds.max.as_ref().is_none_or(|max| max >= value);
    match op {
        CompareOp::Eq => min <= value && max_at_least(value),
        CompareOp::NotEq => !(min == value && bounds.max.as_ref() == Some(value)),
        CompareOp::Lt => min < value,
        CompareOp::LtEq => min <= value,
        CompareOp::Gt => bounds.max.as_ref().is_none_or(|max| max > value),
        CompareOp::GtEq => max_at_least(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(min: Scalar, max: Option<Scalar>, filter: &Filter, expected: bool) {
        let bounds = BTreeMap::from([(ColumnId(0), Bounds { min, max })]);
        assert_eq!(may_pass(filter, &bounds), expected, "{filter:?} within {bounds:?}");
    }

    fn compare(op: CompareOp, value: i64) -> Filter {
        Filter::Compare { column: ColumnId(0), op, value: Scalar::Int(value) }
    }

    #[test]
    fn comparisons_within_bounds() {
        use CompareOp::*;
        for (op, value, expected) in [
            (Eq, 9, false),
            (Eq, 10, true),
            (Eq, 20, true),
            (Eq, 21, false),
            (NotEq, 10, true),
            (Lt, 10, false),
            (LtEq, 10, true),
            (Gt, 20, false),
            (GtEq, 20, true),
        ] {
            check(Scalar::Int(10), Some(Scalar::Int(20)), &compare(op, value), expected);
        }
        check(Scalar::Int(5), Some(Scalar::Int(5)), &compare(NotEq, 5), false);
        check(Scalar::Int(5), None, &compare(Gt, 1_000_000), true);
        check(Scalar::Int(5), Some(Scalar::Null), &compare(Gt, 1_000_000), true);
        check(Scalar::Null, Some(Scalar::Null), &compare(Eq, 1), false);
    }

    #[test]
    fn nulls_and_connectives() {
        let null = |negated| Filter::IsNull { column: ColumnId(0), negated };
        check(Scalar::Int(1), Some(Scalar::Int(2)), &null(false), false);
        check(Scalar::Int(1), Some(Scalar::Null), &null(false), true);
        check(Scalar::Null, Some(Scalar::Null), &null(true), false);
        let either = Filter::Or(vec![compare(CompareOp::Eq, 0), compare(CompareOp::Eq, 2)]);
        check(Scalar::Int(1), Some(Scalar::Int(2)), &either, true);
        let both = Filter::And(vec![compare(CompareOp::Gt, 0), compare(CompareOp::Gt, 2)]);
        check(Scalar::Int(1), Some(Scalar::Int(2)), &both, false);
        let unknown =
            Filter::Compare { column: ColumnId(7), op: CompareOp::Eq, value: Scalar::Int(0) };
        check(Scalar::Int(1), None, &unknown, true);
        let alien =
            Filter::Compare { column: ColumnId(0), op: CompareOp::Eq, value: Scalar::UInt(99) };
        check(Scalar::Int(1), Some(Scalar::Int(2)), &alien, true);
    }
}
