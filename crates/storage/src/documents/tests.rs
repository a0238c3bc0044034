//! Columns with parts of documents, in parts that have some, others or none of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use granary_catalog::{
    AddedExpression, Column, ColumnType, NewPart, PartitionValue, RowExpression, Scalar,
};
use granary_common::{ColumnId, Error, Result};

use super::{DocumentPath, DocumentReader};
use crate::deletions::Deletions;
use crate::merge::{
    CollapseRule, Dealing, MergeProgress, MergeSpec, NoStates, SplitSpec, merge_parts, split_parts,
};
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::read::{OpenPart, PartStore};
use crate::schema::{PartColumn, PartSchema};
use crate::test_support::*;
use crate::ttl::{GroupFolder, RowComputation, RowEvaluator};
use crate::volume::Volume;
use crate::write::{WriteOptions, write_block};

/// Reads documents such as `{a=1 b=x}`.
#[derive(Debug)]
struct Words;

fn value<'d>(document: &'d str, name: &str) -> Option<&'d str> {
    let inside = document.strip_prefix('{')?.strip_suffix('}')?;
    let mut members = inside.split(' ').filter_map(|member| member.split_once('='));
    members.find(|(own, _)| *own == name).map(|(_, value)| value)
}

impl DocumentReader for Words {
    fn frequent_paths(&self, documents: &ArrayRef, paths_max: usize) -> Result<Vec<Vec<String>>> {
        let documents = documents.as_string_view();
        let has = |name: &str| {
            documents.iter().flatten().filter(|text| value(text, name).is_some()).count()
        };
        let names = ["a", "b", "c"].into_iter().filter(|name| has(name) * 4 >= documents.len());
        Ok(names.take(paths_max).map(|name| vec![name.to_owned()]).collect())
    }

    fn parts(&self, documents: &ArrayRef, paths: &[Vec<String>]) -> Result<Vec<ArrayRef>> {
        let part = |path: &Vec<String>| {
            let documents = documents.as_string_view().iter();
            let found = documents.map(|text| value(text?, &path[0]));
            Arc::new(found.collect::<StringViewArray>()) as ArrayRef
        };
        Ok(paths.iter().map(part).collect())
    }
}

/// Computes with [`Words`], and says of each value that it was computed.
#[derive(Debug)]
struct Computes;

impl RowEvaluator for Computes {
    fn compile(&self, expression: &RowExpression, _: &Schema) -> Result<Arc<dyn RowComputation>> {
        let name = String::from_utf8(expression.plan.clone()).expect("a name");
        Ok(Arc::new(Member(name)))
    }

    fn folder(&self, _: &[RowExpression], _: &Schema) -> Result<Box<dyn GroupFolder>> {
        Err(Error::internal("no aggregates here"))
    }

    fn is_monotone(&self, _: &RowExpression, _: &Schema) -> bool {
        false
    }

    fn documents(&self) -> Option<Arc<dyn DocumentReader>> {
        Some(Arc::new(Words))
    }
}

#[derive(Debug)]
struct Member(String);

impl RowComputation for Member {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let documents = cast(rows.column(0), &DataType::Utf8View).expect("texts");
        let found = documents.as_string_view().iter();
        let found =
            found.map(|text| value(text?, &self.0).map(|value| format!("computed {value}")));
        Ok(Arc::new(found.collect::<StringViewArray>()))
    }
}

const ROWS: usize = 600;

struct Bench {
    volume: Arc<Volume>,
    store: PartStore,
    schema: PartSchema,
    ids: Counter,
}

impl Bench {
    fn new(paths_max: usize) -> Bench {
        Bench::on(memory(), paths_max)
    }

    fn on(volume: Arc<Volume>, paths_max: usize) -> Bench {
        let store = store(&volume).with_evaluator(Arc::new(Computes));
        let mut schema = table(&["Int64", "Nullable(String)", "String"], &[0], &[], 64);
        schema.document_paths_max = paths_max;
        Bench { volume, store, schema, ids: Counter::default() }
    }

    /// Rows from `first` on, whose documents `document` gives.
    async fn insert(&self, first: usize, document: impl Fn(usize) -> Option<String>) -> NewPart {
        let row = |row: usize| {
            let document = document(row).map_or(Scalar::Null, Scalar::Text);
            vec![Scalar::Int(row as i64), document, Scalar::Text(format!("word {row}"))]
        };
        let rows: Vec<Vec<Scalar>> = (first..first + ROWS).map(row).collect();
        let options = WriteOptions { documents: Some(Arc::new(Words)), ..WriteOptions::default() };
        let location = self.volume.part_location();
        let block = block(&self.schema, &rows);
        let written = write_block(&self.volume, location, &self.schema, &self.ids, block, &options);
        let part = written.await.expect("written").pop().expect("a part");
        self.open(&part).await.verify().await.expect("whole");
        part
    }

    async fn open(&self, part: &NewPart) -> Arc<OpenPart> {
        self.store.open(&part_ref(&self.schema, part)).await.expect("opens")
    }

    /// The paths of `part`.
    async fn paths(&self, part: &NewPart) -> Vec<String> {
        let open = self.open(part).await;
        let columns = open.descriptor().schema.columns.iter();
        let paths = columns.filter_map(|column| column.document.as_ref());
        paths.map(|document| format!("{}.{}", document.column, document.path.join("."))).collect()
    }

    fn spec(&self, parts: &[NewPart]) -> MergeSpec {
        let inputs = parts.iter().map(|part| part_ref(&self.schema, part)).collect();
        plain_merge(&self.schema, &self.volume, inputs)
    }

    async fn merge(&self, spec: MergeSpec) -> NewPart {
        let (states, progress) = (Arc::new(NoStates), Arc::new(MergeProgress::default()));
        let merged =
            merge_parts(&self.store, &self.volume, &self.ids, spec, states, progress).await;
        let part = merged.expect("merges").part.expect("a part");
        self.open(&part).await.verify().await.expect("whole");
        part
    }

    /// The table with the column of `name`, which is behind its own.
    fn with_path(&self, name: &str) -> PartSchema {
        let source = &self.schema.columns[1];
        let column = Column::new(source.id, &source.name, source.column_type.clone());
        let expression = RowExpression { plan: name.into(), columns: vec![column.id] };
        let computed = AddedExpression { expression, inputs: vec![column], since: 0 };
        let mut schema = self.schema.clone();
        let document = DocumentPath { column: source.id, path: vec![name.to_owned()] };
        schema.columns.push(PartColumn {
            computed: Some(Box::new(computed)),
            ..document.part_column(format!("b.{name}"))
        });
        schema
    }

    /// The values of the path, in order of the rows.
    async fn values(&self, part: &NewPart, name: &str) -> Vec<Option<String>> {
        self.values_as(part, &self.with_path(name)).await
    }

    async fn values_as(&self, part: &NewPart, schema: &PartSchema) -> Vec<Option<String>> {
        let mut scan = whole(schema);
        scan.columns = vec![schema.columns.last().expect("a column").id];
        let open = self.open(part).await;
        let found = scanned(&open, schema, scan).await.expect("scans");
        let text = |value: Scalar| match value {
            Scalar::Text(text) => Some(text),
            Scalar::Null => None,
            other => panic!("{other:?}"),
        };
        rows(&found).into_iter().flatten().map(text).collect()
    }
}

/// `a` in all documents, `b` in some, `c` in too few, and no document here and there.
fn document(row: usize) -> Option<String> {
    match row % 10 {
        0 => None,
        1..5 => Some(format!("{{a={row} b={}}}", row % 3)),
        5 => Some(format!("{{a={row} c=1}}")),
        6 => Some(format!("no document {row}")),
        _ => Some(format!("{{a={row}}}")),
    }
}

fn expected(first: usize, name: &str, prefix: &str) -> Vec<Option<String>> {
    let of = |row: usize| {
        let document = document(row)?;
        value(&document, name).map(|value| format!("{prefix}{value}"))
    };
    (first..first + ROWS).map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn frequent_paths_are_stored_and_others_computed() {
    let bench = Bench::new(64);
    let part = bench.insert(0, document).await;
    assert_eq!(bench.paths(&part).await, ["1.a", "1.b"]);
    for (name, prefix) in [("a", ""), ("b", ""), ("c", "computed "), ("d", "")] {
        assert_eq!(bench.values(&part, name).await, expected(0, name, prefix), "{name}");
    }
    // Whoever knows nothing of paths reads the table's columns as ever.
    let open = bench.open(&part).await;
    let all = rows(&scanned(&open, &bench.schema, whole(&bench.schema)).await.expect("scans"));
    let documents = all.iter().map(|row| row[1].clone());
    let written = (0..ROWS).map(|row| document(row).map_or(Scalar::Null, Scalar::Text));
    assert!(documents.eq(written));

    for (paths_max, paths) in [(0, &[][..]), (1, &["1.a"][..])] {
        let bench = Bench::new(paths_max);
        let part = bench.insert(0, document).await;
        assert_eq!(bench.paths(&part).await, paths, "{paths_max}");
        assert_eq!(bench.values(&part, "b").await, expected(0, "b", "computed "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_path_with_the_same_id_is_not_taken_for_it() {
    let bench = Bench::new(64);
    let part = bench.insert(0, document).await;
    let mut schema = bench.with_path("c");
    let place = schema.columns.len() - 1;
    // As if the hashes of `c` and `a` were the same.
    schema.columns[place].id = bench.with_path("a").columns[place].id;
    assert_eq!(bench.values_as(&part, &schema).await, expected(0, "c", "computed "));
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_store_what_is_frequent_in_their_rows() {
    let bench = Bench::new(64);
    let with = bench.insert(0, document).await;
    let other = |row: usize| Some(format!("{{c={row}}}"));
    let others = bench.insert(ROWS, other).await;
    assert_eq!(bench.paths(&others).await, ["1.c"]);
    let without =
        Bench { schema: PartSchema { document_paths_max: 0, ..bench.schema.clone() }, ..bench };
    let plain = without.insert(2 * ROWS, document).await;
    let bench = Bench {
        schema: PartSchema { document_paths_max: 64, ..without.schema.clone() },
        ..without
    };
    assert_eq!(bench.paths(&plain).await, [""; 0]);
    let mut spec = bench.spec(&[with, others, plain]);
    let deleted = Deletions::from_iter([3_u32, 4, 599]);
    spec.inputs[0].deletions = Some(deleted.to_inline());
    spec.inputs[0].rows_deleted = 3;
    for memory_bytes in [u64::MAX, 0] {
        let merged = bench.merge(MergeSpec { memory_bytes, ..spec.clone() }).await;
        assert_eq!(bench.paths(&merged).await, ["1.a", "1.b", "1.c"], "{memory_bytes}");
        for name in ["a", "b", "c"] {
            let of_first = expected(0, name, "").into_iter().enumerate();
            let of_first = of_first.filter(|(row, _)| ![3, 4, 599].contains(row));
            let of_others = (ROWS..2 * ROWS).map(|row| (name == "c").then(|| row.to_string()));
            let all = of_first.map(|(_, value)| value).chain(of_others);
            let all: Vec<_> = all.chain(expected(2 * ROWS, name, "")).collect();
            assert_eq!(bench.values(&merged, name).await, all, "{name} {memory_bytes}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collapsed_rows_have_parts_of_their_own_documents() {
    let bench = Bench::new(64);
    let old = bench.insert(0, |row| Some(format!("{{a=old-{row}}}"))).await;
    let new = bench.insert(0, |row| (row % 2 == 0).then(|| format!("{{a=new-{row}}}"))).await;
    let coalescing = CollapseRule::Coalescing { columns: vec![ColumnId(1)], states: Vec::new() };
    let replacing = CollapseRule::Replacing { version: None, is_deleted: None };
    for (rule, kept) in [(coalescing, true), (replacing, false)] {
        let spec = MergeSpec { rule, ..bench.spec(&[old.clone(), new.clone()]) };
        let merged = bench.merge(spec).await;
        let expected = |row: usize| match row % 2 {
            0 => Some(format!("new-{row}")),
            _ => kept.then(|| format!("old-{row}")),
        };
        let expected: Vec<_> = (0..ROWS).map(expected).collect();
        assert_eq!(bench.paths(&merged).await, ["1.a"]);
        assert_eq!(bench.values(&merged, "a").await, expected, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_more_buckets_have_the_columns_too() {
    let bench = Bench::new(64);
    let part = bench.insert(0, document).await;
    let spec = SplitSpec {
        schema: Arc::new(bench.schema.clone()),
        inputs: vec![part_ref(&bench.schema, &part)],
        location: bench.volume.part_location(),
        partition: PartitionValue::default(),
        dealing: Dealing::Hash(vec![ColumnId(0)]),
        buckets: 2,
        targets: vec![0, 1],
        skip: None,
        projections: None,
    };
    let progress = Arc::new(MergeProgress::default());
    let split = split_parts(&bench.store, &bench.volume, &bench.ids, spec, progress).await;
    let mut values = BTreeSet::new();
    for (_, part) in split.expect("splits").parts {
        assert_eq!(bench.paths(&part).await, ["1.a", "1.b"]);
        values.extend(bench.values(&part, "a").await);
    }
    assert_eq!(values, expected(0, "a", "").into_iter().collect());
}

/// The fixture was written by the first build that stored parts of documents, and is never overwritten.
/// `GRANARY_WRITE_FIXTURES=1` writes it where it is missing.
#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_part_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/part_v2_documents");
    let temporary = tempfile::tempdir().expect("a folder");
    let bench = Bench::on(folder(temporary.path()), 64);
    let part = bench.insert(0, document).await;
    let files = temporary.path().join(file_path(bench.schema.table, part.id, ""));
    if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !fixture.exists() {
        std::fs::create_dir_all(&fixture).expect("a fixture");
        for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
            std::fs::copy(files.join(file), fixture.join(file)).expect("copies");
        }
    }
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        std::fs::copy(fixture.join(file), files.join(file)).expect("copies");
    }
    let bench = Bench::on(folder(temporary.path()), 64);
    assert_eq!(bench.paths(&part).await, ["1.a", "1.b"]);
    for (name, prefix) in [("a", ""), ("b", ""), ("c", "computed ")] {
        assert_eq!(bench.values(&part, name).await, expected(0, name, prefix), "{name}");
    }
}

#[test]
fn ids_of_paths_stay() {
    let id = |column: u32, path: &[&str]| {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        DocumentPath { column: ColumnId(column), path }.id().0
    };
    // Parts are full of them.
    let ids = [id(1, &["a"]), id(1, &["a", "b"]), id(1, &["ab"]), id(2, &["a"])];
    assert_eq!(ids, [3_121_023_380, 2_850_828_247, 2_598_050_466, 2_623_132_436]);
    let nullable = ColumnType::Nullable(Box::new(ColumnType::String));
    assert_eq!(nullable.arrow(), DataType::Utf8View);
}
