//! Which parts of a bucket may share keys, from their key ranges: FINAL merges no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use granary_catalog::{KeyRange, Part, PartitionValue};
use granary_common::{BucketIndex, ColumnId, PartId};

/// The number of each part's run. Parts of one bucket and number may share keys, others do not.
/// Parts of several partitions do, unless the partition (`partition`, of columns of `sort_key`)
/// follows from the key. `bucket_of`: what tells keys apart, in place of buckets. With
/// `buckets_apart` false keys may be in any bucket, and there is one run.
pub fn runs(
    parts: &[&Arc<Part>],
    sort_key: &[ColumnId],
    partition: &[ColumnId],
    buckets_apart: bool,
    bucket_of: impl Fn(&Part) -> BucketIndex,
) -> BTreeMap<PartId, u32> {
    if !buckets_apart {
        return parts.iter().map(|part| (part.id, 0)).collect();
    }
    let partitions_apart = partition.iter().all(|column| sort_key.contains(column));
    let mut apart: BTreeMap<(BucketIndex, Option<&PartitionValue>), Vec<&Part>> = BTreeMap::new();
    for part in parts {
        let partition = partitions_apart.then_some(&part.partition);
        apart.entry((bucket_of(part), partition)).or_default().push(part);
    }
    let mut numbers = BTreeMap::new();
    let mut number = 0;
    for (_, parts) in apart {
        number = overlapping(parts, number, &mut numbers);
    }
    numbers
}

/// Numbers `parts` from `number` on; gives the next free number.
fn overlapping(mut parts: Vec<&Part>, mut number: u32, into: &mut BTreeMap<PartId, u32>) -> u32 {
    if parts.iter().any(|part| part.key_range.is_none()) {
        into.extend(parts.iter().map(|part| (part.id, number)));
        return number + 1;
    }
    let range = |part: &&Part| part.key_range.clone();
    parts.sort_by_cached_key(|part| range(part).map(|range| range.min));
    let mut reach: Option<KeyRange> = None;
    for part in parts {
        let Some(own) = range(&part) else { continue };
        let joined = match reach.take() {
            Some(before) if touches(&before, &own) => {
                KeyRange { max: before.max.zip(own.max).map(|(a, b)| a.max(b)), ..before }
            }
            Some(_) => {
                number += 1;
                own
            }
            None => own,
        };
        into.insert(part.id, number);
        reach = Some(joined);
    }
    number + 1
}

/// Whether a range that begins later begins before the other ends.
fn touches(before: &KeyRange, later: &KeyRange) -> bool {
    before.max.as_ref().is_none_or(|max| later.min <= *max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_catalog::{PartLocation, Scalar};
    use granary_common::{CatalogVersion, TableId, WorkerId};

    fn part(id: u64, bucket: u32, partition: i64, range: Option<(i64, Option<i64>)>) -> Arc<Part> {
        let int = |value: i64| vec![Scalar::Int(value)];
        Arc::new(Part {
            id: PartId(id),
            table: TableId(1),
            bucket: BucketIndex(bucket),
            partition: PartitionValue(int(partition)),
            rows: 1,
            bytes: 1,
            key_range: range.map(|(min, max)| KeyRange { min: int(min), max: max.map(int) }),
            schema_version: 1,
            level: 0,
            location: PartLocation::Local { copies: vec![WorkerId(1)], disk: None },
            inserted: ((CatalogVersion(id), 0), (CatalogVersion(id), 0)),
            added: CatalogVersion(id),
            removed: None,
            deletions: vec![],
            files: None,
            detached: false,
        })
    }

    fn check(parts: &[Arc<Part>], partition: &[u32], expected: &[&[u64]]) {
        let partition: Vec<ColumnId> = partition.iter().copied().map(ColumnId).collect();
        let parts: Vec<&Arc<Part>> = parts.iter().collect();
        let mut found: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (part, run) in runs(&parts, &[ColumnId(0)], &partition, true, |part| part.bucket) {
            found.entry(run).or_default().push(part.0);
        }
        let found: Vec<Vec<u64>> = found.into_values().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn runs_are_parts_whose_keys_may_meet() {
        let within = |min, max| Some((min, Some(max)));
        let parts = [
            part(1, 0, 1, within(0, 10)),
            part(2, 0, 2, within(10, 20)),
            part(3, 0, 1, within(21, 30)),
            part(4, 1, 1, within(5, 6)),
            part(5, 0, 1, within(25, 26)),
            part(6, 0, 1, within(27, 28)),
        ];
        check(&parts, &[9], &[&[1, 2], &[3, 5, 6], &[4]]);
        check(&parts, &[0], &[&[1], &[3, 5, 6], &[2], &[4]]);
        let unbounded = [part(1, 0, 1, Some((0, None))), part(2, 0, 1, within(90, 91))];
        check(&unbounded, &[], &[&[1, 2]]);
        let unknown = [part(1, 0, 1, None), part(2, 0, 1, within(90, 91))];
        check(&unknown, &[], &[&[1, 2]]);
    }
}
