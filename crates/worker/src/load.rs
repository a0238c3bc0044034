//! What buckets give this worker to do: bytes that scans read and inserts write, smoothed, so that a
//! single large query moves nothing.

use std::collections::BTreeMap;

use granary_catalog::{BucketLoad, Snapshot};
use granary_common::{BucketIndex, TableId};
use granary_storage::PartStore;
use parking_lot::Mutex;

/// What lies further back counts for less than a third.
const MEMORY_MS: f64 = 120_000.0;
/// Buckets that are told of, those with the most load.
const BUCKETS_MAX: usize = 128;
/// A bucket with less is forgotten.
const BYTES_PER_S_MIN: f64 = 1024.0;

type Key = (TableId, BucketIndex);

/// What is known of the load of buckets.
#[derive(Debug, Default)]
pub struct LoadMeter(Mutex<Meter>);

#[derive(Debug, Default)]
struct Meter {
    /// Bytes that were written since the last look.
    written: BTreeMap<Key, u64>,
    smoothed: BTreeMap<Key, f64>,
    looked_ms: Option<u64>,
}

impl LoadMeter {
    /// An insert has written `bytes` of a bucket.
    pub fn note_written(&self, table: TableId, bucket: BucketIndex, bytes: u64) {
        *self.0.lock().written.entry((table, bucket)).or_insert(0) += bytes;
    }

    /// The load of the buckets that have most of it, at `now_ms` of the monotonic clock.
    pub fn look(&self, store: &PartStore, snapshot: &Snapshot, now_ms: u64) -> Vec<BucketLoad> {
        let mut meter = self.0.lock();
        let mut bytes = std::mem::take(&mut meter.written);
        for ((table, part), read) in store.reads().take() {
            let state = snapshot.tables.get(&table);
            // One that has left meanwhile was read for the last time.
            if let Some(part) = state.and_then(|state| state.parts.get(&part)) {
                *bytes.entry((table, part.bucket)).or_insert(0) += read;
            }
        }
        let elapsed_ms = meter.looked_ms.map_or(0, |at| now_ms.saturating_sub(at));
        meter.looked_ms = Some(now_ms);
        smooth(&mut meter.smoothed, &bytes, elapsed_ms);
        top(&meter.smoothed)
    }
}

/// Takes `bytes` of the last `elapsed_ms` into the average.
fn smooth(smoothed: &mut BTreeMap<Key, f64>, bytes: &BTreeMap<Key, u64>, elapsed_ms: u64) {
    if elapsed_ms == 0 {
        return;
    }
    let share = 1.0 - (-(elapsed_ms as f64) / MEMORY_MS).exp();
    for key in bytes.keys() {
        smoothed.entry(*key).or_insert(0.0);
    }
    for (key, average) in smoothed.iter_mut() {
        let now = bytes.get(key).copied().unwrap_or(0) as f64 * 1000.0 / elapsed_ms as f64;
        *average += share * (now - *average);
    }
    smoothed.retain(|key, average| *average >= BYTES_PER_S_MIN || bytes.contains_key(key));
}

fn top(smoothed: &BTreeMap<Key, f64>) -> Vec<BucketLoad> {
    let load = |((table, bucket), average): (&Key, &f64)| BucketLoad {
        table: *table,
        bucket: *bucket,
        bytes_per_s: *average as u64,
    };
    let mut loads: Vec<BucketLoad> = smoothed.iter().map(load).collect();
    loads.sort_by_key(|load| std::cmp::Reverse(load.bytes_per_s));
    loads.truncate(BUCKETS_MAX);
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: Key = (TableId(1), BucketIndex(0));
    const COLD: Key = (TableId(1), BucketIndex(1));

    #[test]
    fn a_steady_load_is_seen_and_a_single_query_is_not() {
        let mut smoothed = BTreeMap::new();
        let second = |bytes: u64| BTreeMap::from([(HOT, bytes)]);
        for _ in 0..600 {
            smooth(&mut smoothed, &second(10 << 20), 1_000);
        }
        let steady = smoothed[&HOT] / f64::from(1 << 20);
        assert!((9.9..=10.0).contains(&steady), "{steady}");
        let mut single = BTreeMap::new();
        smooth(&mut single, &BTreeMap::from([(COLD, 100 << 20)]), 1_000);
        assert!(single[&COLD] < f64::from(1 << 20), "{single:?}");
        // It is forgotten when it ends.
        for _ in 0..3_600 {
            smooth(&mut smoothed, &BTreeMap::new(), 1_000);
        }
        assert!(smoothed.is_empty(), "{smoothed:?}");
        // Time that has not passed teaches nothing.
        smooth(&mut smoothed, &second(1), 0);
        assert!(smoothed.is_empty());
    }

    #[test]
    fn the_hottest_are_told_of_first() {
        let smoothed: BTreeMap<Key, f64> =
            (0..200).map(|at| ((TableId(1), BucketIndex(at)), f64::from(at) * 1e6)).collect();
        let loads = top(&smoothed);
        assert_eq!(loads.len(), BUCKETS_MAX);
        assert_eq!((loads[0].bucket, loads[0].bytes_per_s), (BucketIndex(199), 199_000_000));
    }
}
