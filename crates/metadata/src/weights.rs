//! Buckets change places when the workers hold as many of them as each other, and some have still much
//! more to do or to keep than others. Pure.
//!
//! ```text
//!   load and bytes of each bucket, shared by its replicas ─► weight of each worker
//!   heaviest far above the mean ─► a heavy bucket of it for a light one of the lightest, same table
//! ```
//!
//! A bucket always goes for another one, so workers hold as many as before and nothing of what evens out
//! numbers is undone. Nothing is done until the heaviest worker is well above the mean, and a swap must
//! bring it down by a good part of the mean without making the other one as heavy; what is weighed is
//! what the placement makes of a bucket's weight, not what a worker had to do lately. So a swap is never
//! taken back while the weights stay what they are, and must change by a good part before it is.

use std::collections::BTreeMap;

use granary_catalog::{Bucket, BucketPlacement, Snapshot, TableState};
use granary_common::{BucketIndex, TableId, WorkerId};

use crate::balance::with_move;
use crate::placement::{Health, Healths};

/// The heaviest worker must weigh so many percent of the mean before anything is done.
const ABOVE_PERCENT: u64 = 150;
/// And lose so many percent of the mean by it.
const GAIN_PERCENT: u64 = 10;
/// With less to do on average, in bytes a second, workers are even enough.
const LOAD_MEAN_MIN: u64 = 8 << 20;
/// Likewise with fewer bytes to keep.
const BYTES_MEAN_MIN: u64 = 8 << 30;

/// The weight of buckets, of all their replicas together.
pub(crate) type Weights = BTreeMap<(TableId, BucketIndex), u64>;

/// The swap that helps most, by load, else by bytes: two buckets of a table, each with one more
/// replica in the place of one that goes.
pub(crate) fn eased(
    snapshot: &Snapshot,
    health: &Healths,
    loads: &Weights,
) -> Vec<BucketPlacement> {
    let by_load = swapped(snapshot, health, loads, LOAD_MEAN_MIN);
    if !by_load.is_empty() {
        return by_load;
    }
    swapped(snapshot, health, &bytes(snapshot), BYTES_MEAN_MIN)
}

/// The bytes that replicas of each bucket keep.
fn bytes(snapshot: &Snapshot) -> Weights {
    let mut weights = Weights::new();
    for state in tables(snapshot) {
        for part in state.visible_parts(snapshot.version) {
            *weights.entry((state.table.id, part.bucket)).or_insert(0) += part.bytes;
        }
        for bucket in state.buckets.values() {
            if let Some(weight) = weights.get_mut(&(state.table.id, bucket.index)) {
                *weight *= bucket.replicas.len() as u64;
            }
        }
    }
    weights
}

/// Tables whose buckets may go by themselves: those of a colocation group would have to go together.
fn tables(snapshot: &Snapshot) -> impl Iterator<Item = &TableState> {
    let tables = snapshot.tables.values().filter(|state| state.table.dropped.is_none());
    tables.filter(|state| state.table.colocation_group.is_none())
}

fn share(bucket: &Bucket, weights: &Weights) -> u64 {
    let weight = weights.get(&(bucket.table, bucket.index)).copied().unwrap_or(0);
    weight / bucket.replicas.len().max(1) as u64
}

fn is_at_rest(bucket: &Bucket) -> bool {
    bucket.replicas.len() == bucket.in_sync.len()
}

fn swapped(
    snapshot: &Snapshot,
    health: &Healths,
    weights: &Weights,
    mean_min: u64,
) -> Vec<BucketPlacement> {
    let mut of_workers: BTreeMap<WorkerId, u64> =
        health.iter().filter(|(_, of)| **of == Health::Alive).map(|(id, _)| (*id, 0)).collect();
    let all = snapshot.tables.values().filter(|state| state.table.dropped.is_none());
    for bucket in all.flat_map(|state| state.buckets.values()) {
        for worker in &bucket.replicas {
            if let Some(weight) = of_workers.get_mut(worker) {
                *weight += share(bucket, weights);
            }
        }
    }
    let mean = of_workers.values().sum::<u64>() / of_workers.len().max(1) as u64;
    let heaviest = of_workers.iter().max_by_key(|(id, weight)| (**weight, std::cmp::Reverse(**id)));
    let lightest = of_workers.iter().min_by_key(|(id, weight)| (**weight, **id));
    let (Some((from, heavy)), Some((to, light))) = (heaviest, lightest) else { return Vec::new() };
    if mean < mean_min || heavy * 100 < mean * ABOVE_PERCENT {
        return Vec::new();
    }
    // What changes hands: as much as makes the two even is best, and more would turn them round.
    let (gap, gain_min) = (heavy - light, mean * GAIN_PERCENT / 100);
    let pairs = tables(snapshot).filter_map(|state| best_pair(state, (*from, *to), weights, gap));
    let best = pairs.filter(|pair| pair.gain >= gain_min).max_by_key(|pair| pair.gain);
    best.map_or(Vec::new(), |pair| {
        vec![with_move(pair.heavy, *from, *to), with_move(pair.light, *to, *from)]
    })
}

struct Pair<'a> {
    heavy: &'a Bucket,
    light: &'a Bucket,
    gain: u64,
}

/// The buckets of a table that change places best between two workers whose weights differ by `gap`.
fn best_pair<'a>(
    state: &'a TableState,
    (from, to): (WorkerId, WorkerId),
    weights: &Weights,
    gap: u64,
) -> Option<Pair<'a>> {
    let only_on = |on: WorkerId, not_on: WorkerId| {
        let buckets = state.buckets.values().map(|bucket| &**bucket);
        buckets.filter(move |bucket| {
            is_at_rest(bucket)
                && bucket.replicas.contains(&on)
                && !bucket.replicas.contains(&not_on)
        })
    };
    let light = only_on(to, from).min_by_key(|bucket| (share(bucket, weights), bucket.index))?;
    let pairs = only_on(from, to).filter_map(|heavy| {
        let moved = share(heavy, weights).checked_sub(share(light, weights))?;
        // The heavier of the two afterwards is so much lighter than the heaviest was.
        let gain = moved.min(gap.checked_sub(moved)?);
        Some(Pair { heavy, light, gain })
    });
    pairs.max_by_key(|pair| (pair.gain, std::cmp::Reverse(pair.heavy.index)))
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
