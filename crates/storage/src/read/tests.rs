#![allow(clippy::single_range_in_vec_init)]

use std::ops::Range;
use std::sync::LazyLock;

use granary_catalog::Scalar;
use granary_common::{ColumnId, Error, ErrorKind, PartId};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::filter::CompareOp;
use crate::schema::PartSchema;
use crate::test_support::*;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

const TYPES: [&str; 9] = [
    "Nullable(Int8)",
    "String",
    "Nullable(Float64)",
    "Decimal(6, 2)",
    "Nullable(String)",
    "Bool",
    "UInt64",
    "DateTime64(3)",
    "FixedString(2)",
];

/// Values of column `place`; few of them, so that filters hit.
fn value(place: usize) -> BoxedStrategy<Scalar> {
    let texts = || {
        prop_oneof![
            Just("a"),
            Just("ab"),
            Just("a%b_"),
            Just("ä\\b"),
            Just(""),
            Just("abcdefghijklmnopqrstuvwxyz0"),
            Just("abcdefghijklmnopqrstuvwxyz1")
        ]
        .prop_map(|text: &str| Scalar::Text(text.to_owned()))
    };
    let floats = prop_oneof![
        Just(f64::NAN),
        Just(0.0),
        Just(-0.0),
        Just(1.5),
        Just(-2.5),
        Just(f64::INFINITY)
    ];
    let nullable =
        |values: BoxedStrategy<Scalar>| prop_oneof![4 => values, 1 => Just(Scalar::Null)].boxed();
    match place {
        0 => nullable((-128_i64..=127).prop_map(|v| Scalar::Int(v / 16 * 16)).boxed()),
        1 => texts().boxed(),
        2 => nullable(floats.prop_map(Scalar::Float).boxed()),
        3 => (-500_i128..500).prop_map(|v| Scalar::Wide(v / 50 * 50)).boxed(),
        4 => nullable(texts().boxed()),
        5 => any::<bool>().prop_map(Scalar::Bool).boxed(),
        6 => prop_oneof![Just(0), Just(7), Just(u64::MAX)].prop_map(Scalar::UInt).boxed(),
        7 => (0_i64..5).prop_map(|v| Scalar::Int(1_700_000_000_000 + v)).boxed(),
        _ => prop_oneof![Just(vec![0, 0]), Just(vec![0, 255])].prop_map(Scalar::Bytes).boxed(),
    }
}

/// Values that a filter may compare column `place` with, some beyond the column's type.
fn operand(place: usize) -> BoxedStrategy<Scalar> {
    let beyond = match place {
        0 => prop_oneof![Just(1_000), Just(-1_000)].prop_map(Scalar::Int).boxed(),
        3 => {
            prop_oneof![Just(10_i128.pow(9)), Just(-10_i128.pow(9))].prop_map(Scalar::Wide).boxed()
        }
        place => value(place),
    };
    prop_oneof![8 => value(place), 1 => beyond, 1 => Just(Scalar::Null)].boxed()
}

fn column() -> impl Strategy<Value = (usize, ColumnId)> {
    (0..TYPES.len()).prop_map(|place| (place, ColumnId(place as u32)))
}

fn op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    prop_oneof![Just(Eq), Just(NotEq), Just(Lt), Just(LtEq), Just(Gt), Just(GtEq)]
}

fn filter() -> impl Strategy<Value = Filter> {
    let compare = (column(), op()).prop_flat_map(|((place, column), op)| {
        operand(place).prop_map(move |value| Filter::Compare { column, op, value })
    });
    let membership = (column(), any::<bool>()).prop_flat_map(|((place, column), negated)| {
        proptest::collection::vec(operand(place), 0..4).prop_map(move |values| Filter::In {
            column,
            values,
            negated,
        })
    });
    let null = (column(), any::<bool>())
        .prop_map(|((_, column), negated)| Filter::IsNull { column, negated });
    let patterns = prop_oneof![
        Just("a%"),
        Just("%b%"),
        Just("a_"),
        Just("%"),
        Just(""),
        Just("a\\%b\\_"),
        Just("_\\\\b"),
        Just("abcdefghijklmnopqrstuvwxyz_"),
        Just("A%"),
        Just("ab")
    ];
    let like = (prop_oneof![Just(1), Just(4)], patterns, any::<bool>(), any::<bool>()).prop_map(
        |(column, pattern, negated, case_insensitive)| Filter::Like {
            column: ColumnId(column),
            pattern: pattern.to_owned(),
            negated,
            case_insensitive,
        },
    );
    let columns =
        op().prop_map(|op| Filter::CompareColumns { left: ColumnId(1), op, right: ColumnId(4) });
    let leaf = prop_oneof![5 => compare, 2 => membership, 1 => null, 2 => like, 1 => columns];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
            inner.prop_map(|term| Filter::Not(Box::new(term))),
        ]
    })
}

fn data() -> impl Strategy<Value = Vec<Vec<Scalar>>> {
    let row = (0..TYPES.len()).map(value).collect::<Vec<_>>();
    proptest::collection::vec(row, 1..60)
}

/// The model: SQL's three-valued logic on one row.
fn passes(filter: &Filter, row: &[Scalar]) -> Option<bool> {
    let at = |column: &ColumnId| &row[column.0 as usize];
    let compare = |a: &Scalar, op: CompareOp, b: &Scalar| {
        (*a != Scalar::Null && *b != Scalar::Null).then(|| op.holds(a.cmp(b)))
    };
    let and = |outcomes: Vec<Option<bool>>| {
        if outcomes.contains(&Some(false)) {
            Some(false)
        } else {
            outcomes.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
        }
    };
    let not = |outcome: Option<bool>| outcome.map(|found| !found);
    let any = |outcomes: Vec<Option<bool>>| not(and(outcomes.into_iter().map(not).collect()));
    let signed = |outcome: Option<bool>, negated: bool| outcome.map(|found| found != negated);
    match filter {
        Filter::And(terms) => and(terms.iter().map(|term| passes(term, row)).collect()),
        Filter::Or(terms) => any(terms.iter().map(|term| passes(term, row)).collect()),
        Filter::Not(term) => not(passes(term, row)),
        Filter::Compare { column, op, value } => compare(at(column), *op, value),
        Filter::CompareColumns { left, op, right } => compare(at(left), *op, at(right)),
        Filter::In { column, values, negated } => {
            let found = values.iter().map(|v| compare(at(column), CompareOp::Eq, v)).collect();
            signed(any(found), *negated)
        }
        Filter::IsNull { column, negated } => Some((*at(column) == Scalar::Null) != *negated),
        Filter::Like { column, pattern, negated, case_insensitive } => match at(column) {
            Scalar::Text(text) => {
                let fold = |text: &str| match case_insensitive {
                    true => text.to_lowercase().chars().collect::<Vec<_>>(),
                    false => text.chars().collect(),
                };
                signed(Some(like(&fold(text), &fold(pattern))), *negated)
            }
            _ => None,
        },
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| like(&text[skip..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.first() == Some(literal) && like(&text[1..], rest)
        }
    }
}

/// What was written, as a part holds it: sorted, and with canonical floats.
pub(super) fn stored(schema: &PartSchema, mut data: Vec<Vec<Scalar>>) -> Vec<Vec<Scalar>> {
    data.sort_by(|a, b| {
        let key = |row: &[Scalar]| {
            schema.sort_key.iter().map(|id| row[id.0 as usize].clone()).collect::<Vec<_>>()
        };
        key(a).cmp(&key(b))
    });
    data
}

async fn check_scan(
    data: Vec<Vec<Scalar>>,
    filter: Filter,
    key: Vec<u32>,
    ordered: bool,
) -> Result<(), TestCaseError> {
    let schema = table(&TYPES, &key, &[], 4);
    let part = written(&memory(), &schema, block(&schema, &data)).await;
    let data = stored(&schema, data);
    let expected: Vec<_> =
        data.iter().filter(|row| passes(&filter, row) == Some(true)).cloned().collect();

    let pruned = part.prune(&filter);
    for (place, row) in data.iter().enumerate() {
        let kept = pruned.ranges.iter().any(|range| range.contains(&(place as u64)));
        prop_assert!(kept || passes(&filter, row) != Some(true), "row {place} {row:?} was pruned");
    }
    for rows in [None, Some(pruned.ranges.clone())] {
        let scan = PartScan { filter: Some(filter.clone()), ordered, rows, ..whole(&schema) };
        let mut found = rows_of(&part, &schema, scan).await?;
        let mut expected = expected.clone();
        if !ordered {
            found.sort();
            expected.sort();
        }
        prop_assert_eq!(found, expected);
    }
    let mut pieces = Vec::new();
    for rows in pruned.split(3, 4) {
        let scan = PartScan { filter: Some(filter.clone()), rows: Some(rows), ..whole(&schema) };
        pieces.extend(rows_of(&part, &schema, scan).await?);
    }
    prop_assert_eq!(pieces, expected.clone());
    let scan = PartScan {
        columns: vec![],
        filter: Some(filter.clone()),
        limit: Some(3),
        batch_rows: 2,
        ..whole(&schema)
    };
    let batches = scanned(&part, &schema, scan).await.map_err(failed)?;
    let count: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    prop_assert_eq!(count, expected.len().min(3));
    prop_assert!(batches.iter().all(|batch| batch.num_rows() <= 2));
    Ok(())
}

async fn rows_of(
    part: &OpenPart,
    schema: &PartSchema,
    scan: PartScan,
) -> Result<Vec<Vec<Scalar>>, TestCaseError> {
    Ok(rows(&scanned(part, schema, scan).await.map_err(failed)?))
}

fn failed(error: Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn scans_agree_with_the_model(
        data in data(),
        filter in filter(),
        key in prop_oneof![
            Just(vec![0]), Just(vec![1, 0]), Just(vec![2]), Just(vec![]), Just(vec![4, 3, 6]),
        ],
        ordered in any::<bool>(),
    ) {
        RUNTIME.block_on(check_scan(data, filter, key, ordered))?;
    }
}

pub(super) fn numbers(count: i64) -> Vec<Vec<Scalar>> {
    (0..count).map(|row| vec![Scalar::Int(row), Scalar::Text(format!("text {row}"))]).collect()
}

fn only(rows: Range<u64>) -> Option<Vec<Range<u64>>> {
    Some(vec![rows])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_leaves_few_granules() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let part = written(&memory(), &schema, block(&schema, &numbers(1_050))).await;
    let compare =
        |op, value| Filter::Compare { column: ColumnId(0), op, value: Scalar::Int(value) };
    let cases = [
        (compare(CompareOp::Eq, 250), only(200..300)),
        (compare(CompareOp::Lt, 100), only(0..100)),
        (compare(CompareOp::LtEq, 100), only(0..200)),
        (compare(CompareOp::Gt, 999), only(1_000..1_050)),
        (compare(CompareOp::GtEq, 2_000), Some(vec![])),
        (
            Filter::And(vec![compare(CompareOp::Gt, 150), compare(CompareOp::Lt, 350)]),
            only(100..400),
        ),
        (
            Filter::In {
                column: ColumnId(0),
                values: vec![Scalar::Int(5), Scalar::Int(705)],
                negated: false,
            },
            Some(vec![0..100, 700..800]),
        ),
        (Filter::IsNull { column: ColumnId(1), negated: false }, Some(vec![])),
    ];
    for (filter, expected) in cases {
        let pruned = part.prune(&filter);
        assert_eq!(Some(pruned.ranges.clone()), expected, "{filter:?}");
        assert_eq!(pruned.granules_total, 11);
    }
    let key = part.statistics().iter().find(|column| column.column == ColumnId(0)).unwrap();
    assert_eq!(
        (key.min.clone(), key.max.clone()),
        (Some(Scalar::Int(0)), Some(Scalar::Int(1_049)))
    );
    assert!(key.exact);
    assert_eq!(part.all_rows().ranges, [0..1_050]);
}

#[test]
fn ranges_split_evenly() {
    let pruned =
        Pruned { ranges: vec![0..800, 1_000..1_450], granules_total: 0, granules_selected: 0 };
    assert_eq!(
        pruned.split(3, 100),
        [vec![0..500], vec![500..800, 1_000..1_200], vec![1_200..1_450]]
    );
    assert_eq!(pruned.split(1, 100), [vec![0..800, 1_000..1_450]]);
    assert_eq!(pruned.split(100, 100).len(), 13);
    let none = Pruned { ranges: vec![], granules_total: 3, granules_selected: 0 };
    assert!(none.split(4, 100).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_part_lacks_have_their_zero_value() {
    let old = table(&["Int64", "String"], &[0], &[], 100);
    let part = written(&memory(), &old, block(&old, &numbers(3))).await;
    let new = table(&["Int64", "String", "Int32", "Nullable(String)"], &[0], &[], 100);
    let found = rows(&scanned(&part, &new, whole(&new)).await.unwrap());
    assert_eq!(found[1][2..], [Scalar::Int(0), Scalar::Null]);
    let compare = |column, op, value| Filter::Compare { column: ColumnId(column), op, value };
    for (filter, passing) in [
        (compare(2, CompareOp::Eq, Scalar::Int(0)), 3),
        (compare(2, CompareOp::Gt, Scalar::Int(0)), 0),
        (Filter::Not(Box::new(compare(3, CompareOp::Eq, Scalar::Text("x".into())))), 0),
        (Filter::IsNull { column: ColumnId(3), negated: false }, 3),
        (Filter::CompareColumns { left: ColumnId(2), op: CompareOp::Lt, right: ColumnId(0) }, 2),
    ] {
        let scan = PartScan { filter: Some(filter.clone()), ..whole(&new) };
        let found = rows(&scanned(&part, &new, scan).await.unwrap_or_default());
        assert_eq!(found.len(), passing, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_of_another_type_is_refused() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let part = written(&memory(), &schema, block(&schema, &numbers(3))).await;
    let value = Scalar::Text("1".into());
    let filter = Filter::Compare { column: ColumnId(0), op: CompareOp::Eq, value };
    assert_eq!(part.prune(&filter).granules_selected, 1);
    let scan = PartScan { filter: Some(filter), ..whole(&schema) };
    let error = scanned(&part, &schema, scan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_elsewhere_are_unavailable() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let volume = memory();
    let parts = write(&volume, &schema, block(&schema, &numbers(3))).await.unwrap();
    let mut reference = part_ref(&schema, &parts[0]);
    let parts = store(&volume);
    let first = parts.open(&reference).await.unwrap();
    let again = parts.open(&reference).await.unwrap();
    assert!(std::ptr::eq(first.descriptor(), again.descriptor()), "it stays open");
    reference.files.1 = PartId(99);
    reference.location =
        PartLocation::Local { copies: vec![granary_common::WorkerId(8)], disk: None };
    assert!(!parts.holds(&reference.location));
    assert_eq!(parts.open(&reference).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
