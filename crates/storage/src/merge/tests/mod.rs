mod memory;
mod model;
mod parts;
mod split;
mod wide;

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{self, StreamExt};
use granary_catalog::Scalar;
use granary_common::{ColumnId, ErrorKind};
use proptest::prelude::*;

use super::k_way::{KWayMerge, Run};
use super::*;
use crate::test_support::{block, rows, table};
use model::{Joiner, KEY, Row, batches, collapsed, rules, schema, sorted};

const MODES: [CollapseMode; 2] = [CollapseMode::Merge, CollapseMode::Final];

/// Collapses sorted rows that come in batches cut at `cuts`.
fn collapse(rule: &CollapseRule, rows_in: &[Row], cuts: &[usize], mode: CollapseMode) -> Vec<Row> {
    let schema = schema(8192);
    let columns: Vec<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
    let sort_key = schema.sort_key.clone();
    let (fields, rule) = (schema.arrow_schema(), rule.clone());
    let mut collapser =
        Collapser::new(fields, columns, sort_key, rule, Arc::new(Joiner), mode).unwrap();
    let mut out: Vec<RecordBatch> = Vec::new();
    let mut rest = rows_in;
    for cut in cuts {
        let (head, tail) = rest.split_at((*cut).min(rest.len()));
        out.extend(collapser.push(block(&schema, head)).unwrap());
        rest = tail;
    }
    out.extend(collapser.push(block(&schema, rest)).unwrap());
    out.extend(collapser.finish().unwrap());
    assert!(out.iter().all(|batch| batch.num_rows() > 0), "an empty batch");
    rows(&out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Wherever the stream is cut, rules do what the engines say.
    #[test]
    fn rules_follow_the_model(
        inserts in any::<bool>().prop_flat_map(batches),
        cuts in prop::collection::vec(0..6_usize, 0..12),
    ) {
        let inserted = inserts.concat();
        for rule in rules() {
            for mode in MODES {
                let expected = collapsed(&rule, &inserted, mode);
                let found = collapse(&rule, &sorted(&inserted), &cuts, mode);
                prop_assert_eq!(found, expected, "{:?} {:?}", rule, mode);
            }
        }
    }

    /// Merging sorted inputs is sorting, and the runs say where every row is from.
    #[test]
    fn merging_is_sorting(
        inserts in batches(false),
        cut in 1..5_usize,
        keyed in any::<bool>(),
    ) {
        let schema = schema(8192);
        let sort = |rows: &[Row]| if keyed { sorted(rows) } else { rows.to_vec() };
        let inputs: Vec<Vec<Row>> = inserts.iter().map(|rows| sort(rows)).collect();
        let streams = inputs.iter().map(|rows| {
            let cuts: Vec<_> = rows.chunks(cut).map(|rows| Ok(block(&schema, rows))).collect();
            stream::iter(cuts).boxed()
        });
        let key = if keyed { vec![KEY] } else { Vec::new() };
        let mut merge = KWayMerge::new(streams.collect(), key);
        let (mut found, mut traced) = (Vec::new(), Vec::new());
        futures::executor::block_on(async {
            while let Some(merged) = merge.next().await.unwrap() {
                found.extend(rows(&[merged.rows]));
                for Run { input, first, rows } in merged.runs {
                    let first = first as usize;
                    traced.extend_from_slice(&inputs[input][first..first + rows]);
                }
            }
        });
        prop_assert_eq!(&found, &sort(&inserts.concat()));
        prop_assert_eq!(found, traced);
    }
}

/// Inputs that do not overlap are passed on whole.
#[test]
fn batches_apart_are_not_copied() {
    let schema = table(&["Int64"], &[0], &[], 8192);
    let batch = |from: i64| {
        let rows: Vec<_> = (from..from + 8192).map(|v| vec![Scalar::Int(v)]).collect();
        block(&schema, &rows)
    };
    let given = [batch(8192), batch(0)];
    let inputs = given.iter().map(|batch| stream::iter([Ok(batch.clone())]).boxed()).collect();
    let mut merge = KWayMerge::new(inputs, vec![0]);
    for expected in given.iter().rev() {
        let merged = futures::executor::block_on(merge.next()).unwrap().unwrap();
        assert_eq!(merged.runs.len(), 1);
        let data = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
        assert_eq!(data(&merged.rows), data(expected));
    }
}

/// A key that goes on through many batches keeps nothing of them but its row.
#[test]
fn open_keys_stay_small() {
    let schema = table(&["Int32", "String"], &[0], &[], 8192);
    let columns = vec![ColumnId(0), ColumnId(1)];
    let rule = CollapseRule::Replacing { version: None, is_deleted: None };
    let (fields, key) = (schema.arrow_schema(), vec![ColumnId(0)]);
    let mut collapser =
        Collapser::new(fields, columns, key, rule, Arc::new(NoStates), CollapseMode::Merge)
            .unwrap();
    for round in 0..50 {
        let text = |row| Scalar::Text(format!("{row:040} of round {round:040}"));
        let data: Vec<_> = (0..100).map(|row| vec![Scalar::Int(1), text(row)]).collect();
        assert!(collapser.push(block(&schema, &data)).unwrap().is_none());
    }
    let last = collapser.finish().unwrap().unwrap();
    assert_eq!(last.num_rows(), 1);
    assert!(last.get_array_memory_size() < 4096, "{}", last.get_array_memory_size());
}

fn sum_of(types: &str, values: &[Scalar]) -> granary_common::Result<Vec<Row>> {
    let schema = table(&["Int32", types], &[0], &[], 8192);
    let rule = CollapseRule::Summing { columns: vec![ColumnId(1)], states: Vec::new() };
    let columns = vec![ColumnId(0), ColumnId(1)];
    let (fields, key) = (schema.arrow_schema(), vec![ColumnId(0)]);
    let mut collapser =
        Collapser::new(fields, columns, key, rule, Arc::new(NoStates), CollapseMode::Final)?;
    let data: Vec<_> = values.iter().map(|value| vec![Scalar::Int(1), value.clone()]).collect();
    collapser.push(block(&schema, &data))?;
    Ok(rows(&collapser.finish()?.into_iter().collect::<Vec<_>>()))
}

#[test]
fn sums_at_the_edges_of_types() {
    let one = |value: Scalar| vec![vec![Scalar::Int(1), value]];
    let wrapped = sum_of("UInt8", &[Scalar::UInt(250), Scalar::UInt(7)]).unwrap();
    assert_eq!(wrapped, one(Scalar::UInt(1)));
    let wrapped = sum_of("Int64", &[Scalar::Int(i64::MAX), Scalar::Int(1)]).unwrap();
    assert_eq!(wrapped, one(Scalar::Int(i64::MIN)));
    let none = sum_of("Nullable(Int64)", &[Scalar::Null, Scalar::Null]).unwrap();
    assert_eq!(none, Vec::<Row>::new());
    let float = sum_of("Float64", &[Scalar::Float(0.5), Scalar::Float(0.25)]).unwrap();
    assert_eq!(float, one(Scalar::Float(0.75)));
    let fits = sum_of("Decimal(4, 2)", &[Scalar::Wide(9000), Scalar::Wide(999)]).unwrap();
    assert_eq!(fits, one(Scalar::Wide(9999)));
    let error = sum_of("Decimal(4, 2)", &[Scalar::Wide(9000), Scalar::Wide(1000)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("column b"), "{error}");
}
