use std::collections::BTreeMap;

use granary_catalog::Snapshot;
use granary_common::WorkerId;

use super::*;
use crate::test_support::{add_worker, formed, leases, new_table, run, view};

const NOW_MS: u64 = 1_000_000;

async fn planned(state: &Snapshot) -> Vec<BucketPlacement> {
    placements(&view(state, &leases(state, |_| NOW_MS), NOW_MS)).await
}

/// Buckets that each worker holds after `planned`.
fn held_after(state: &Snapshot, planned: &[BucketPlacement]) -> BTreeMap<WorkerId, usize> {
    let table = state.tables.values().next().expect("a table");
    let mut replicas: BTreeMap<_, _> =
        table.buckets.values().map(|bucket| (bucket.index, bucket.replicas.clone())).collect();
    for placement in planned {
        replicas.insert(placement.bucket, placement.replicas.clone());
    }
    let mut held = BTreeMap::new();
    for worker in replicas.into_values().flatten() {
        *held.entry(worker).or_default() += 1;
    }
    held
}

#[tokio::test]
async fn a_new_worker_gets_its_share_and_a_drained_one_loses_it() {
    let mut state = formed();
    for name in ["a", "b", "c"] {
        add_worker(&mut state, name, "");
    }
    let settings = [("replication_factor".to_owned(), "1".to_owned())].into();
    let table = new_table("t", 12, settings);
    run(&mut state, CommandBody::CreateTable { table, if_not_exists: false });
    assert_eq!(planned(&state).await, [], "an even cluster stays as it is");

    add_worker(&mut state, "d", "");
    let plan = planned(&state).await;
    let expected: BTreeMap<_, _> = (1..=4).map(|id| (WorkerId(id), 3)).collect();
    assert_eq!(held_after(&state, &plan), expected);
    let new = plan.iter().filter(|next| next.replicas.first() == Some(&WorkerId(4)));
    let moved: std::collections::BTreeSet<_> = new.map(|next| next.bucket).collect();
    assert_eq!(moved.len(), 3, "no more buckets move than the new worker needs");

    run(&mut state, CommandBody::DrainWorker { worker: WorkerId(1), drained: true });
    let held = held_after(&state, &planned(&state).await);
    assert_eq!(held.get(&WorkerId(1)), None, "{held:?}");
    assert_eq!(held.values().sum::<usize>(), 12);
}
