#![allow(clippy::single_range_in_vec_init)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use granary_catalog::Scalar;
use granary_common::{ColumnId, Error, ErrorKind, PartId};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::filter::CompareOp;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
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
fn stored(schema: &PartSchema, mut data: Vec<Vec<Scalar>>) -> Vec<Vec<Scalar>> {
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

fn numbers(count: i64) -> Vec<Vec<Scalar>> {
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

/// Cuts and damages each file, and checks what opening, scanning and verifying say.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_seen() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        for damage in ["cut", "missing", "flipped"] {
            let temporary = tempfile::tempdir().unwrap();
            let volume = folder(temporary.path());
            let parts = write(&volume, &schema, block(&schema, &numbers(1_000))).await.unwrap();
            let reference = part_ref(&schema, &parts[0]);
            apply(damage, &temporary.path().join(file_path(schema.table, reference.id, file)));
            let found = async {
                let part = store(&volume).open(&reference).await?;
                scanned(&part, &schema, whole(&schema)).await
            };
            let error = found.await.expect_err(&format!("{file} {damage}"));
            assert_eq!(error.kind(), ErrorKind::Corruption, "{file} {damage}: {error}");
            assert!(error.message().starts_with("part 1: "), "{error}");
            assert!(error.message().contains(file), "{error}");
            let checked = store(&volume).check(&reference).await.unwrap_err();
            assert_eq!(checked.kind(), ErrorKind::Corruption, "{file} {damage}: {checked}");
            assert!(checked.message().contains(file), "{checked}");
        }
    }
}

fn apply(damage: &str, path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    let middle = content.len() / 2;
    match damage {
        "cut" => std::fs::write(path, &content[..middle]).unwrap(),
        "missing" => std::fs::remove_file(path).unwrap(),
        _ => {
            content[middle] ^= 1;
            std::fs::write(path, content).unwrap();
        }
    }
}

/// Numbers and texts that do not compress, so that a file has several blocks of checksums.
fn noise(count: i64) -> Vec<Vec<Scalar>> {
    let mixed = |row: i64| (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    let row = |row: i64| {
        let noise = mixed(row);
        vec![Scalar::Int(noise), Scalar::Text(format!("{:x}{:x}", mixed(noise), noise))]
    };
    (0..count).map(row).collect()
}

/// Whatever byte of the data file is another one, a scan fails and never gives other rows or
/// panics.
#[tokio::test(flavor = "multi_thread")]
async fn no_damage_gives_other_rows() {
    let schema = table(&["Int64", "String"], &[0], &[], 1_000);
    let temporary = tempfile::tempdir().unwrap();
    let volume = folder(temporary.path());
    let parts = write(&volume, &schema, block(&schema, &noise(10_000))).await.unwrap();
    let reference = part_ref(&schema, &parts[0]);
    let path = temporary.path().join(file_path(schema.table, reference.id, DATA_FILE));
    let content = std::fs::read(&path).unwrap();
    let blocks = crate::part::blocks::BLOCK_BYTES as usize;
    assert!(content.len() > 3 * blocks, "{} bytes are too few", content.len());
    let rows_read = async || {
        let part = store(&volume).open(&reference).await?;
        Ok::<_, Error>(rows(&scanned(&part, &schema, whole(&schema)).await?))
    };
    let expected = rows_read().await.unwrap();
    let mut seen = 0;
    for place in (0..content.len()).step_by(content.len() / 60) {
        let mut damaged = content.clone();
        damaged[place] ^= 0x40;
        std::fs::write(&path, damaged).unwrap();
        match rows_read().await {
            // A byte that no scan reads.
            Ok(found) => assert_eq!(found, expected, "byte {place}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "byte {place}: {error}");
                seen += 1;
            }
        }
        let checked = store(&volume).check(&reference).await.unwrap_err();
        let at = format!("bytes {} to ", place / blocks * blocks);
        assert!(checked.message().contains(&at), "byte {place}: {checked}");
    }
    assert!(seen > 55, "{seen}");
}

/// What reads and checks tell the one who watches.
#[derive(Debug, Default)]
struct Watch(std::sync::Mutex<Vec<MetPart>>, std::sync::atomic::AtomicBool);

impl DamageWatch for Watch {
    fn damaged(&self, part: &MetPart, error: Error) -> Error {
        self.0.lock().unwrap().push(*part);
        error.context("told")
    }

    fn is_read_elsewhere(&self, _: &MetPart) -> bool {
        self.1.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_is_told_of_damage_and_decides_what_is_read() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let temporary = tempfile::tempdir().unwrap();
    let volume = folder(temporary.path());
    let parts = write(&volume, &schema, block(&schema, &numbers(1_000))).await.unwrap();
    let reference = PartRef { id: PartId(9), ..part_ref(&schema, &parts[0]) };
    let watch = std::sync::Arc::new(Watch::default());
    let parts = store(&volume).with_damage_watch(watch.clone());
    let path = temporary.path().join(file_path(schema.table, PartId(1), DATA_FILE));
    let before = std::fs::read(&path).unwrap();
    apply("flipped", &path);
    let error = parts.open(&reference).await.unwrap_err();
    assert!(error.message().starts_with("told: file data.vortex: "), "{error}");
    let met = MetPart {
        table: schema.table,
        part: PartId(9),
        files: (schema.table, PartId(1)),
        is_shared: false,
    };
    assert_eq!(*watch.0.lock().unwrap(), [met]);
    assert!(parts.may_read(&reference));
    watch.1.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(!parts.may_read(&reference));
    // Nothing of the failure stays.
    std::fs::write(&path, before).unwrap();
    parts.reopen(PartId(1)).await;
    parts.check(&reference).await.unwrap();
    parts.open(&reference).await.unwrap();
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

/// Each fixture was written by the first build that had its format; every build must read them.
#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_parts_are_read() {
    for (version, has_blocks) in [("part_v1", false), ("part_v2", true)] {
        check_frozen(version, has_blocks).await;
    }
}

async fn check_frozen(version: &str, has_blocks: bool) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version);
    let temporary = tempfile::tempdir().unwrap();
    let schema = frozen_schema();
    let target = temporary.path().join(file_path(schema.table, PartId(1), ""));
    std::fs::create_dir_all(&target).unwrap();
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        std::fs::copy(fixture.join(file), target.join(file)).unwrap();
    }
    let volume = folder(temporary.path());
    let reference = PartRef {
        id: PartId(1),
        table: schema.table,
        files: (schema.table, PartId(1)),
        location: volume.part_location(),
        rows: 300,
        rows_deleted: 0,
        deletions: None,
        bytes: 0,
        schema_version: 1,
    };
    let part = store(&volume).open(&reference).await.unwrap();
    part.verify().await.unwrap();
    let data = part.descriptor().file(DATA_FILE).unwrap();
    assert_eq!(data.blocks.is_some(), has_blocks, "{version}");
    assert_eq!(part.descriptor().schema, schema);
    let found = rows(&scanned(&part, &schema, whole(&schema)).await.unwrap());
    assert_eq!(found, stored(&schema, frozen_rows()));
    assert_eq!(part.prune(&frozen_filter()).ranges, [0..100]);
}

fn frozen_schema() -> PartSchema {
    table(&["Int64", "Nullable(String)", "Decimal(15, 2)", "Nullable(Float64)"], &[0], &[], 100)
}

fn frozen_rows() -> Vec<Vec<Scalar>> {
    let null = |row: i64, value: Scalar| if row % 5 == 0 { Scalar::Null } else { value };
    (0..300)
        .map(|row| {
            vec![
                Scalar::Int((row * 7) % 300),
                null(row, Scalar::Text(format!("text {}", row % 11))),
                Scalar::Wide(i128::from(row) * 101),
                null(row + 1, Scalar::Float(row as f64 / 4.0)),
            ]
        })
        .collect()
}

fn frozen_filter() -> Filter {
    Filter::Compare { column: ColumnId(0), op: CompareOp::Lt, value: Scalar::Int(50) }
}

/// Writes the fixture of the current format; run by hand when the format gets a new version, into a
/// new folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the fixture"]
async fn make_the_frozen_part() {
    let temporary = tempfile::tempdir().unwrap();
    let schema = frozen_schema();
    let volume = folder(temporary.path());
    write(&volume, &schema, block(&schema, &frozen_rows())).await.unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/part_v2");
    std::fs::create_dir_all(&fixture).unwrap();
    let written: BTreeMap<_, _> = [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE]
        .map(|file| (file, temporary.path().join(file_path(schema.table, PartId(1), file))))
        .into();
    for (file, path) in written {
        std::fs::copy(path, fixture.join(file)).unwrap();
    }
}
