use granary_catalog::CommandBody;
use granary_common::Random;
use granary_common::random::SeededRandom;

use super::*;
use crate::test_support::{add_worker, formed, new_table, run};

const MIB: u64 = 1 << 20;

fn cluster(workers: u64, buckets: u32) -> (Snapshot, TableId, Healths) {
    let mut state = formed();
    (0..workers).for_each(|at| add_worker(&mut state, &format!("w{at}"), ""));
    let table = new_table("t", buckets, Default::default());
    run(&mut state, CommandBody::CreateTable { table, if_not_exists: false });
    let table = *state.tables.keys().next().expect("a table");
    let health = state.workers.keys().map(|id| (*id, Health::Alive)).collect();
    (state, table, health)
}

/// Loads by bucket, in MiB a second.
fn loads(table: TableId, of: &[(u32, u64)]) -> Weights {
    of.iter().map(|(bucket, mib)| ((table, BucketIndex(*bucket)), mib * MIB)).collect()
}

fn of_workers(state: &Snapshot, weights: &Weights) -> Vec<u64> {
    let buckets = || state.tables.values().flat_map(|table| table.buckets.values());
    let of = |worker: &WorkerId| {
        let held = buckets().filter(|bucket| bucket.replicas.contains(worker));
        held.map(|bucket| share(bucket, weights)).sum()
    };
    state.workers.keys().map(of).collect()
}

/// Carries placements out, as if copies took no time.
fn carry_out(state: &mut Snapshot, placements: Vec<BucketPlacement>) {
    for placement in placements {
        let (table, index) = (placement.table, placement.bucket);
        run(state, CommandBody::PlaceBucket(placement));
        let bucket = |state: &Snapshot| BucketPlacement::of(&state.tables[&table].buckets[&index]);
        let mut next = bucket(state);
        next.in_sync = next.replicas.clone();
        run(state, CommandBody::PlaceBucket(next));
        let mut next = bucket(state);
        next.replicas.truncate(2);
        next.in_sync.retain(|worker| next.replicas.contains(worker));
        next.leader = next.replicas[0];
        run(state, CommandBody::PlaceBucket(next));
    }
}

/// Swaps until nothing is to be done; how many.
fn settle(state: &mut Snapshot, health: &Healths, weights: &Weights) -> usize {
    for swaps in 0..100 {
        let placements = eased(state, health, weights);
        if placements.is_empty() {
            return swaps;
        }
        assert_eq!(placements.len(), 2);
        carry_out(state, placements);
    }
    panic!("buckets change places for ever");
}

#[test]
fn swaps_begin_well_above_the_mean() {
    let (state, table, health) = cluster(4, 8);
    // Which buckets have how much load, and whether something is done.
    let even: Vec<(u32, u64)> = (0..8).map(|bucket| (bucket, 40)).collect();
    let mut slightly = even.clone();
    slightly[0].1 = 70;
    let two: Vec<WorkerId> = state.tables[&table].buckets[&BucketIndex(0)].replicas.clone();
    let on_first = |bucket: &Bucket| bucket.replicas.contains(&two[0]);
    let first = state.tables[&table].buckets.values().filter(|bucket| on_first(bucket));
    let crowded: Vec<(u32, u64)> = first.map(|bucket| (bucket.index.0, 100)).collect();
    let idle: Vec<(u32, u64)> = crowded.iter().map(|(bucket, _)| (*bucket, 1)).collect();
    for (of, expected) in [
        (even, false),
        (slightly, false),
        // One worker has every bucket that is read.
        (crowded, true),
        // It is not worth it.
        (idle, false),
        // A single bucket weighs as much wherever it is.
        (vec![(0, 500)], false),
        (vec![], false),
    ] {
        let placements = eased(&state, &health, &loads(table, &of));
        assert_eq!(!placements.is_empty(), expected, "{of:?}: {placements:?}");
    }
}

#[test]
fn a_swap_leaves_numbers_as_they_are_and_the_heaviest_lighter() {
    let (mut state, table, health) = cluster(4, 16);
    let numbers = |state: &Snapshot| {
        let of = |worker: &WorkerId| {
            let buckets = state.tables[&table].buckets.values();
            buckets.filter(|bucket| bucket.replicas.contains(worker)).count()
        };
        state.workers.keys().map(of).collect::<Vec<usize>>()
    };
    let before = numbers(&state);
    let hot = WorkerId(1);
    let buckets = state.tables[&table].buckets.values();
    let weights: Weights = buckets
        .map(|bucket| {
            let mib = if bucket.replicas.contains(&hot) { 60 } else { 6 };
            ((table, bucket.index), mib * MIB)
        })
        .collect();
    let heaviest = |state: &Snapshot| of_workers(state, &weights).into_iter().max().unwrap_or(0);
    let first = heaviest(&state);
    let swaps = settle(&mut state, &health, &weights);
    assert!((1..=8).contains(&swaps), "{swaps}");
    assert!(heaviest(&state) < first, "{:?}", of_workers(&state, &weights));
    assert_eq!(numbers(&state), before);
    assert_eq!(settle(&mut state, &health, &weights), 0, "nothing goes back");
}

#[test]
fn workers_that_are_to_be_emptied_or_away_take_no_part() {
    let (state, table, mut health) = cluster(4, 8);
    let hot = state.tables[&table].buckets.values();
    let weights: Weights = hot
        .filter(|bucket| bucket.replicas.contains(&WorkerId(1)))
        .map(|bucket| ((table, bucket.index), 100 * MIB))
        .collect();
    let light = |health: &Healths| {
        let placements = eased(&state, health, &weights);
        placements.first().and_then(|placement| placement.replicas.first().copied())
    };
    assert!(light(&health).is_some());
    for worker in [2, 3, 4] {
        health.insert(WorkerId(worker), Health::Drained);
    }
    assert_eq!(light(&health), None);
}

#[test]
fn loads_that_come_and_go_do_not_make_buckets_flap() {
    for seed in 0..20 {
        let random = SeededRandom::new(seed);
        let (mut state, table, health) = cluster(5, 40);
        // Every bucket has a load of its own, a few of them much, which goes up and down by a fifth.
        let base: Vec<u64> = (0..40)
            .map(|_| {
                if random.next_u64().is_multiple_of(10) { 200 } else { 5 + random.next_u64() % 20 }
            })
            .collect();
        let mut swaps = Vec::new();
        for _ in 0..200 {
            let noisy = |(bucket, mib): (usize, &u64)| {
                let percent = 80 + random.next_u64() % 41;
                ((table, BucketIndex(bucket as u32)), mib * MIB * percent / 100)
            };
            let weights: Weights = base.iter().enumerate().map(noisy).collect();
            let placements = eased(&state, &health, &weights);
            swaps.push(usize::from(!placements.is_empty()));
            carry_out(&mut state, placements);
        }
        let (early, late) = swaps.split_at(40);
        let total: usize = early.iter().sum();
        assert!(total <= 12, "seed {seed}: {total} swaps");
        assert!(late.iter().sum::<usize>() <= 1, "seed {seed}: {late:?}");
    }
}
