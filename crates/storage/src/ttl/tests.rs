//! Merges that treat rows whose time has come, with expressions that a test can read: `c1+30` is a
//! column and seconds, `c2>5` a condition, `sum c2` an aggregate, `7` a value.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use granary_catalog::ColumnCodec::{Delta, Lz4, Plain, T64, Zstd};
use granary_catalog::{NewPart, RollUp, RowExpression, Scalar, TtlAction, TtlRule};
use granary_common::{ColumnId, Error, Result};

use super::*;
use crate::merge::{MergeProgress, MergeSpec, Merged, NoStates, merge_parts};
use crate::part::format::Effort;
use crate::read::PartStore;
use crate::schema::PartSchema;
use crate::test_support::{
    Counter, block, memory, part_ref, plain_merge, rows, scanned, store, table, whole,
};
use crate::volume::Volume;
use crate::write::{WriteOptions, write_block};

#[derive(Debug)]
struct Readable;

#[derive(Debug)]
enum Computed {
    Sum { column: usize, plus: i64 },
    Above { column: usize, bound: i64 },
    Value(i64),
}

fn column(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|error| Error::internal(error.to_string()))
}

impl RowEvaluator for Readable {
    fn compile(
        &self,
        expression: &RowExpression,
        schema: &Schema,
    ) -> Result<Arc<dyn RowComputation>> {
        let text = String::from_utf8(expression.plan.clone()).expect("text");
        let number = |text: &str| text.parse::<i64>().expect("a number");
        Ok(Arc::new(if let Some((name, plus)) = text.split_once('+') {
            Computed::Sum { column: column(schema, name)?, plus: number(plus) }
        } else if let Some((name, bound)) = text.split_once('>') {
            Computed::Above { column: column(schema, name)?, bound: number(bound) }
        } else {
            Computed::Value(number(&text))
        }))
    }

    fn folder(
        &self,
        aggregates: &[RowExpression],
        schema: &Schema,
    ) -> Result<Box<dyn GroupFolder>> {
        let text = |one: &RowExpression| String::from_utf8(one.plan.clone()).expect("text");
        let summed = aggregates.iter().map(|one| column(schema, &text(one)[4..]));
        let field = |at: usize| Field::new(format!("c{at}"), DataType::Int64, true);
        let results = Schema::new((0..aggregates.len()).map(field).collect::<Vec<_>>());
        Ok(Box::new(Sums { columns: summed.collect::<Result<_>>()?, sums: Vec::new(), results }))
    }

    fn is_monotone(&self, expression: &RowExpression, _: &Schema) -> bool {
        expression.plan.contains(&b'+')
    }
}

impl RowComputation for Computed {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let values = |column: usize| rows.column(column).as_primitive::<Int64Type>().iter();
        Ok(match self {
            Computed::Sum { column, plus } => {
                Arc::new(values(*column).map(|v| v.map(|v| v + plus)).collect::<Int64Array>())
            }
            Computed::Above { column, bound } => {
                Arc::new(values(*column).map(|v| v.map(|v| v > *bound)).collect::<BooleanArray>())
            }
            Computed::Value(value) => Arc::new(Int64Array::from(vec![*value; rows.num_rows()])),
        })
    }
}

#[derive(Debug)]
struct Sums {
    columns: Vec<usize>,
    sums: Vec<Vec<i64>>,
    results: Schema,
}

impl GroupFolder for Sums {
    fn results(&self) -> &Schema {
        &self.results
    }

    fn add(&mut self, rows: &RecordBatch, groups: &[usize], count: usize) -> Result<()> {
        self.sums.resize(count, vec![0; self.columns.len()]);
        for (row, group) in groups.iter().enumerate() {
            for (at, column) in self.columns.iter().enumerate() {
                let values = rows.column(*column).as_primitive::<Int64Type>();
                self.sums[*group][at] += values.value(row);
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<RecordBatch> {
        let taken: Vec<Vec<i64>> = self.sums.drain(..count).collect();
        let column = |at: usize| -> ArrayRef {
            Arc::new(Int64Array::from(taken.iter().map(|sums| sums[at]).collect::<Vec<_>>()))
        };
        let columns = (0..self.columns.len()).map(column).collect();
        Ok(RecordBatch::try_new(Arc::new(self.results.clone()), columns).expect("sums"))
    }
}

fn expression(text: &str, columns: &[u32]) -> RowExpression {
    let columns = columns.iter().copied().map(ColumnId).collect();
    RowExpression { plan: text.as_bytes().to_vec(), columns }
}

/// Rows are due at their column 1.
fn rule(action: TtlAction, condition: Option<RowExpression>) -> TtlRule {
    TtlRule { expiry: expression("c1+0", &[1]), condition, action }
}

struct Bench {
    volume: Arc<Volume>,
    store: PartStore,
    schema: PartSchema,
    ids: Counter,
}

impl Bench {
    /// A table of a key, a time and a number.
    fn new() -> Bench {
        let volume = memory();
        let schema = table(&["Int64", "Int64", "Int64"], &[0, 1], &[], 4);
        Bench { store: store(&volume), volume, schema, ids: Counter::default() }
    }

    async fn insert(&self, data: &[[i64; 3]]) -> NewPart {
        let data: Vec<Vec<Scalar>> = data.iter().map(|row| row.map(Scalar::Int).to_vec()).collect();
        let rows = block(&self.schema, &data);
        let options = WriteOptions::default();
        let location = self.volume.part_location();
        let written =
            write_block(&self.volume, location, &self.schema, &self.ids, rows, &options).await;
        written.expect("written").remove(0)
    }

    async fn merge(&self, parts: &[&NewPart], rules: &[TtlRule], now_s: i64) -> Merged {
        self.merge_as(parts, rules, now_s, None).await
    }

    async fn merge_as(
        &self,
        parts: &[&NewPart],
        rules: &[TtlRule],
        now_s: i64,
        how: Option<&Recompression>,
    ) -> Merged {
        let schema = self.schema.clone();
        let inputs = parts.iter().map(|part| part_ref(&self.schema, part)).collect();
        let spec = MergeSpec {
            schema: Arc::new(how.map_or(schema.clone(), |how| how.applied(schema))),
            ttl: Some(MergeTtl {
                rules: rules.to_vec(),
                now_s,
                recompresses: how.is_some(),
                evaluator: Arc::new(Readable),
            }),
            effort: how.map_or(Effort::Full, Recompression::effort),
            memory_bytes: 0,
            ..plain_merge(&self.schema, &self.volume, inputs)
        };
        // All columns at once, or one at a time: there is no difference.
        let at_once = self.run(MergeSpec { memory_bytes: u64::MAX, ..spec.clone() }).await;
        let merged = self.run(spec).await;
        assert_eq!(merged.rows, at_once.rows);
        if let (Some(part), Some(expected)) = (&merged.part, &at_once.part) {
            assert_eq!(self.rows(part).await, self.rows(expected).await);
            assert_eq!(self.life(part, rules).await, self.life(expected, rules).await);
        }
        merged
    }

    async fn run(&self, spec: MergeSpec) -> Merged {
        let progress = Arc::new(MergeProgress::default());
        let states = Arc::new(NoStates);
        let merged =
            merge_parts(&self.store, &self.volume, &self.ids, spec, states, progress).await;
        merged.expect("merged")
    }

    async fn rows(&self, part: &NewPart) -> Vec<Vec<i64>> {
        let open = self.store.open(&part_ref(&self.schema, part)).await.expect("opens");
        open.verify().await.expect("whole");
        let found = scanned(&open, &self.schema, whole(&self.schema)).await.expect("rows");
        let number = |value: &Scalar| match value {
            Scalar::Int(value) => *value,
            other => panic!("{other:?}"),
        };
        rows(&found).iter().map(|row| row.iter().map(number).collect()).collect()
    }

    async fn life(&self, part: &NewPart, rules: &[TtlRule]) -> PartLife {
        let (part, schema) = (part_ref(&self.schema, part), Arc::new(self.schema.clone()));
        let marks = marks_of(&self.store, &schema, &part, rules, &Readable).await.expect("marks");
        PartLife::of(rules, &marks).expect("a life")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_due_go_and_the_rest_is_remembered() {
    let bench = Bench::new();
    let first = bench.insert(&[[1, 10, 0], [2, 20, 0], [3, 0, 0]]).await;
    let second = bench.insert(&[[1, 30, 7], [4, 15, 9]]).await;
    let rules = [rule(TtlAction::Delete, None)];
    let life = bench.life(&second, &rules).await;
    assert_eq!((life.due_s, life.gone_s), (Some(15), Some(30)));
    // The row at 0 never goes.
    let life = bench.life(&first, &rules).await;
    assert_eq!((life.due_s, life.gone_s), (Some(10), None));
    assert!(life.is_due(10) && !life.is_due(9) && !life.is_gone(i64::MAX));

    let merged = bench.merge(&[&first, &second], &rules, 15).await;
    let part = merged.part.expect("rows are left");
    assert_eq!(bench.rows(&part).await, [[1, 30, 7], [2, 20, 0], [3, 0, 0]]);
    let life = bench.life(&part, &rules).await;
    assert_eq!((life.due_s, life.gone_s), (Some(20), None));
    // Rows that were deleted while the merge ran are found again, unless they went.
    let deleted = crate::Deletions::from_iter([1_u32, 2]);
    let carried = merged.rows.translate(&[(0, &deleted)]).expect("carried over");
    assert_eq!(carried.iter().collect::<Vec<_>>(), [1, 2]);
    let gone = crate::Deletions::from_iter([0_u32]);
    assert!(merged.rows.translate(&[(0, &gone)]).expect("carried over").is_empty());

    assert!(bench.merge(&[&second], &rules, 30).await.part.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_other_rules_have_marks_of_their_own() {
    let bench = Bench::new();
    let part = bench.insert(&[[1, 10, 1], [2, 20, 9]]).await;
    let above = || Some(expression("c2>5", &[2]));
    let rules = [rule(TtlAction::Delete, above())];
    assert_eq!(bench.life(&part, &rules).await.due_s, Some(20));
    let merged = bench.merge(&[&part], &rules, 15).await.part.expect("rows");
    assert_eq!(bench.rows(&merged).await.len(), 2);
    let merged = bench.merge(&[&merged], &rules, 25).await.part.expect("rows");
    assert_eq!(bench.rows(&merged).await, [[1, 10, 1]]);
    let life = bench.life(&merged, &rules).await;
    assert_eq!((life.due_s, life.gone_s), (None, None));
    // What was written down belongs to the old rule.
    let changed = [rule(TtlAction::Delete, None)];
    assert_eq!(bench.life(&merged, &changed).await.due_s, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_reset_once() {
    let bench = Bench::new();
    let part = bench.insert(&[[1, 10, 5], [2, 20, 6]]).await;
    for (default, expected) in [(None, 0), (Some(expression("7", &[])), 7)] {
        let rules = [rule(TtlAction::Reset { column: ColumnId(2), default }, None)];
        assert_eq!(bench.life(&part, &rules).await.due_s, Some(10));
        let merged = bench.merge(&[&part], &rules, 15).await.part.expect("rows");
        assert_eq!(bench.rows(&merged).await, [[1, 10, expected], [2, 20, 6]]);
        let life = bench.life(&merged, &rules).await;
        assert_eq!((life.due_s, life.gone_s), (Some(20), None));
    }
}

fn sums() -> TtlAction {
    TtlAction::GroupBy(RollUp {
        keys: vec![ColumnId(0)],
        aggregates: vec![expression("sum c2", &[2])],
        set: vec![(ColumnId(2), expression("c0+0", &[0]))],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_key_become_one() {
    let bench = Bench::new();
    let first = bench.insert(&[[1, 10, 1], [1, 11, 2], [1, 99, 4], [2, 10, 8]]).await;
    let second = bench.insert(&[[1, 12, 16], [1, 98, 32], [3, 97, 64]]).await;
    let rules = [rule(sums(), None)];
    let merged = bench.merge(&[&first, &second], &rules, 50).await;
    let part = merged.part.expect("rows");
    let expected = [[1, 10, 19], [1, 98, 32], [1, 99, 4], [2, 10, 8], [3, 97, 64]];
    assert_eq!(bench.rows(&part).await, expected);
    assert_eq!(bench.life(&part, &rules).await.due_s, Some(97));
    // A row that others became one with cannot be deleted from the result.
    assert_eq!(merged.rows.translate(&[(0, &crate::Deletions::from_iter([1_u32]))]), None);
    let alive = merged.rows.translate(&[(0, &crate::Deletions::from_iter([2_u32]))]);
    assert_eq!(alive.expect("carried over").iter().collect::<Vec<_>>(), [2]);
}

/// Wherever batches are cut, a key becomes one row, in order.
#[tokio::test(flavor = "multi_thread")]
async fn long_keys_are_rolled_up_whole() {
    let bench = Bench::new();
    let data: Vec<[i64; 3]> =
        (0..30_000).flat_map(|at| [[at / 12_000, at % 12_000 + 1, 1]]).collect();
    let part = bench.insert(&data).await;
    let odd = Some(expression("c1>6000", &[1]));
    for (condition, waiting) in [(None, 0), (odd, 6_000)] {
        let rules = [rule(sums(), condition)];
        let merged = bench.merge(&[&part], &rules, 9_000).await.part.expect("rows");
        let rows = bench.rows(&merged).await;
        assert!(rows.is_sorted(), "the order of the key");
        let total: i64 = rows.iter().map(|row| row[2]).sum();
        assert_eq!(total, 30_000);
        let rolled: Vec<i64> = rows.iter().map(|row| row[2]).filter(|sum| *sum > 1).collect();
        let expected = if waiting == 0 { [9_000, 9_000, 6_000] } else { [3_000, 3_000, 0] };
        let expected: Vec<i64> = expected.into_iter().filter(|sum| *sum > 1).collect();
        assert_eq!(rolled, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_encoded_again_once() {
    for (action, how) in [
        (TtlAction::Recompress, Recompression::Densest),
        (TtlAction::RecompressWith(vec![Plain]), Recompression::With(vec![Plain])),
    ] {
        let bench = Bench::new();
        let part = bench.insert(&[[1, 10, 5], [2, 20, 6]]).await;
        let rules = [rule(action, None)];
        assert_eq!(bench.life(&part, &rules).await.recompression(19), None);
        assert_eq!(bench.life(&part, &rules).await.recompression(20), Some(&how));
        let merged = bench.merge(&[&part], &rules, 20).await.part.expect("rows");
        assert_eq!(bench.life(&merged, &rules).await.recompression(20), Some(&how));
        let done = bench.merge_as(&[&merged], &rules, 20, Some(&how)).await.part.expect("rows");
        assert_eq!(bench.life(&done, &rules).await.recompression(i64::MAX), None);
        assert_eq!(bench.rows(&done).await, [[1, 10, 5], [2, 20, 6]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recompression_has_its_time() {
    let bench = Bench::new();
    let rules = [
        rule(TtlAction::RecompressWith(vec![Lz4]), None),
        TtlRule {
            expiry: expression("c1+100", &[1]),
            ..rule(TtlAction::RecompressWith(vec![Zstd { level: 19 }]), None)
        },
    ];
    let (first, second) =
        (Recompression::With(vec![Lz4]), Recompression::With(vec![Zstd { level: 19 }]));
    let part = bench.insert(&[[1, 10, 5], [2, 20, 6]]).await;
    let life = bench.life(&part, &rules).await;
    assert_eq!((life.recompression(20), life.recompression(119)), (Some(&first), Some(&first)));
    // What is due later stands for what was due before.
    assert_eq!(life.recompression(120), Some(&second));
    let once = bench.merge_as(&[&part], &rules, 25, Some(&first)).await.part.expect("rows");
    let life = bench.life(&once, &rules).await;
    assert_eq!((life.recompression(119), life.recompression(120)), (None, Some(&second)));
    let twice = bench.merge_as(&[&once], &rules, 120, Some(&second)).await.part.expect("rows");
    assert_eq!(bench.life(&twice, &rules).await.recompression(i64::MAX), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn recompression_applies_the_codec_that_is_named() {
    // Steps of one size, a time and mixed bits.
    let row = |at: i64| [at * 1_000, 10, (at * 7_919 % 100_003) << 20];
    let data: Vec<[i64; 3]> = (0..20_000).map(row).collect();
    let mut bench = Bench::new();
    bench.schema.granularity = 8192;
    let mut sizes = std::collections::BTreeMap::new();
    for (name, how) in [
        ("none", Recompression::With(vec![Plain])),
        ("delta", Recompression::With(vec![Delta])),
        ("t64", Recompression::With(vec![T64])),
        ("zstd", Recompression::With(vec![Zstd { level: 19 }])),
        ("default", Recompression::With(vec![])),
    ] {
        let part = bench.insert(&data).await;
        let rules = [rule(TtlAction::Recompress, None)];
        let merged = bench.merge_as(&[&part], &rules, 20, Some(&how)).await.part.expect("rows");
        assert_eq!(bench.rows(&merged).await, data, "{name}");
        sizes.insert(name, merged.bytes);
    }
    // A column with a CODEC of its own keeps it.
    bench.schema.columns[0].codecs = vec![Plain];
    let part = bench.insert(&data).await;
    let how = Recompression::With(vec![T64]);
    let merged = bench.merge_as(&[&part], &[], 20, Some(&how)).await.part.expect("rows");
    sizes.insert("own", merged.bytes);
    println!("{sizes:?}");
    let size = |name| sizes[name] as f64;
    let column = (8 * data.len()) as f64;
    // Only the time, which is always the same, takes nothing.
    assert!(size("none") > 2. * column, "nothing is compressed: {sizes:?}");
    assert!(size("delta") < 0.7 * size("none") && size("delta") < size("t64"), "{sizes:?}");
    assert!(size("t64") < 0.7 * size("none"), "{sizes:?}");
    assert!(size("zstd") < size("t64") && size("default") < size("t64"), "{sizes:?}");
    assert!(size("own") > column + 100. && size("own") < 0.9 * size("none"), "{sizes:?}");
}

#[test]
fn lives_follow_from_marks() {
    let rules = [
        rule(TtlAction::Delete, None),
        rule(TtlAction::Move(granary_catalog::TtlPlace::Disk("cold".into())), None),
        rule(TtlAction::Move(granary_catalog::TtlPlace::Volume("far".into())), None),
    ];
    let mark = |rule: &TtlRule, due_s, last_s| TtlMark {
        rule: fingerprint(rule).expect("a fingerprint"),
        due_s,
        last_s,
    };
    let marks = [
        mark(&rules[0], Some(100), Some(200)),
        mark(&rules[1], Some(5), Some(10)),
        mark(&rules[2], Some(15), Some(20)),
    ];
    let life = PartLife::of(&rules, &marks).expect("a life");
    let place = |now_s| life.place(now_s).cloned();
    assert_eq!(place(9), None);
    assert_eq!(place(10), Some(granary_catalog::TtlPlace::Disk("cold".into())));
    assert_eq!(place(20), Some(granary_catalog::TtlPlace::Volume("far".into())));
    assert_eq!((life.is_due(99), life.is_due(100)), (false, true));
    assert_eq!((life.is_gone(199), life.is_gone(200)), (false, true));
    // A rule without a mark says nothing.
    assert_eq!(PartLife::of(&rules, &[]).expect("a life"), PartLife::default());
}
