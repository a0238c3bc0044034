//! Splits of parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use granary_catalog::layout::targets;
use granary_catalog::{NewPart, PartitionValue, Scalar};
use granary_common::ColumnId;

use crate::bucket_hash::{bucket_of, hash_columns};
use crate::deletions::Deletions;
use crate::merge::{Dealing, MergeProgress, SplitResult, SplitSpec, split_parts};
use crate::read::{PartRef, PartStore};
use crate::schema::PartSchema;
use crate::test_support::{Counter, block, memory, part_ref, rows, scanned, store, table, whole};
use crate::volume::Volume;
use crate::write::{WriteOptions, write_block};

struct Bench {
    volume: Arc<Volume>,
    store: PartStore,
    schema: PartSchema,
    ids: Counter,
}

/// Rows of a key that is in `bucket` of `before`, and a text.
fn rows_of(keys: std::ops::Range<i64>, bucket: u32, before: u32) -> Vec<Vec<Scalar>> {
    let is_in = |key: &i64| {
        let key = arrow::array::Int64Array::from(vec![*key]);
        bucket_of(hash_columns(&[Arc::new(key)]).unwrap()[0], before).0 == bucket
    };
    let row = |key: i64| vec![Scalar::Int(key), Scalar::Text(format!("text {key} of some length"))];
    keys.filter(is_in).map(row).collect()
}

impl Bench {
    fn new() -> Bench {
        let volume = memory();
        let schema = table(&["Int64", "String"], &[0], &[], 16);
        Bench { store: store(&volume), volume, schema, ids: Counter::default() }
    }

    async fn insert(&self, rows: &[Vec<Scalar>]) -> PartRef {
        let block = block(&self.schema, rows);
        let (location, options) = (self.volume.part_location(), WriteOptions::default());
        let written =
            write_block(&self.volume, location, &self.schema, &self.ids, block, &options).await;
        part_ref(&self.schema, &written.unwrap().pop().unwrap())
    }

    async fn split(
        &self,
        inputs: Vec<PartRef>,
        dealing: Dealing,
        (buckets, targets): (u32, Vec<u32>),
    ) -> granary_common::Result<SplitResult> {
        let spec = SplitSpec {
            schema: Arc::new(self.schema.clone()),
            inputs,
            location: self.volume.part_location(),
            partition: PartitionValue::default(),
            dealing,
            buckets,
            targets,
            skip: None,
            projections: None,
        };
        let progress = Arc::new(MergeProgress::default());
        let split = split_parts(&self.store, &self.volume, &self.ids, spec, Arc::clone(&progress));
        let split = split.await?;
        assert!((progress.fraction() - 1.0).abs() < 1e-9);
        Ok(split)
    }

    async fn rows(&self, part: &NewPart, deleted: Option<&Deletions>) -> Vec<Vec<Scalar>> {
        let mut part = part_ref(&self.schema, part);
        part.rows_deleted = deleted.map_or(0, Deletions::len);
        part.deletions = deleted.map(Deletions::to_inline);
        let open = self.store.open(&part).await.unwrap();
        rows(&scanned(&open, &self.schema, whole(&self.schema)).await.unwrap())
    }
}

fn without(mut part: PartRef, deleted: &[u32]) -> PartRef {
    let mut rows = Deletions::new();
    deleted.iter().for_each(|row| {
        rows.insert(*row);
    });
    part.rows_deleted = rows.len();
    part.deletions = Some(rows.to_inline());
    part
}

fn key(row: &[Scalar]) -> i64 {
    match row[0] {
        Scalar::Int(key) => key,
        _ => panic!("not a key: {row:?}"),
    }
}

/// From `before` buckets to `after`, of which more than one pass of writers may be needed; rows are deleted
/// before and after the inputs are read.
async fn check(before: u32, after: u32) {
    let bench = Bench::new();
    let bucket = before - 1;
    let (old, new) = (rows_of(0..3000, bucket, before), rows_of(1500..4000, bucket, before));
    let inputs = vec![without(bench.insert(&old).await, &[0, 7, 8]), bench.insert(&new).await];
    let targets = targets(bucket, before, after);
    let dealing = Dealing::Hash(vec![ColumnId(0)]);
    let split = bench.split(inputs, dealing, (after, targets.clone())).await.unwrap();
    // Rows 9 and 11 of the first input and 1 of the second go; 7 is gone already.
    let (mut first, mut second) = (Deletions::new(), Deletions::new());
    [0, 7, 8, 9, 11].iter().for_each(|row| {
        first.insert(*row);
    });
    second.insert(1);
    let deleted = split.rows.translate(&[(0, &first), (1, &second)]).unwrap();
    assert_eq!(deleted.values().map(Deletions::len).sum::<u64>(), 3);
    let kept = |rows: &[Vec<Scalar>], deleted: &Deletions| -> Vec<Vec<Scalar>> {
        let places = 0_u32..;
        let kept = rows.iter().zip(places).filter(|(_, place)| !deleted.contains(*place));
        kept.map(|(row, _)| row.clone()).collect()
    };
    let mut expected = [kept(&old, &first), kept(&new, &second)].concat();
    expected.sort_by_key(|row| key(row));
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (target, part) in &split.parts {
        let rows = bench.rows(part, deleted.get(target)).await;
        assert!(targets.contains(target) && seen.insert(*target));
        assert!(rows.is_sorted_by_key(|row| key(row)));
        let of_target = rows_of(0..4000, *target, after);
        assert!(rows.iter().all(|row| of_target.contains(row)), "{before} to {after}");
        found.extend(rows);
    }
    found.sort_by_key(|row| key(row));
    assert_eq!(found, expected, "{before} to {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_where_their_hash_says_and_none_is_lost() {
    for (before, after) in [(1, 1), (2, 4), (3, 2), (4, 3), (1, 11), (5, 1)] {
        check(before, after).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_dealt_out_in_turn() {
    let bench = Bench::new();
    let input = bench.insert(&rows_of(0..500, 0, 1)).await;
    let split = bench.split(vec![input], Dealing::Turns(2), (3, vec![2])).await.unwrap();
    let [(2, part)] = split.parts.as_slice() else { panic!("{:?}", split.parts) };
    assert_eq!(bench.rows(part, None).await, rows_of(0..500, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_has_no_target_fails_the_split_and_leaves_nothing() {
    let bench = Bench::new();
    let input = bench.insert(&rows_of(0..500, 0, 1)).await;
    let dealing = Dealing::Hash(vec![ColumnId(0)]);
    let refused = bench.split(vec![input], dealing, (2, vec![0])).await;
    assert!(refused.is_err());
}
