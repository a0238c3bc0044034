//! Columns that a part lacks and that follow from others of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use granary_catalog::{AddedExpression, Column, ColumnType, EarlierColumn, RowExpression, Scalar};
use granary_common::{ColumnId, Error, ErrorKind, Result};

use super::PartStore;
use crate::schema::{PartColumn, PartSchema};
use crate::test_support::*;
use crate::ttl::{GroupFolder, RowComputation, RowEvaluator};

/// The sum of its columns; NULL above 100, and none at all below 0.
#[derive(Debug)]
struct Sum;

impl RowEvaluator for Sum {
    fn compile(&self, _: &RowExpression, _: &Schema) -> Result<Arc<dyn RowComputation>> {
        Ok(Arc::new(Sum))
    }

    fn folder(&self, _: &[RowExpression], _: &Schema) -> Result<Box<dyn GroupFolder>> {
        Err(Error::internal("no aggregates here"))
    }

    fn is_monotone(&self, _: &RowExpression, _: &Schema) -> bool {
        false
    }
}

impl RowComputation for Sum {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let numbers = |row: usize| {
            rows.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(row)).sum()
        };
        let sums: Vec<i64> = (0..rows.num_rows()).map(numbers).collect();
        if sums.iter().any(|sum| *sum < 0) {
            return Err(Error::invalid("it is negative"));
        }
        let sums = sums.into_iter().map(|sum| Some(sum).filter(|sum| *sum <= 100));
        Ok(Arc::new(sums.collect::<Int64Array>()))
    }
}

fn column(id: u32, name: &str, column_type: &str) -> Column {
    Column::new(ColumnId(id), name, column_type.parse::<ColumnType>().expect("a type"))
}

/// A column that is the sum of `inputs` in older rows.
fn sum(id: u32, name: &str, column_type: &str, inputs: &[Column]) -> Column {
    let columns = inputs.iter().map(|input| input.id).collect();
    let expression = RowExpression { plan: Vec::new(), columns };
    let computed = AddedExpression { expression, inputs: inputs.to_vec(), since: 2 };
    Column { computed: Some(Box::new(computed)), ..column(id, name, column_type) }
}

async fn rows_of(
    store: &PartStore,
    schema: &PartSchema,
    part: &crate::read::PartRef,
    columns: &[u32],
) -> Vec<Vec<i64>> {
    let mut scan = whole(schema);
    scan.columns = columns.iter().copied().map(ColumnId).collect();
    let open = store.open(part).await.expect("opens");
    let found = scanned(&open, schema, scan).await.expect("scans");
    let number = |value: Scalar| match value {
        Scalar::Int(number) => number,
        Scalar::Null => -1,
        other => panic!("{other:?}"),
    };
    rows(&found).into_iter().map(|row| row.into_iter().map(number).collect()).collect()
}

#[tokio::test]
async fn columns_are_computed_from_what_a_part_has() {
    let volume = memory();
    let old = table(&["Int64", "Int64"], &[0], &[], 4);
    let data: Vec<Vec<Scalar>> =
        (0..10).map(|n| vec![Scalar::Int(n), Scalar::Int(n * 20)]).collect();
    let parts = write(&volume, &old, block(&old, &data)).await.expect("written");
    let part = part_ref(&old, &parts[0]);
    let (a, b) = (column(0, "a", "Int64"), column(1, "b", "Int64"));
    // A constant column, one that adds it up, and one over that; `b` is gone from the table, and `a`
    // has another type and id by now.
    let constant = Column { added: Some(Scalar::Int(3)), ..column(2, "c", "Int64") };
    let first = sum(3, "d", "Nullable(Int64)", &[a.clone(), b, constant.clone()]);
    let plain = Column { added: Some(Scalar::Int(0)), ..constant.clone() };
    let second = sum(4, "e", "Int64", &[a.clone(), plain]);
    let third = sum(5, "f", "Int64", &[second.clone(), second.clone()]);
    let earlier = EarlierColumn { id: a.id, column_type: a.column_type.clone(), until: 2 };
    let wider = Column { earlier: vec![earlier], ..column(6, "a", "Nullable(Int64)") };
    let mut now = old.clone();
    let columns = [wider, constant, first, second, third];
    now.columns = columns.iter().map(PartColumn::of).collect();
    now.sort_key = vec![ColumnId(6)];
    let store = store(&volume).with_evaluator(Arc::new(Sum));
    let expected = |n: i64| {
        // NULL stays where the column may be NULL.
        let sum = Some(n + n * 20 + 3).filter(|sum| *sum <= 100).unwrap_or(-1);
        vec![n, 3, sum, n, 2 * n]
    };
    let found = rows_of(&store, &now, &part, &[6, 2, 3, 4, 5]).await;
    assert_eq!(found, (0..10).map(expected).collect::<Vec<_>>());
    // Alone, and with what it reads behind it.
    let found = rows_of(&store, &now, &part, &[5]).await;
    assert_eq!(found, (0..10).map(|n| vec![2 * n]).collect::<Vec<_>>());
    let found = rows_of(&store, &now, &part, &[4, 6]).await;
    assert_eq!(found, (0..10).map(|n| vec![n, n]).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_null_is_zero_and_parts_that_have_the_column_keep_it() {
    let volume = memory();
    let old = table(&["Int64"], &[0], &[], 4);
    let data: Vec<Vec<Scalar>> = (98..104).map(|n| vec![Scalar::Int(n)]).collect();
    let parts = write(&volume, &old, block(&old, &data)).await.expect("written");
    let part = part_ref(&old, &parts[0]);
    let mut now = old.clone();
    now.columns.push(PartColumn::of(&sum(1, "b", "Int64", &[column(0, "a", "Int64")])));
    let with_sums = store(&volume).with_evaluator(Arc::new(Sum));
    let found = rows_of(&with_sums, &now, &part, &[0, 1]).await;
    let expected = [[98, 98], [99, 99], [100, 100], [101, 0], [102, 0], [103, 0]];
    assert_eq!(found, expected.map(Vec::from));
    // Without one who computes, nothing is made up.
    let open = store(&volume).open(&part).await.expect("opens");
    let error = scanned(&open, &now, whole(&now)).await.expect_err("nobody computes");
    assert_eq!(error.kind(), ErrorKind::Internal);

    let newer = memory();
    let data: Vec<Vec<Scalar>> = (0..3).map(|n| vec![Scalar::Int(n), Scalar::Int(7)]).collect();
    let parts = write(&newer, &now, block(&now, &data)).await.expect("written");
    let part = part_ref(&now, &parts[0]);
    let with_sums = store(&newer).with_evaluator(Arc::new(Sum));
    let found = rows_of(&with_sums, &now, &part, &[1]).await;
    assert_eq!(found, vec![vec![7]; 3]);
    let open = with_sums.open(&part).await.expect("opens");
    assert!(open.descriptor().schema.columns.iter().all(|column| column.computed.is_none()));
}

#[tokio::test]
async fn a_row_without_a_value_is_named() {
    let volume = memory();
    let old = table(&["Int64", "Int64"], &[0], &[], 4);
    let data: Vec<Vec<Scalar>> =
        (0..10).map(|n| vec![Scalar::Int(n), Scalar::Int(5 - n)]).collect();
    let parts = write(&volume, &old, block(&old, &data)).await.expect("written");
    let part = part_ref(&old, &parts[0]);
    let mut now = old.clone();
    now.columns.push(PartColumn::of(&sum(2, "c", "Int64", &[column(1, "b", "Int64")])));
    let store = store(&volume).with_evaluator(Arc::new(Sum));
    let open = store.open(&part).await.expect("opens");
    let error = scanned(&open, &now, whole(&now)).await.expect_err("negative");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let expected = "column 'c' has no value in an older row where b = -1: the default that it was added \
                    with fails there: it is negative; UPDATE the column";
    assert!(error.message().contains(expected), "{error}");
    // Columns that have values can be read.
    let found = rows_of(&store, &now, &part, &[1]).await;
    assert_eq!(found.len(), 10);
}
