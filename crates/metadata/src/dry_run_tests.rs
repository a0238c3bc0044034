use std::collections::{BTreeMap, HashMap};

use granary_catalog::{LeaseHolder, NewTable, Snapshot};
use granary_common::{ClusterId, WorkerId};

use super::*;
use crate::config::Retention;
use crate::leases::{Lease, LeaseView};

const NOW_MS: u64 = 1_000_000;

fn run(state: &mut Snapshot, body: CommandBody) {
    let version = CatalogVersion(state.version.0 + 1);
    *state = apply(state, version, &Command { time_ms: 0, body }).expect("applies").next;
}

fn add_worker(state: &mut Snapshot, name: &str) {
    let address = format!("{name}:7422");
    let (identity, zone, software_version) = (name.to_owned(), String::new(), String::new());
    run(state, CommandBody::RegisterWorker { identity, address, zone, software_version });
}

fn table() -> NewTable {
    NewTable {
        database: granary_common::DatabaseId(1),
        name: "t".into(),
        engine: granary_catalog::TableEngine {
            kind: granary_catalog::EngineKind::MergeTree,
            arguments: vec![],
        },
        columns: vec![],
        order_by: vec![],
        primary_key_len: 0,
        partition_by: vec![],
        distribution: granary_catalog::Distribution::Rotation,
        buckets: Some(12),
        colocation_group: None,
        settings: [("replication_factor".to_owned(), "1".to_owned())].into(),
        comment: None,
        unique_key: vec![],
        options: Default::default(),
    }
}

fn planned(state: &Snapshot) -> Vec<BucketPlacement> {
    let lease = |row: &std::sync::Arc<granary_catalog::Worker>| {
        let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
        let (address, pinned) = (row.address.clone(), CatalogVersion(u64::MAX));
        (holder, Lease { address, pinned, renewed_ms: NOW_MS })
    };
    let held: HashMap<_, _> = state.workers.values().map(lease).collect();
    placements(&View {
        snapshot: state,
        leases: &LeaseView { since_ms: 0, held },
        now_ms: NOW_MS,
        wall_ms: 0,
        lease_ms: 10_000,
        worker_lease_ms: 4_000,
        replace_after_ms: 60_000,
        housekeeping: false,
        retention: &Retention::default(),
    })
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

#[test]
fn a_new_worker_gets_its_share_and_a_drained_one_loses_it() {
    let mut state = Snapshot::default();
    run(&mut state, CommandBody::InitCluster { cluster: ClusterId("c".into()) });
    for name in ["a", "b", "c"] {
        add_worker(&mut state, name);
    }
    run(&mut state, CommandBody::CreateTable { table: table(), if_not_exists: false });
    assert_eq!(planned(&state), [], "an even cluster stays as it is");

    add_worker(&mut state, "d");
    let plan = planned(&state);
    let expected: BTreeMap<_, _> = (1..=4).map(|id| (WorkerId(id), 3)).collect();
    assert_eq!(held_after(&state, &plan), expected);
    let new = plan.iter().filter(|next| next.replicas.first() == Some(&WorkerId(4)));
    let moved: std::collections::BTreeSet<_> = new.map(|next| next.bucket).collect();
    assert_eq!(moved.len(), 3, "no more buckets move than the new worker needs");

    run(&mut state, CommandBody::DrainWorker { worker: WorkerId(1), drained: true });
    let held = held_after(&state, &planned(&state));
    assert_eq!(held.get(&WorkerId(1)), None, "{held:?}");
    assert_eq!(held.values().sum::<usize>(), 12);
}
