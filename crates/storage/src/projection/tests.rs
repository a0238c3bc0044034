//! A projection has what its SELECT gives over the rows of its part, wherever the part goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use granary_catalog::{
    ColumnType, Fold, NewPart, PartitionValue, ProjectedKey, ProjectedValue, RowExpression, Scalar,
};
use granary_common::{ColumnId, Error, PartId};

use super::*;
use crate::merge::{MergeProgress, MergeSpec, NoStates, merge_parts};
use crate::part::DESCRIPTOR_FILE;
use crate::part::descriptor::Descriptor;
use crate::part::file_path;
use crate::read::{PartRef, PartStore};
use crate::relocate_part;
use crate::test_support::{
    Counter, block, folder, memory, part_ref, plain_merge, rows, scanned, store, table, whole,
};
use crate::ttl::{GroupFolder, RowComputation};
use crate::write::{PartIds, WriteOptions, write_block};

type Row = Vec<Scalar>;

/// Expressions are names of columns, aggregates a fold before one.
#[derive(Debug)]
struct Named;

#[derive(Debug)]
struct Column(usize);

fn place(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|error| Error::internal(error.to_string()))
}

fn text(expression: &RowExpression) -> &str {
    std::str::from_utf8(&expression.plan).expect("text")
}

impl RowEvaluator for Named {
    fn compile(&self, of: &RowExpression, schema: &Schema) -> Result<Arc<dyn RowComputation>> {
        Ok(Arc::new(Column(place(schema, text(of))?)))
    }

    fn folder(&self, calls: &[RowExpression], schema: &Schema) -> Result<Box<dyn GroupFolder>> {
        let call = |call: &RowExpression| {
            let (fold, column) = text(call).split_once(' ').expect("a fold and a column");
            Ok((fold.to_owned(), place(schema, column)?))
        };
        let calls = calls.iter().map(call).collect::<Result<Vec<_>>>()?;
        let field = |at: usize| Field::new(format!("c{at}"), DataType::Int64, true);
        let results = Schema::new((0..calls.len()).map(field).collect::<Vec<_>>());
        Ok(Box::new(Folder { calls, groups: Vec::new(), results }))
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

#[derive(Debug)]
struct Folder {
    calls: Vec<(String, usize)>,
    groups: Vec<Vec<Option<i64>>>,
    results: Schema,
}

fn folded(fold: &str, known: Option<i64>, value: Option<i64>) -> Option<i64> {
    match (fold, known, value) {
        ("count", known, value) => Some(known.unwrap_or(0) + i64::from(value.is_some())),
        ("sum", Some(known), Some(value)) => Some(known + value),
        ("min", Some(known), Some(value)) => Some(known.min(value)),
        (_, known, value) => known.or(value),
    }
}

impl GroupFolder for Folder {
    fn results(&self) -> &Schema {
        &self.results
    }

    fn add(&mut self, rows: &RecordBatch, groups: &[usize], count: usize) -> Result<()> {
        self.groups.resize(count, vec![None; self.calls.len()]);
        for (row, group) in groups.iter().enumerate() {
            for (at, (fold, column)) in self.calls.iter().enumerate() {
                let values = rows.column(*column).as_primitive::<Int64Type>();
                let value = values.is_valid(row).then(|| values.value(row));
                let known = &mut self.groups[*group][at];
                *known = folded(fold, *known, value);
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<RecordBatch> {
        let taken: Vec<Vec<Option<i64>>> = self.groups.drain(..count).collect();
        let column = |at: usize| -> ArrayRef {
            Arc::new(taken.iter().map(|values| values[at]).collect::<Int64Array>())
        };
        let columns = (0..self.calls.len()).map(column).collect();
        Ok(RecordBatch::try_new(Arc::new(self.results.clone()), columns).expect("results"))
    }
}

fn expression(text: &str) -> RowExpression {
    RowExpression { plan: text.as_bytes().to_vec(), columns: Vec::new() }
}

fn key(text: &str, column_type: &str) -> ProjectedKey {
    let column_type: ColumnType = column_type.parse().expect("a type");
    ProjectedKey { expression: expression(text), column_type }
}

/// Text of column 1 and what its groups have of column 2.
fn grouped() -> BoundProjection {
    let value = |fold, text: &str, column_type: &str| ProjectedValue {
        fold,
        aggregate: expression(text),
        column_type: column_type.parse().expect("a type"),
    };
    BoundProjection {
        keys: vec![key("c1", "Nullable(String)")],
        values: vec![
            value(Fold::Count, "count c2", "Int64"),
            value(Fold::Sum, "sum c2", "Nullable(Int64)"),
            value(Fold::Min, "min c2", "Nullable(Int64)"),
        ],
        ordered_by: vec![0],
        is_grouped: true,
    }
}

/// Everything, by column 2.
fn reordered() -> BoundProjection {
    BoundProjection {
        keys: vec![key("c2", "Nullable(Int64)"), key("c0", "Int64")],
        values: vec![],
        ordered_by: vec![0],
        is_grouped: false,
    }
}

/// Of all rows.
fn total() -> BoundProjection {
    BoundProjection { keys: Vec::new(), ordered_by: Vec::new(), ..grouped() }
}

fn all() -> Projections {
    let projections = vec![grouped(), reordered(), total()];
    Projections { projections, evaluator: Arc::new(Named) }
}

fn part_schema(granularity: usize) -> PartSchema {
    table(&["Int64", "Nullable(String)", "Nullable(Int64)"], &[0], &[], granularity)
}

fn data(rows: i64, groups: i64) -> Vec<Row> {
    let null = |is_null: bool, value: Scalar| if is_null { Scalar::Null } else { value };
    let row = |row: i64| {
        let group = row * 7919 % groups;
        vec![
            Scalar::Int(row),
            null(group == 1, Scalar::Text(format!("group {group:05}"))),
            null(row % 5 == 0, Scalar::Int(row * 31 % 1000)),
        ]
    };
    (0..rows).map(row).collect()
}

fn number(value: &Scalar) -> Option<i64> {
    match value {
        Scalar::Int(value) => Some(*value),
        _ => None,
    }
}

/// What a projection with these folds over column 2 gives, as rows by key, from the rows of a part
/// or from rows of the projection.
fn expected(data: &[Row], by: Option<usize>) -> BTreeMap<Scalar, Vec<Option<i64>>> {
    let mut groups: BTreeMap<Scalar, Vec<Option<i64>>> = BTreeMap::new();
    for row in data {
        let key = by.map_or(Scalar::Null, |by| row[by].clone());
        let known = groups.entry(key).or_insert_with(|| vec![None; 3]);
        for (known, fold) in known.iter_mut().zip(["count", "sum", "min"]) {
            *known = folded(fold, *known, number(&row[2]));
        }
    }
    groups
}

/// Rows of a projection that are folded as a reader does.
fn refolded(rows: &[Row], keys: usize) -> BTreeMap<Scalar, Vec<Option<i64>>> {
    let mut groups: BTreeMap<Scalar, Vec<Option<i64>>> = BTreeMap::new();
    for row in rows {
        let key = if keys == 0 { Scalar::Null } else { row[0].clone() };
        let known = groups.entry(key).or_insert_with(|| vec![None; 3]);
        for (at, fold) in ["sum", "sum", "min"].into_iter().enumerate() {
            known[at] = folded(fold, known[at], number(&row[keys + at]));
        }
    }
    groups
}

async fn read(store: &PartStore, schema: &PartSchema, part: &NewPart, of: usize) -> Vec<Row> {
    let projection = &all().projections[of];
    let fingerprint = fingerprint(projection).expect("a fingerprint");
    let listed = part.projections.iter().find(|one| one.fingerprint == fingerprint);
    let listed = listed.expect("is listed");
    let reference = PartRef {
        projection: Some(fingerprint),
        rows: listed.rows,
        bytes: listed.bytes,
        ..part_ref(schema, part)
    };
    let open = store.open(&reference).await.expect("opens");
    open.verify().await.expect("checksums");
    let shape = schema_of(schema.table, projection, schema.granularity);
    rows(&scanned(&open, &shape, whole(&shape)).await.expect("reads"))
}

async fn check(store: &PartStore, schema: &PartSchema, part: &NewPart, data: &[Row]) {
    let found = read(store, schema, part, 0).await;
    assert_eq!(refolded(&found, 1), expected(data, Some(1)));
    assert_eq!(refolded(&read(store, schema, part, 2).await, 0), expected(data, None));
    let mut found = read(store, schema, part, 1).await;
    let mut wanted: Vec<Row> =
        data.iter().map(|row| vec![row[2].clone(), row[0].clone()]).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let whole = store.open(&part_ref(schema, part)).await.expect("opens");
    whole.verify().await.expect("every file is as it was written");
    let of_files: u64 = whole.descriptor().files.iter().map(|file| file.bytes).sum();
    assert!(part.bytes > of_files && part.bytes < of_files + 10_000, "{} {of_files}", part.bytes);
}

async fn inserted(
    volume: &Arc<crate::Volume>,
    schema: &PartSchema,
    ids: &Counter,
    data: &[Row],
) -> NewPart {
    let options = WriteOptions { projections: Some(all()), ..WriteOptions::default() };
    let block = block(schema, data);
    let written = write_block(volume, volume.part_location(), schema, ids, block, &options).await;
    written.expect("writes").remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_merges_and_moves_keep_them() {
    let volume = memory();
    let schema = part_schema(16);
    let (store, ids) = (store(&volume), Counter::default());
    let data = data(500, 37);
    let (first, second) = data.split_at(200);
    let mut parts = Vec::new();
    for rows in [first, second] {
        let part = inserted(&volume, &schema, &ids, rows).await;
        check(&store, &schema, &part, rows).await;
        parts.push(part);
    }
    let (source, progress) = (part_ref(&schema, &parts[0]), MergeProgress::default());
    let location = volume.part_location();
    let moved = relocate_part(&store, &source, &volume, location, &ids, &progress);
    let moved = moved.await.expect("moves");
    assert_eq!(moved.projections, parts[0].projections);
    check(&store, &schema, &moved, first).await;
    let spec =
        |inputs, projections| MergeSpec { projections, ..plain_merge(&schema, &volume, inputs) };
    let inputs: Vec<PartRef> = parts.iter().map(|part| part_ref(&schema, part)).collect();
    for projections in [Some(all()), None] {
        let has_them = projections.is_some();
        let spec = spec(inputs.clone(), projections);
        let merged = merge_parts(
            &store,
            &volume,
            &ids,
            spec,
            Arc::new(NoStates),
            Arc::new(MergeProgress::default()),
        );
        let merged = merged.await.expect("merges").part.expect("a part");
        match has_them {
            true => check(&store, &schema, &merged, &data).await,
            false => assert!(merged.projections.is_empty()),
        }
    }
}

/// Merged a column at a time, rows are the same, and so are projections of some of the columns.
#[tokio::test(flavor = "multi_thread")]
async fn merges_in_groups_make_the_same_projections() {
    let volume = memory();
    let types = ["Int64", "Nullable(String)", "Nullable(Int64)", "Int64", "String"];
    let schema = table(&types, &[0], &[], 16);
    let (store, ids) = (store(&volume), Counter::default());
    let mut projections = vec![grouped(), total()];
    // The library that binds expressions says what they read.
    for projection in &mut projections {
        projection.keys.iter_mut().for_each(|key| key.expression.columns = vec![ColumnId(1)]);
        projection.values.iter_mut().for_each(|value| value.aggregate.columns = vec![ColumnId(2)]);
    }
    let more = |row: &Row| [row.clone(), vec![row[0].clone(), Scalar::Text("x".into())]].concat();
    let data: Vec<Row> = data(400, 23).iter().map(more).collect();
    let mut inputs = Vec::new();
    for rows in data.chunks(150) {
        let (location, options) = (volume.part_location(), WriteOptions::default());
        let rows = block(&schema, rows);
        let part = write_block(&volume, location, &schema, &ids, rows, &options).await;
        inputs.push(part_ref(&schema, &part.expect("writes")[0]));
    }
    let mut found = Vec::new();
    for memory_bytes in [u64::MAX, 0] {
        let evaluator = Arc::new(Named);
        let spec = MergeSpec {
            projections: Some(Projections { projections: projections.clone(), evaluator }),
            memory_bytes,
            ..plain_merge(&schema, &volume, inputs.clone())
        };
        let (states, progress) = (Arc::new(NoStates), Arc::<MergeProgress>::default());
        let merged = merge_parts(&store, &volume, &ids, spec, states, progress).await;
        let part = merged.expect("merges").part.expect("a part");
        assert_eq!(part.projections.len(), projections.len());
        for (projection, listed) in projections.iter().zip(&part.projections) {
            let of_projection = PartRef {
                projection: Some(listed.fingerprint),
                rows: listed.rows,
                bytes: listed.bytes,
                ..part_ref(&schema, &part)
            };
            let open = store.open(&of_projection).await.expect("opens");
            let shape = schema_of(schema.table, projection, schema.granularity);
            found.push(rows(&scanned(&open, &shape, whole(&shape)).await.expect("reads")));
        }
    }
    assert_eq!(found[..2], found[2..]);
    assert_eq!(refolded(&found[2], 1), expected(&data, Some(1)));
}

#[test]
fn runs_are_bounded_and_sorted() {
    let schema = part_schema(8192);
    let data = data(300_000, 299_993);
    let rows_of_part = block(&schema, &data);
    for (projection, runs_least) in [(grouped(), 3), (reordered(), 3), (total(), 1)] {
        let mut projector = Projector::new(&projection, &Named, &schema).expect("a projector");
        let mut runs = Vec::new();
        for start in (0..data.len()).step_by(70_000) {
            let length = 70_000.min(data.len() - start);
            runs.extend(projector.push(&rows_of_part.slice(start, length)).expect("pushes"));
        }
        runs.extend(projector.finish().expect("finishes"));
        assert!(runs.len() >= runs_least, "{} runs", runs.len());
        for run in &runs {
            assert!(run.num_rows() <= (1 << 17) + (1 << 15));
            let rows = rows(std::slice::from_ref(run));
            assert!(projection.keys.is_empty() || rows.is_sorted_by_key(|row| row[0].clone()));
        }
        if projection.is_grouped {
            let keys = projection.keys.len();
            let by = (keys > 0).then_some(1);
            assert_eq!(refolded(&rows(&runs), keys), expected(&data, by));
        } else {
            assert_eq!(runs.iter().map(RecordBatch::num_rows).sum::<usize>(), data.len());
        }
    }
}

#[test]
fn fingerprints_are_of_what_is_kept() {
    let of = |projection: &BoundProjection| fingerprint(projection).expect("a fingerprint");
    assert_eq!(of(&grouped()), of(&grouped()));
    let mut other = grouped();
    other.values[0].fold = Fold::Sum;
    assert_ne!(of(&grouped()), of(&other));
    assert_ne!(of(&grouped()), of(&BoundProjection { is_grouped: false, ..grouped() }));
    assert_ne!(of(&grouped()), of(&total()));
}

/// The newest format with projections; older ones stay readable beside it.
const FROZEN: &str = "part_v2_projections";

#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_projections_are_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(FROZEN);
    let (schema, data) = (part_schema(16), data(100, 7));
    if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !fixture.exists() {
        let temporary = tempfile::tempdir().expect("a folder");
        inserted(&folder(temporary.path()), &schema, &Counter::default(), &data).await;
        let made = temporary.path().join(file_path(schema.table, PartId(1), ""));
        std::fs::create_dir_all(&fixture).expect("a folder");
        copy_files(&made, &fixture);
    }
    let temporary = tempfile::tempdir().expect("a folder");
    let target: PathBuf = temporary.path().join(file_path(schema.table, PartId(1), ""));
    std::fs::create_dir_all(&target).expect("a folder");
    copy_files(&fixture, &target);
    let bytes = std::fs::read(fixture.join(DESCRIPTOR_FILE)).expect("a descriptor");
    let length = bytes.len() as u64;
    let descriptor = Descriptor::decode(bytes.into()).expect("decodes");
    let volume = folder(temporary.path());
    let ids = Counter::default();
    let part = NewPart {
        id: ids.next().await.expect("an id"),
        partition: PartitionValue::default(),
        rows: descriptor.rows,
        bytes: descriptor.files.iter().map(|file| file.bytes).sum::<u64>() + length,
        key_range: descriptor.key_range.clone(),
        location: volume.part_location(),
        projections: descriptor.listed_projections().expect("lists"),
    };
    check(&store(&volume), &schema, &part, &data).await;
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}
