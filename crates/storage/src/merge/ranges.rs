//! The key space of some parts cut into ranges of about equal rows, so that several threads merge
//! the same parts.
//!
//! ```text
//!   part 1  |0 .. 3|4 ..   9|10 .. 12|      a cut is a value of the key's leading columns:
//!   part 2  |0 ..     7|8 .. 9|10 .. |      rows below it are before, all others behind it
//!              range 0    range 1  range 2
//! ```
//!
//! Rows with equal keys are in one range, since which one it is follows from the key. Cuts are first
//! keys of granules as the sparse indexes hold them; where a cut lies in a part is found there and
//! in the one granule that it falls into.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use granary_catalog::Scalar;
use granary_common::{ColumnId, Result};
use serde::{Deserialize, Serialize};

use crate::filter::Filter;
use crate::part::index::PartIndex;
use crate::part::key_range::is_whole;
use crate::read::{OpenPart, PartRef, PartScan, PartStore};
use crate::scalar::scalar_at;
use crate::schema::PartSchema;

/// Into how many ranges keys are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutting {
    /// Ranges at most.
    pub ranges_max: usize,
    /// Rows of a range, about, at least.
    pub rows_min: u64,
}

impl Cutting {
    /// Into how many ranges so many rows are cut, at least 1.
    pub fn ranges(&self, rows: u64) -> usize {
        (rows / self.rows_min.max(1)).clamp(1, self.ranges_max.max(1) as u64) as usize
    }
}

/// The rows of each part in each range, ranges in the order of keys: every row is in one, and rows
/// with equal sort keys are in the same. What of them may pass `filter` is about equal. One range
/// where rows are few, or where the parts' indexes cannot be compared.
///
/// Kinds as of [`PartStore::open`].
pub async fn key_ranges(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    parts: &[PartRef],
    filter: Option<&Filter>,
    cutting: Cutting,
) -> Result<Vec<Vec<Range<u64>>>> {
    let all = |parts: &[PartRef]| parts.iter().map(|part| 0..part.rows).collect::<Vec<_>>();
    if cutting.ranges(parts.iter().map(|part| part.rows).sum()) <= 1 {
        return Ok(vec![all(parts)]);
    }
    let mut opened = Vec::with_capacity(parts.len());
    for part in parts {
        // Cuts are about all rows, deleted ones included.
        opened.push(store.open_without(part, Arc::default()).await?);
    }
    let cuts = cuts(schema, &opened, filter, cutting);
    let mut starts: Vec<Vec<u64>> = vec![vec![0; parts.len()]];
    for cut in &cuts {
        let mut at = Vec::with_capacity(parts.len());
        for part in &opened {
            at.push(position(part, schema, cut).await?);
        }
        starts.push(at);
    }
    starts.push(parts.iter().map(|part| part.rows).collect());
    let range = |ends: &[Vec<u64>]| ends[0].iter().zip(&ends[1]).map(|(a, b)| *a..*b).collect();
    Ok(starts.windows(2).map(range).collect())
}

/// Where to cut: ascending values of leading columns of the key.
fn cuts(
    schema: &PartSchema,
    parts: &[Arc<OpenPart>],
    filter: Option<&Filter>,
    cutting: Cutting,
) -> Vec<Vec<Scalar>> {
    let columns = parts.iter().map(|part| common_key(schema, part)).min().unwrap_or(0);
    if columns == 0 {
        return Vec::new();
    }
    let mut granules: Vec<(&[Scalar], u64)> = Vec::new();
    for part in parts {
        let index = part.index();
        let selected = match filter {
            Some(filter) => part.prune(filter).ranges,
            None => part.all_rows().ranges,
        };
        for rows in selected {
            let first = (rows.start / index.granularity) as usize;
            for granule in first..rows.end.div_ceil(index.granularity) as usize {
                let of = index.rows_of(granule..granule + 1);
                let weight = of.end.min(rows.end) - of.start.max(rows.start);
                granules.push((cut_value(&index.first_keys[granule][..columns]), weight));
            }
        }
    }
    granules.sort();
    evenly(&granules, cutting)
}

/// The values at which about equal rows are on both sides.
fn evenly(granules: &[(&[Scalar], u64)], cutting: Cutting) -> Vec<Vec<Scalar>> {
    let total: u64 = granules.iter().map(|(_, rows)| rows).sum();
    let ranges = cutting.ranges(total) as u64;
    let mut cuts: Vec<Vec<Scalar>> = Vec::new();
    let (mut before, mut wanted) = (0, 1);
    for same in granules.chunk_by(|a, b| a.0 == b.0) {
        let share = u128::from(before) * u128::from(ranges) / u128::from(total.max(1));
        if wanted < ranges && share >= u128::from(wanted) {
            cuts.push(same[0].0.to_vec());
            wanted = share as u64 + 1;
        }
        before += same.iter().map(|(_, rows)| rows).sum::<u64>();
    }
    cuts
}

/// How many leading columns of the sort key the part's index holds in the form of `schema`.
pub(super) fn common_key(schema: &PartSchema, part: &OpenPart) -> usize {
    let index = part.index();
    if index.first_keys.is_empty() {
        // Without rows it has no say.
        return if index.rows == 0 { usize::MAX } else { 0 };
    }
    let stored = &part.descriptor().schema;
    let same = |(own, id): &(&ColumnId, &ColumnId)| {
        let types = (stored.column(**own), schema.column(**id));
        own == id && matches!(types, (Ok(own), Ok(now)) if own.column_type == now.column_type)
    };
    index.key.iter().zip(&schema.sort_key).take_while(same).count()
}

/// The first key of a granule up to the column, if any, of which the index may hold only the
/// beginning. Such a beginning cuts as exactly as a value: what it begins is not below it.
fn cut_value(first: &[Scalar]) -> &[Scalar] {
    let end = first.iter().position(|value| !is_whole(value));
    &first[..end.map_or(first.len(), |at| at + 1)]
}

/// How many rows of `part` are below `cut`.
async fn position(part: &OpenPart, schema: &Arc<PartSchema>, cut: &[Scalar]) -> Result<u64> {
    let index = part.index();
    let begins_below = granules_below(index, cut);
    let Some(last) = begins_below.checked_sub(1) else { return Ok(0) };
    let rows = index.rows_of(last..begins_below);
    let scan = PartScan {
        columns: schema.sort_key[..cut.len()].to_vec(),
        filter: None,
        ordered: true,
        rows: Some(vec![rows.clone()]),
        batch_rows: 0,
        limit: None,
        hints: Vec::new(),
    };
    let mut batches = part.scan(Arc::clone(schema), scan);
    let mut below = rows.start;
    while let Some(batch) = batches.try_next().await? {
        let found = rows_below(&batch, cut)?;
        below += found as u64;
        if found < batch.num_rows() {
            break;
        }
    }
    Ok(below)
}

/// How many granules begin below `cut`. What the index holds of a key is below the cut just when the
/// key is: up to the cut's last column the cut's values are whole, and of the last one the beginning
/// decides, as the cut is no longer.
fn granules_below(index: &PartIndex, cut: &[Scalar]) -> usize {
    index.first_keys.partition_point(|first| first[..cut.len()] < *cut)
}

/// How many rows of a sorted batch are below `cut`, whose columns are those of the batch.
fn rows_below(batch: &RecordBatch, cut: &[Scalar]) -> Result<usize> {
    let (mut start, mut end) = (0, batch.num_rows());
    while start < end {
        let middle = start + (end - start) / 2;
        let key = batch.columns().iter().map(|values| scalar_at(values, middle));
        if key.collect::<Result<Vec<_>>>()?.as_slice() < cut {
            start = middle + 1;
        } else {
            end = middle;
        }
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sort_order::{canonical_floats, sort_permutation};
    use crate::test_support::{Counter, block, memory, part_ref, rows, store, table};
    use crate::write::{WriteOptions, write_block};
    use arrow::compute::take_record_batch;
    use proptest::prelude::*;

    type Row = Vec<Scalar>;

    const LONG: &str = "a text longer than bounds are, ";

    /// Values of the key's columns, in which all that is special about them occurs.
    fn key() -> impl Strategy<Value = Row> {
        let float = prop::sample::select(vec![f64::NAN, -0.0, 0.0, 1.5, f64::INFINITY, -3.0]);
        let float = prop::option::of(float).prop_map(|v| v.map_or(Scalar::Null, Scalar::Float));
        let text = prop_oneof![
            "[ab]{0,2}",
            "[ab]{0,1}".prop_map(|end| format!("{LONG}{end}")),
            Just(LONG[..24].to_owned()),
        ];
        let text = prop::option::of(text).prop_map(|v| v.map_or(Scalar::Null, Scalar::Text));
        let number = prop::option::of(0..3_i64).prop_map(|v| v.map_or(Scalar::Null, Scalar::Int));
        (float, text, number).prop_map(|(float, text, number)| vec![float, text, number])
    }

    /// The keys of the rows of a range of a part.
    async fn keys(
        store: &PartStore,
        schema: &Arc<PartSchema>,
        part: &PartRef,
        of: &Range<u64>,
    ) -> Vec<Row> {
        let scan = PartScan {
            columns: schema.sort_key.clone(),
            filter: None,
            ordered: true,
            rows: Some(vec![of.clone()]),
            batch_rows: 0,
            limit: None,
            hints: Vec::new(),
        };
        let open = store.open(part).await.unwrap();
        let batches: Vec<_> = open.scan(Arc::clone(schema), scan).try_collect().await.unwrap();
        rows(&batches)
    }

    /// Cuts parts of `inserts`; how many rows each range has.
    fn check(
        inserts: &[Vec<Row>],
        granularity: usize,
        primary: usize,
        ranges_max: usize,
    ) -> Vec<usize> {
        let types = ["Nullable(Float64)", "Nullable(String)", "Nullable(Int32)"];
        let mut schema = table(&types, &[0, 1, 2], &[], granularity);
        schema.primary_key_len = primary;
        let schema = Arc::new(schema);
        let work = async {
            let (volume, ids, options) = (memory(), Counter::default(), WriteOptions::default());
            let mut parts = Vec::new();
            for rows in inserts {
                let (block, at) = (block(&schema, rows), volume.part_location());
                let new = write_block(&volume, at, &schema, &ids, block, &options).await.unwrap();
                parts.push(part_ref(&schema, &new[0]));
            }
            let store = store(&volume);
            let cutting = Cutting { ranges_max, rows_min: 1 };
            let ranges = key_ranges(&store, &schema, &parts, None, cutting).await.unwrap();
            let (mut found, mut sizes): (Vec<Row>, Vec<usize>) = Default::default();
            let mut ends = vec![0; parts.len()];
            for range in ranges {
                let mut here = Vec::new();
                for (place, (part, rows)) in parts.iter().zip(range).enumerate() {
                    assert_eq!(rows.start, ends[place], "ranges follow each other");
                    ends[place] = rows.end;
                    if !rows.is_empty() {
                        here.extend(keys(&store, &schema, part, &rows).await);
                    }
                }
                here.sort();
                if let (Some(last), Some(first)) = (found.last(), here.first()) {
                    assert!(last < first, "{last:?} and {first:?} are apart");
                }
                sizes.push(here.len());
                found.extend(here);
            }
            assert_eq!(found.len(), inserts.iter().map(Vec::len).sum::<usize>());
            sizes
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// Ranges follow each other, share no key and hold every row.
        #[test]
        fn ranges_keep_equal_keys_together(
            inserts in prop::collection::vec(prop::collection::vec(key(), 1..20), 1..5),
            granularity in 1..5_usize,
            primary in 1..4_usize,
            ranges_max in 1..6_usize,
        ) {
            let sizes = check(&inserts, granularity, primary, ranges_max);
            prop_assert!(sizes.len() <= ranges_max);
        }
    }

    #[test]
    fn ranges_are_even_and_few() {
        let row = |key: i64| vec![Scalar::Float(key as f64), Scalar::Null, Scalar::Null];
        let part = |part: i64| (0..100).map(|at| row(at * 4 + part)).collect::<Vec<Row>>();
        let inserts: Vec<Vec<Row>> = (0..4).map(part).collect();
        let sizes = check(&inserts, 4, 1, 4);
        assert!(
            sizes.len() == 4 && sizes.iter().all(|rows| (84..=116).contains(rows)),
            "{sizes:?}"
        );
        assert_eq!(check(&inserts, 4, 1, 1), [400]);
        // One value cannot be cut.
        let same = vec![vec![row(1); 50], vec![row(1); 50]];
        assert_eq!(check(&same, 4, 3, 4), [100]);
        let cutting = Cutting { ranges_max: 8, rows_min: 100 };
        assert_eq!([0, 99, 250, 10_000].map(|rows| cutting.ranges(rows)), [1, 1, 2, 8]);
    }

    #[test]
    fn sorted_rows_are_searched() {
        let schema = table(&["Nullable(Float64)"], &[0], &[], 8);
        let floats = [1.0, f64::NAN, -1.0].map(Scalar::Float);
        let data: Vec<Row> = floats.into_iter().chain([Scalar::Null]).map(|v| vec![v]).collect();
        let batch = canonical_floats(block(&schema, &data)).unwrap();
        let order = sort_permutation(batch.columns()).unwrap().unwrap();
        let sorted = take_record_batch(&batch, &order).unwrap();
        for (cut, below) in [(-1.0, 0), (0.0, 1), (1.0, 1), (f64::NAN, 2)] {
            assert_eq!(rows_below(&sorted, &[Scalar::Float(cut)]).unwrap(), below, "{cut}");
        }
        assert_eq!(rows_below(&sorted, &[Scalar::Null]).unwrap(), 3);
    }
}
