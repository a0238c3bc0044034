use std::collections::HashMap;

use granary_catalog::{
    Command, InsertToken, Part, PartLocation, PartitionValue, Row, StagedInsert, apply,
};
use granary_common::{BucketIndex, CatalogVersion, ClusterId, PartId, TableId, WorkerId};

use super::*;
use crate::test_support::view;

const LEASE_MS: u64 = 10_000;
const NOW_MS: u64 = 100_000;
const WALL_MS: u64 = 10_000_000_000;

fn formed() -> Snapshot {
    let command =
        Command { time_ms: 0, body: CommandBody::InitCluster { cluster: ClusterId("c".into()) } };
    apply(&Snapshot::default(), CatalogVersion(1), &command).expect("applies").next
}

fn with_rows(rows: Vec<Row>, version: u64) -> Snapshot {
    let changes: Vec<_> = rows.into_iter().map(granary_catalog::Change::Put).collect();
    formed().with_changes(CatalogVersion(version), &changes)
}

fn worker(id: u64, state: WorkerState) -> Row {
    Row::Worker(granary_catalog::Worker {
        id: WorkerId(id),
        identity: format!("w{id}"),
        address: format!("w{id}:7422"),
        zone: String::new(),
        state,
        incarnation: 1,
        software_version: "0.1.0".into(),
        drained: false,
        is_full: false,
    })
}

fn worker_lease(id: u64, incarnation: u64, age_ms: u64) -> (LeaseHolder, Lease) {
    let lease = Lease {
        address: format!("w{id}:7422"),
        pinned: CatalogVersion(u64::MAX),
        renewed_ms: NOW_MS - age_ms,
        protocol: granary_catalog::protocol::PROTOCOL_VERSION,
        loads: Vec::new(),
        is_full: false,
    };
    (LeaseHolder::Worker { worker: WorkerId(id), incarnation }, lease)
}

fn coordinator_lease(name: &str, pinned: u64, age_ms: u64) -> (LeaseHolder, Lease) {
    let lease = Lease {
        address: format!("{name}:7420"),
        pinned: CatalogVersion(pinned),
        renewed_ms: NOW_MS - age_ms,
        protocol: granary_catalog::protocol::PROTOCOL_VERSION,
        loads: Vec::new(),
        is_full: false,
    };
    (LeaseHolder::Coordinator { identity: name.to_owned() }, lease)
}

fn check(
    snapshot: &Snapshot,
    leads_for_ms: u64,
    held: Vec<(LeaseHolder, Lease)>,
    expected: &[CommandBody],
) {
    let leases = LeaseView { since_ms: NOW_MS - leads_for_ms, held: HashMap::from_iter(held) };
    let commands = decide(&View {
        wall_ms: WALL_MS,
        lease_ms: LEASE_MS,
        worker_lease_ms: LEASE_MS,
        housekeeping: true,
        ..view(snapshot, &leases, NOW_MS)
    });
    assert_eq!(commands, expected);
}

#[test]
fn nothing_before_the_cluster_is_formed() {
    check(&Snapshot::default(), 0, vec![], &[]);
}

#[test]
fn workers_die_with_their_lease_and_come_back_with_it() {
    use WorkerState::{Alive, Dead, Draining};
    let set =
        |state| vec![CommandBody::SetWorkerState { worker: WorkerId(1), incarnation: 1, state }];
    let none = Vec::new();
    // (state, age of the lease, how long this node leads, expected)
    let cases = [
        (Alive, Some(9_999), 60_000, none.clone()),
        (Alive, Some(10_000), 60_000, set(Dead)),
        (Alive, None, 60_000, set(Dead)),
        // A new leader waits one lease before it declares anyone dead.
        (Alive, None, 9_999, none.clone()),
        (Alive, Some(10_000), 9_999, none.clone()),
        (Alive, None, 10_000, set(Dead)),
        (Dead, None, 60_000, none.clone()),
        (Dead, Some(0), 60_000, set(Alive)),
        (Dead, Some(0), 0, set(Alive)),
        (Draining, Some(0), 60_000, none.clone()),
        (Draining, None, 60_000, set(Dead)),
    ];
    for (state, age_ms, leads_for_ms, expected) in cases {
        let snapshot = with_rows(vec![worker(1, state)], 5);
        let held = age_ms.map(|age_ms| worker_lease(1, 1, age_ms)).into_iter().collect();
        check(&snapshot, leads_for_ms, held, &expected);
    }
    // The lease of another incarnation is not this worker's.
    let snapshot = with_rows(vec![worker(1, Alive)], 5);
    check(&snapshot, 60_000, vec![worker_lease(1, 2, 0)], &set(Dead));
}

fn removed_part(removed: Option<u64>) -> Row {
    let at = (CatalogVersion(2), 0);
    Row::Part(Part {
        id: PartId(1),
        table: TableId(1),
        bucket: BucketIndex(0),
        partition: PartitionValue::default(),
        rows: 1,
        bytes: 1,
        key_range: None,
        schema_version: 1,
        level: 0,
        location: PartLocation::Local { copies: vec![WorkerId(1)], disk: None },
        inserted: (at, at),
        added: CatalogVersion(2),
        removed: removed.map(CatalogVersion),
        deletions: Vec::new(),
        detached: false,
        files: None,
    })
}

fn table() -> Row {
    Row::Table(granary_catalog::Table {
        id: TableId(1),
        database: granary_common::DatabaseId(1),
        name: "t".into(),
        engine: granary_catalog::TableEngine {
            kind: granary_catalog::EngineKind::MergeTree,
            arguments: vec![],
        },
        columns: vec![],
        next_column_id: granary_common::ColumnId(0),
        order_by: vec![],
        primary_key_len: 0,
        partition_by: vec![],
        distribution: granary_catalog::Distribution::Rotation,
        buckets: 1,
        colocation_group: None,
        settings: [("history_retention_seconds".to_owned(), "0".to_owned())].into(),
        comment: None,
        schema_version: 1,
        view_set_version: 1,
        data_version: 1,
        created: CatalogVersion(1),
        dropped: None,
        merges_stopped: false,
        unique_key: Vec::new(),
        options: Default::default(),
    })
}

#[test]
fn the_catalog_learns_which_workers_are_full() {
    let protocol = |version| {
        let cluster = formed().cluster.expect("a cluster");
        Row::Cluster(granary_catalog::Cluster { protocol: version, ..(*cluster).clone() })
    };
    let said = |is_full| {
        let (holder, lease) = worker_lease(1, 1, 0);
        (holder, Lease { is_full, ..lease })
    };
    let known = |is_full| {
        let Row::Worker(row) = worker(1, WorkerState::Alive) else { panic!("a worker") };
        Row::Worker(Worker { is_full, ..row })
    };
    let change = |is_full| {
        let (worker, incarnation) = (WorkerId(1), 1);
        vec![CommandBody::Cluster(ClusterChange::ChangeRoom { worker, incarnation, is_full })]
    };
    for (spoken, was_full, is_full, expected) in [
        (FULL_DISKS, false, true, change(true)),
        (FULL_DISKS, true, false, change(false)),
        (FULL_DISKS, true, true, vec![]),
        (FULL_DISKS, false, false, vec![]),
        // Some node could not read the command.
        (FULL_DISKS - 1, false, true, vec![]),
    ] {
        let snapshot = with_rows(vec![protocol(spoken), known(was_full)], 20);
        check(&snapshot, 60_000, vec![said(is_full)], &expected);
    }
    // A new leader has not heard from it yet.
    let snapshot = with_rows(vec![protocol(FULL_DISKS), known(true)], 20);
    check(&snapshot, 0, vec![], &[]);
}

#[test]
fn the_horizon_stays_behind_every_pin() {
    let advance = |version| vec![CommandBody::AdvanceHorizon { horizon: CatalogVersion(version) }];
    let none = Vec::new();
    let at_10 = with_rows(vec![table(), removed_part(Some(10))], 20);
    let cases = [
        ("nobody reads", &at_10, 60_000, vec![], advance(20)),
        ("a new leader waits", &at_10, 9_999, vec![], none.clone()),
        ("pinned before", &at_10, 60_000, vec![coordinator_lease("a", 9, 0)], none.clone()),
        ("pinned at it", &at_10, 60_000, vec![coordinator_lease("a", 10, 0)], advance(10)),
        (
            "the lowest pin counts",
            &at_10,
            60_000,
            vec![coordinator_lease("a", 15, 0), coordinator_lease("b", 12, 9_999)],
            advance(12),
        ),
        (
            "pins end with their lease",
            &at_10,
            60_000,
            vec![coordinator_lease("a", 3, 10_000)],
            advance(20),
        ),
        (
            "a pin ahead of this state",
            &at_10,
            60_000,
            vec![coordinator_lease("a", 99, 0)],
            advance(20),
        ),
    ];
    for (what, snapshot, leads_for_ms, held, expected) in cases {
        println!("{what}");
        check(snapshot, leads_for_ms, held, &expected);
    }
    // Nothing to forget: no command, or each would make the next one necessary.
    check(&with_rows(vec![table(), removed_part(None)], 20), 60_000, vec![], &none);
}

#[test]
fn tokens_and_staged_inserts_expire() {
    let token = |age_ms: u64| {
        Row::InsertToken(InsertToken {
            table: TableId(1),
            token: "a".into(),
            digest: "d".into(),
            rows: 1,
            parts: 1,
            version: CatalogVersion(2),
            committed_ms: WALL_MS - age_ms,
        })
    };
    let staged = |age_ms: u64| {
        Row::StagedInsert(StagedInsert {
            transaction: "x".into(),
            table: TableId(1),
            schema_version: 1,
            view_set_version: 1,
            data_version: 1,
            parts: vec![],
            views: vec![],
            touched_ms: WALL_MS - age_ms,
        })
    };
    const HOUR_MS: u64 = 3_600_000;
    const WEEK_MS: u64 = 7 * 24 * HOUR_MS;
    let expire = vec![CommandBody::Expire {
        staged_before_ms: WALL_MS - HOUR_MS,
        tokens_before_ms: WALL_MS - WEEK_MS,
        tokens_per_table: 10_000,
    }];
    for (row, expected) in [
        (token(WEEK_MS), vec![]),
        (token(WEEK_MS + 1), expire.clone()),
        (staged(HOUR_MS), vec![]),
        (staged(HOUR_MS + 1), expire.clone()),
    ] {
        check(&with_rows(vec![table(), row], 20), 60_000, vec![], &expected);
    }
}

#[test]
fn temporary_tables_go_with_their_coordinator() {
    let name = "_temporary_a_1";
    let row = granary_catalog::Database { id: granary_common::DatabaseId(9), name: name.into() };
    let snapshot = with_rows(vec![Row::Database(row)], 20);
    let drop = vec![CommandBody::DropDatabase { name: name.into(), if_exists: true }];
    for (held, leads_for_ms, expected) in [
        (vec![coordinator_lease("a", 20, 0)], 60_000, vec![]),
        // It is not known yet to be gone for good.
        (vec![coordinator_lease("a", 20, LEASE_MS)], 60_000, vec![]),
        (vec![coordinator_lease("b", 20, 0)], 60_000, drop.clone()),
        (vec![], 60_000, drop),
        // A new leader waits until every coordinator can have reached it.
        (vec![], LEASE_MS - 1, vec![]),
    ] {
        check(&snapshot, leads_for_ms, held, &expected);
    }
}
