//! An index never keeps a row from a scan, and keeps most granules without one.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use granary_catalog::{BoundIndex, IndexKind, RowExpression, Scalar};
use granary_common::{ColumnId, Error, Result};
use object_store::ObjectStoreExt;
use proptest::prelude::*;

use super::*;
use crate::filter::CompareOp;
use crate::merge::{MergeProgress, MergeSpec, NoStates, merge_parts};
use crate::part::file_path;
use crate::schema::PartSchema;
use crate::test_support::{Counter, block, memory, part_ref, plain_merge, store, table, write};
use crate::ttl::{GroupFolder, RowComputation};
use crate::write::{WriteOptions, write_block};

/// Expressions are names of columns.
#[derive(Debug)]
struct Columns;

#[derive(Debug)]
struct Column(usize);

impl RowEvaluator for Columns {
    fn compile(&self, of: &RowExpression, schema: &Schema) -> Result<Arc<dyn RowComputation>> {
        let name = std::str::from_utf8(&of.plan).expect("text");
        let at = schema.index_of(name).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Arc::new(Column(at)))
    }

    fn folder(&self, _: &[RowExpression], _: &Schema) -> Result<Box<dyn GroupFolder>> {
        Err(Error::internal("no aggregates here"))
    }

    fn is_monotone(&self, _: &RowExpression, _: &Schema) -> bool {
        false
    }
}

impl RowComputation for Column {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::clone(rows.column(self.0)))
    }
}

fn index(column: u32, kind: IndexKind, granularity: u64) -> BoundIndex {
    let plan = format!("c{column}").into_bytes();
    let expression = RowExpression { plan, columns: vec![ColumnId(column)] };
    BoundIndex { expression, kind, granularity }
}

/// A number that may be NULL, and texts.
fn schema(granularity: usize) -> PartSchema {
    table(&["Nullable(Int64)", "String", "Nullable(String)"], &[], &[], granularity)
}

fn built(
    indexes: &[BoundIndex],
    granularity: usize,
    rows: &[Vec<Scalar>],
    cut: usize,
) -> Vec<SkipFile> {
    let schema = schema(granularity);
    let indexes = SkipIndexes { indexes: indexes.to_vec(), evaluator: Arc::new(Columns) };
    let mut builder = SkipBuilder::new(&indexes, &schema).expect("a builder");
    for piece in rows.chunks(cut.max(1)) {
        builder.push(&block(&schema, piece)).expect("pushed");
    }
    let files = builder.finish().expect("files");
    files.into_iter().map(|(_, bytes)| SkipFile::decode(bytes).expect("decodes")).collect()
}

fn kinds() -> Vec<(u32, IndexKind)> {
    vec![
        (0, IndexKind::MinMax),
        (1, IndexKind::MinMax),
        (0, IndexKind::Set { values_max: 3 }),
        (1, IndexKind::Set { values_max: 0 }),
        (0, IndexKind::Bloom { false_per_million: 10_000 }),
        (1, IndexKind::Bloom { false_per_million: 10_000 }),
        (1, IndexKind::Ngrams { length: 2, bytes: 64, hashes: 2, seed: 1 }),
        (1, IndexKind::Tokens { bytes: 64, hashes: 2, seed: 1 }),
        (1, IndexKind::Words),
    ]
}

/// What a scan would decide for a value.
fn holds(term: &SkipTerm, value: &Scalar) -> bool {
    let compares = |op: CompareOp, other: &Scalar| {
        *value != Scalar::Null && *other != Scalar::Null && op.holds(value.cmp(other))
    };
    match term {
        SkipTerm::Compare { op, value: other } => compares(*op, other),
        SkipTerm::In(others) => others.iter().any(|other| compares(CompareOp::Eq, other)),
        SkipTerm::Like(pattern) => match value {
            Scalar::Text(text) => {
                let text = arrow::array::StringArray::from(vec![text.as_str()]);
                let pattern = arrow::array::StringArray::new_scalar(pattern.as_str());
                arrow::compute::like(&text, &pattern).expect("compares").value(0)
            }
            _ => false,
        },
        SkipTerm::Word(word) => match value {
            Scalar::Text(text) => {
                let separates = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
                text.split(separates).any(|part| !part.is_empty() && part == word)
            }
            _ => false,
        },
    }
}

fn number() -> impl Strategy<Value = Scalar> {
    prop_oneof![4 => (-4_i64..12).prop_map(Scalar::Int), 1 => Just(Scalar::Null)]
}

fn text() -> impl Strategy<Value = Scalar> {
    "[abż_ ,.]{0,8}".prop_map(Scalar::Text)
}

fn term() -> impl Strategy<Value = (u32, SkipTerm)> {
    let op = prop::sample::select(vec![
        CompareOp::Eq,
        CompareOp::NotEq,
        CompareOp::Lt,
        CompareOp::LtEq,
        CompareOp::Gt,
        CompareOp::GtEq,
    ]);
    let compare = |value| SkipTerm::Compare { op: CompareOp::Eq, value };
    prop_oneof![
        (op, number()).prop_map(|(op, value)| (0, SkipTerm::Compare { op, value })),
        prop::collection::vec(number(), 0..4).prop_map(|values| (0, SkipTerm::In(values))),
        text().prop_map(move |value| (1, compare(value))),
        prop::collection::vec(text(), 0..3).prop_map(|values| (1, SkipTerm::In(values))),
        "[abż_ %\\\\]{0,6}".prop_map(|pattern| (1, SkipTerm::Like(pattern))),
        "[abż]{1,3}".prop_map(|word| (1, SkipTerm::Word(word))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_row_is_kept_out(
        rows in prop::collection::vec((number(), text()), 0..60),
        granularity in 1..5_usize,
        runs in 1..4_u64,
        cut in 1..20_usize,
        terms in prop::collection::vec(term(), 1..6),
    ) {
        let rows: Vec<Vec<Scalar>> =
            rows.into_iter().map(|(a, b)| vec![a, b, Scalar::Null]).collect();
        let kinds = kinds();
        let indexes: Vec<BoundIndex> =
            kinds.iter().map(|(column, kind)| index(*column, kind.clone(), runs)).collect();
        let files = built(&indexes, granularity, &rows, cut);
        for ((column, kind), file) in kinds.iter().zip(&files) {
            for (of, term) in terms.iter().filter(|(of, term)| of == column && term.suits(kind)) {
                let ranges = file.ranges(term);
                for (row, values) in rows.iter().enumerate() {
                    let is_read = ranges.iter().any(|range| range.contains(&(row as u64)));
                    prop_assert!(
                        is_read || !holds(term, &values[*of as usize]),
                        "{:?} {:?} keeps row {} out: {:?}", kind, term, row, values
                    );
                }
            }
        }
    }
}

#[test]
fn granules_without_a_row_are_kept_out() {
    let rows: Vec<Vec<Scalar>> = (0..1000_i64)
        .map(|row| {
            let text = format!("request {} of user{}", row * 7919 % 1000, row / 100);
            vec![Scalar::Int(row * 7919 % 1000), Scalar::Text(text), Scalar::Null]
        })
        .collect();
    let kinds = [
        (0, IndexKind::Set { values_max: 0 }, SkipTerm::In(vec![Scalar::Int(5)])),
        (
            0,
            IndexKind::Bloom { false_per_million: 1_000 },
            SkipTerm::Compare { op: CompareOp::Eq, value: Scalar::Int(5) },
        ),
        (
            1,
            IndexKind::Ngrams { length: 4, bytes: 4096, hashes: 3, seed: 0 },
            SkipTerm::Like("%user7%".into()),
        ),
        (1, IndexKind::Tokens { bytes: 4096, hashes: 3, seed: 0 }, SkipTerm::Word("user7".into())),
        (1, IndexKind::MinMax, SkipTerm::Like("sent%".into())),
        (1, IndexKind::Words, SkipTerm::Word("user7".into())),
        (1, IndexKind::Words, SkipTerm::Like("%5 of user7%".into())),
        (1, IndexKind::Words, SkipTerm::Like("request 7 of %".into())),
        (1, IndexKind::Words, SkipTerm::Word("user".into())),
        (2, IndexKind::Words, SkipTerm::Word("user7".into())),
    ];
    let indexes: Vec<BoundIndex> =
        kinds.iter().map(|(column, kind, _)| index(*column, kind.clone(), 1)).collect();
    let files = built(&indexes, 100, &rows, 100);
    let left: Vec<u64> = kinds
        .iter()
        .zip(&files)
        .map(|((_, _, term), file)| file.ranges(term).iter().map(|r| r.end - r.start).sum())
        .collect();
    assert_eq!(left, [100, 100, 100, 100, 0, 100, 1000, 100, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_their_indexes_and_get_them_later() {
    let volume = memory();
    let schema = table(&["Nullable(Int64)", "String"], &[1], &[], 10);
    let rows: Vec<Vec<Scalar>> =
        (0..100_i64).map(|row| vec![Scalar::Int(row), Scalar::Text(format!("{row:03}"))]).collect();
    let set = index(0, IndexKind::Set { values_max: 0 }, 2);
    let name = file_name(&set).expect("a name");
    let term = SkipTerm::Compare { op: CompareOp::Eq, value: Scalar::Int(25) };
    let indexes = SkipIndexes { indexes: vec![set.clone()], evaluator: Arc::new(Columns) };
    let options = WriteOptions { skip: Some(indexes), ..WriteOptions::default() };
    let (ids, location) = (Counter::default(), volume.part_location());
    let block = block(&schema, &rows);
    let with = write_block(&volume, location, &schema, &ids, block.clone(), &options).await;
    let with = part_ref(&schema, &with.expect("written")[0]);
    let store = store(&volume);
    let file = store.skip_file(&with, &name).await.expect("reads").expect("is there");
    assert_eq!(file.ranges(&term), std::iter::once(20..40).collect::<Vec<_>>());
    store.open(&with).await.expect("opens").verify().await.expect("checksums");

    let volume = memory();
    let without = part_ref(&schema, &write(&volume, &schema, block).await.expect("written")[0]);
    let store = crate::test_support::store(&volume);
    assert!(store.skip_file(&without, &name).await.expect("reads").is_none());
    let schema = Arc::new(schema);
    assert!(build_index(&store, &schema, &without, &set, &Columns).await.expect("builds"));
    let later = store.skip_file(&without, &name).await.expect("reads").expect("is there");
    assert_eq!(later.ranges(&term), file.ranges(&term));
    assert!(!build_index(&store, &schema, &without, &set, &Columns).await.expect("is there"));
}

/// Merged a column at a time, rows are the same, and so are indexes of one column and of several.
#[tokio::test(flavor = "multi_thread")]
async fn merges_in_groups_make_the_same_indexes() {
    let volume = memory();
    let types = ["Int64", "Nullable(Int64)", "String", "Int64", "String"];
    let schema = table(&types, &[0], &[], 4);
    let (ids, store) = (Counter::default(), store(&volume));
    let mut inputs = Vec::new();
    for part in 0..3_i64 {
        let row = |row: i64| {
            let number = row * 3 + part;
            let text = Scalar::Text(format!("{}", number % 7));
            let (key, other) = (Scalar::Int(number), Scalar::Int(number / 5));
            vec![key, other.clone(), text.clone(), other, text]
        };
        let rows = block(&schema, &(0..30).map(row).collect::<Vec<_>>());
        let (location, options) = (volume.part_location(), WriteOptions::default());
        let written = write_block(&volume, location, &schema, &ids, rows, &options).await;
        inputs.push(part_ref(&schema, &written.expect("written")[0]));
    }
    let mut of_both = index(2, IndexKind::Set { values_max: 0 }, 2);
    of_both.expression.columns.push(ColumnId(3));
    let indexes = vec![
        index(1, IndexKind::Bloom { false_per_million: 10_000 }, 1),
        of_both,
        index(3, IndexKind::MinMax, 3),
        index(4, IndexKind::Words, 1),
        index(4, IndexKind::Set { values_max: 3 }, 1),
    ];
    let mut files: Vec<Vec<_>> = Vec::new();
    for memory_bytes in [u64::MAX, 0] {
        let evaluator = Arc::new(Columns);
        let spec = MergeSpec {
            skip: Some(SkipIndexes { indexes: indexes.clone(), evaluator }),
            memory_bytes,
            ..plain_merge(&schema, &volume, inputs.clone())
        };
        let (states, progress) = (Arc::new(NoStates), Arc::<MergeProgress>::default());
        let merged = merge_parts(&store, &volume, &ids, spec, states, progress).await;
        let part = part_ref(&schema, &merged.expect("merges").part.expect("a part"));
        let mut of_part = Vec::new();
        for index in &indexes {
            let name = file_name(index).expect("a name");
            let path = volume.path(&file_path(part.table, part.id, &name));
            let read = volume.store.get(&path).await.expect("is there");
            of_part.push(read.bytes().await.expect("reads"));
        }
        store.open(&part).await.expect("opens").verify().await.expect("checksums");
        files.push(of_part);
    }
    assert_eq!(files[0], files[1]);
}

/// Indexes over arrays know the words of what is in them.
#[test]
fn arrays_have_words() {
    use arrow::array::{ListBuilder, StringBuilder};
    use arrow::datatypes::{DataType, Field};

    let field = Field::new("c0", DataType::new_list(DataType::Utf8, true), true);
    let fields = Arc::new(Schema::new(vec![field]));
    let mut rows = ListBuilder::new(StringBuilder::new());
    rows.append_value([Some("not this")]);
    rows.append_value([Some("red wine"), None]);
    rows.append_null();
    rows.append_value([Some("blue")]);
    let rows = rows.finish();
    let rows = RecordBatch::try_new(Arc::clone(&fields), vec![Arc::new(rows)]).expect("rows");
    let one = [index(0, IndexKind::Words, 1)];
    let mut builder = SkipBuilder::over(&one, &Columns, &fields, 1).expect("a builder");
    builder.push(&rows.slice(1, 3)).expect("pushed");
    let (_, file) = builder.finish().expect("files").remove(0);
    let file = SkipFile::decode(file).expect("decodes");
    for (word, expected) in [("wine", Some(0..1)), ("blue", Some(2..3)), ("this", None)] {
        let term = SkipTerm::Compare { op: CompareOp::Eq, value: Scalar::Text(word.into()) };
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(file.ranges(&term), expected, "{word}");
    }
}

/// Each fixture was written by the first build that had the kind, and is never overwritten.
/// `GRANARY_WRITE_FIXTURES=1` writes that of a new one.
#[test]
fn the_frozen_indexes_are_read() {
    let rows: Vec<Vec<Scalar>> = (0..300_i64)
        .map(|row| {
            let text = format!("request {row} of user{} żółw", row / 100);
            vec![Scalar::Int(row), Scalar::Text(text), Scalar::Null]
        })
        .collect();
    let equal = SkipTerm::Compare { op: CompareOp::Eq, value: Scalar::Int(150) };
    for (name, column, kind, term) in [
        ("skip_bounds_v1", 0, IndexKind::MinMax, equal.clone()),
        ("skip_values_v1", 0, IndexKind::Set { values_max: 0 }, equal.clone()),
        ("skip_bloom_v1", 0, IndexKind::Bloom { false_per_million: 10 }, equal),
        ("skip_words_v1", 1, IndexKind::Words, SkipTerm::Word("user1".into())),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/fixtures/{name}.bin"));
        if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !path.exists() {
            let schema = schema(100);
            let indexes =
                SkipIndexes { indexes: vec![index(column, kind, 1)], evaluator: Arc::new(Columns) };
            let mut builder = SkipBuilder::new(&indexes, &schema).expect("a builder");
            builder.push(&block(&schema, &rows)).expect("pushed");
            let (_, bytes) = builder.finish().expect("files").remove(0);
            std::fs::write(&path, bytes).expect("writes");
        }
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = SkipFile::decode(bytes.into()).expect(name);
        assert_eq!(file.ranges(&term), std::iter::once(100..200).collect::<Vec<_>>(), "{name}");
    }
}

/// A damaged index keeps nothing out; that the part was written with it makes it known.
#[tokio::test]
async fn damaged_words_are_passed_over() {
    let temporary = tempfile::tempdir().expect("a folder");
    let volume = crate::test_support::folder(temporary.path());
    let schema = table(&["Int64", "String"], &[0], &[], 10);
    let rows: Vec<Vec<Scalar>> =
        (0..100_i64).map(|row| vec![Scalar::Int(row), Scalar::Text(format!("w{row}"))]).collect();
    let words = index(1, IndexKind::Words, 1);
    let name = file_name(&words).expect("a name");
    let indexes = SkipIndexes { indexes: vec![words], evaluator: Arc::new(Columns) };
    let options = WriteOptions { skip: Some(indexes), ..WriteOptions::default() };
    let (ids, location) = (Counter::default(), volume.part_location());
    let block = block(&schema, &rows);
    let parts = write_block(&volume, location, &schema, &ids, block, &options).await;
    let part = part_ref(&schema, &parts.expect("written")[0]);
    let read = async || store(&volume).skip_file(&part, &name).await.expect("reads");
    let term = SkipTerm::Word("w25".into());
    let file = read().await.expect("is there");
    assert_eq!(file.ranges(&term), std::iter::once(20..30).collect::<Vec<_>>());
    let path = temporary.path().join(crate::part::file_path(schema.table, part.id, &name));
    let mut content = std::fs::read(&path).expect("a file");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&path, content).expect("written");
    assert!(read().await.is_none());
    let checked = store(&volume).check(&part, &crate::merge::Unthrottled).await;
    assert!(checked.expect_err("damaged").message().contains(&name));
}
