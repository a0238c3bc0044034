//! Buckets change hands, and parts gain and lose copies, without anybody being in sync who is not.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{Conflict, Internal, NotFound, Unavailable};
use granary_common::{BucketIndex, CatalogVersion, PartId, TableId, WorkerId};
use support::*;

fn workers(ids: &[u64]) -> Vec<WorkerId> {
    ids.iter().copied().map(WorkerId).collect()
}

fn bucket(bench: &Bench, table: TableId) -> &Bucket {
    &bench.state.tables[&table].buckets[&BucketIndex(0)]
}

fn copies(bench: &Bench, table: TableId, part: u64) -> Vec<u64> {
    match &bench.state.tables[&table].parts[&PartId(part)].location {
        PartLocation::Local { copies, .. } => copies.iter().map(|worker| worker.0).collect(),
        PartLocation::Shared { .. } => panic!("a shared part"),
    }
}

fn placed(bench: &Bench, table: TableId, change: impl FnOnce(&mut BucketPlacement)) -> CommandBody {
    let mut placement = BucketPlacement::of(bucket(bench, table));
    change(&mut placement);
    CommandBody::PlaceBucket(placement)
}

fn copied(table: TableId, worker: u64, change: CopyChange, parts: &[u64]) -> CommandBody {
    let known = |id: &u64| KnownPart { part: PartId(*id), deletions: None };
    let parts = parts.iter().map(known).collect();
    CommandBody::ChangeCopies(CopiesChange { table, worker: WorkerId(worker), change, parts })
}

/// Three workers; bucket 0 of the table is on the first two.
fn bench() -> (Bench, TableId) {
    let mut bench = Bench::with_workers(3);
    let table = bench.table("t", 1);
    assert_eq!(bucket(&bench, table).replicas, workers(&[1, 2]));
    assert_eq!(bucket(&bench, table).in_sync, workers(&[1, 2]));
    (bench, table)
}

#[test]
fn new_buckets_get_replicas_on_distinct_workers() {
    let mut bench = Bench::with_workers(3);
    let table = bench.table("t", 6);
    let buckets = bench.state.tables[&table].buckets.values();
    let pairs: Vec<(u64, u64)> =
        buckets.map(|bucket| (bucket.replicas[0].0, bucket.replicas[1].0)).collect();
    assert_eq!(pairs, [(1, 2), (2, 3), (3, 1), (1, 3), (2, 1), (3, 2)]);
    let mut single = Bench::with_workers(1);
    let table = single.table("t", 1);
    assert_eq!(bucket(&single, table).replicas, workers(&[1]));
}

#[test]
fn the_factor_is_a_setting() {
    let mut bench = Bench::with_workers(3);
    for (factor, expected) in [("1", 1), ("2", 2), ("3", 3), ("9", 3)] {
        let settings = [("replication_factor".to_owned(), factor.to_owned())].into();
        let table = NewTable { settings, buckets: Some(1), ..new_table(factor) };
        let made = bench.done(CommandBody::CreateTable { table, if_not_exists: false });
        let Outcome::TableCreated(table) = made else { panic!("{made:?}") };
        assert_eq!(bucket(&bench, table).replicas.len(), expected, "factor {factor}");
    }
}

#[test]
fn a_part_must_be_on_every_replica_in_sync() {
    let (mut bench, table) = bench();
    let mut commit = bench.commit(table, "a", &[1]);
    let location = PartLocation::Local { copies: workers(&[1]), disk: None };
    commit.tables[0].buckets[0].parts[0].location = location;
    bench.refused(CommandBody::CommitWrite(commit.clone()), Conflict);
    commit.tables[0].buckets[0].synced = workers(&[1]);
    bench.refused(CommandBody::CommitWrite(commit.clone()), Conflict);
    // Once the other one is out, one copy is enough.
    bench.done(placed(&bench, table, |placement| placement.in_sync = workers(&[1])));
    bench.refused(CommandBody::CommitWrite(commit.clone()), Conflict);
    commit.tables[0].buckets[0].in_sync_version += 1;
    bench.inserted(commit);
    assert_eq!(copies(&bench, table, 1), [1]);
}

#[test]
fn min_copies_decides_when_replicas_are_out() {
    let mut bench = Bench::with_workers(2);
    let settings = [("min_copies".to_owned(), "2".to_owned())].into();
    let table = NewTable { settings, buckets: Some(1), ..new_table("t") };
    let made = bench.done(CommandBody::CreateTable { table, if_not_exists: false });
    let Outcome::TableCreated(table) = made else { panic!("{made:?}") };
    bench.inserted(bench.commit(table, "two", &[1]));
    bench.done(placed(&bench, table, |placement| placement.in_sync = workers(&[1])));
    let one = bench.commit(table, "one", &[2]);
    bench.refused(CommandBody::CommitWrite(one), Unavailable);
}

#[test]
fn an_old_leader_cannot_commit() {
    let (mut bench, table) = bench();
    let late = bench.commit(table, "late", &[1]);
    bench.done(placed(&bench, table, |placement| placement.leader = WorkerId(2)));
    assert_eq!(bucket(&bench, table).epoch.0, 2);
    bench.refused(CommandBody::CommitWrite(late), Conflict);
    let state = &bench.state.tables[&table];
    let merge = MergeParts {
        table,
        schema_version: state.table.schema_version,
        bucket: BucketIndex(0),
        epoch: epoch(1),
        in_sync_version: bucket(&bench, table).in_sync_version,
        synced: workers(&[1, 2]),
        inputs: vec![KnownPart { part: PartId(1), deletions: None }],
        outputs: Vec::new(),
        ttl_version: 0,
        is_move: false,
    };
    bench.refused(CommandBody::MergeParts(merge), Conflict);
}

#[test]
fn a_placement_holds_for_the_state_that_it_was_decided_from() {
    let (mut bench, table) = bench();
    let stale = placed(&bench, table, |placement| placement.in_sync = workers(&[2]));
    bench.done(placed(&bench, table, |placement| placement.in_sync = workers(&[1])));
    bench.refused(stale, Conflict);
    type Spoil = fn(&mut BucketPlacement);
    let cases: [(&str, Spoil); 5] = [
        ("a leader that is no replica", |placement| placement.leader = WorkerId(3)),
        ("twice", |placement| placement.replicas = workers(&[1, 1])),
        ("unknown", |placement| placement.replicas = workers(&[1, 9])),
        ("in sync, but no replica", |placement| placement.in_sync = workers(&[1, 3])),
        ("nobody", |placement| placement.replicas.clear()),
    ];
    for (what, spoil) in cases {
        println!("{what}");
        bench.refused(placed(&bench, table, spoil), Internal);
    }
    // Nothing changes, nothing moves.
    let version = bucket(&bench, table).in_sync_version;
    bench.done(placed(&bench, table, |_| ()));
    assert_eq!(bucket(&bench, table).in_sync_version, version);
}

#[test]
fn whoever_joins_holds_everything() {
    let (mut bench, table) = bench();
    bench.done(placed(&bench, table, |placement| placement.in_sync = workers(&[1])));
    bench.inserted(bench.commit(table, "a", &[1, 2]));
    let write = bench.write(table, &[3]);
    let stage = |write| CommandBody::StageParts {
        transaction: "x".into(),
        write,
        views: Vec::new(),
        continues: false,
    };
    bench.done(stage(write));
    let join = |bench: &Bench| placed(bench, table, |to| to.in_sync = workers(&[1, 2]));
    bench.refused(join(&bench), Conflict);
    bench.done(copied(table, 2, CopyChange::Added, &[1, 2, 77]));
    assert_eq!(copies(&bench, table, 2), [1, 2]);
    // A long insert that is under way counts as well.
    bench.refused(join(&bench), Conflict);
    bench.done(copied(table, 2, CopyChange::Added, &[3]));
    bench.done(join(&bench));
    let commit = CommitWrite { staged: Some("x".into()), ..bench.commit(table, "b", &[]) };
    bench.inserted(commit);
    assert_eq!(copies(&bench, table, 3), [1, 2]);
    bench.refused(copied(table, 9, CopyChange::Added, &[1]), NotFound);
}

#[test]
fn what_is_staged_stays_staged_once_when_it_is_said_again() {
    let (mut bench, table) = bench();
    let stage = |write| CommandBody::StageParts {
        transaction: "x".into(),
        write,
        views: Vec::new(),
        continues: false,
    };
    let (first, second) = (bench.write(table, &[1]), bench.write(table, &[2]));
    let mut both = first.clone();
    both.buckets[0].parts.extend(second.buckets[0].parts.clone());
    bench.done(stage(first.clone()));
    bench.done(placed(&bench, table, |placement| placement.in_sync = workers(&[1])));
    // A member of an older build would refuse it.
    bench.refused(stage(first.clone()), Conflict);
    let version = granary_catalog::protocol::PROTOCOL_VERSION;
    bench.done(CommandBody::Cluster(ClusterChange::RaiseProtocol { version }));
    // The answer was lost; refused, the block would be written and staged once more.
    bench.done(stage(first));
    bench.refused(stage(second), Conflict);
    bench.refused(stage(both), Conflict);
    let staged: Vec<u64> = bench.state.staged["x"].parts.iter().map(|part| part.id.0).collect();
    assert_eq!(staged, [1]);
}

#[test]
fn copies_are_given_up_only_where_they_are_not_needed() {
    let (mut bench, table) = bench();
    bench.inserted(bench.commit(table, "a", &[1]));
    bench.done(copied(table, 3, CopyChange::Added, &[1]));
    // A replica does not give up its copies, and nobody while a replica has none.
    bench.done(copied(table, 1, CopyChange::Spare, &[1]));
    assert_eq!(copies(&bench, table, 1), [1, 2, 3]);
    bench.done(copied(table, 2, CopyChange::Lost, &[1]));
    assert_eq!(bucket(&bench, table).in_sync, workers(&[1]));
    bench.done(copied(table, 3, CopyChange::Spare, &[1]));
    assert_eq!(copies(&bench, table, 1), [1, 3]);
    bench.done(copied(table, 2, CopyChange::Added, &[1]));
    bench.done(copied(table, 3, CopyChange::Spare, &[1]));
    assert_eq!(copies(&bench, table, 1), [1, 2]);
    // The last copy stays named, whatever is said of it.
    bench.done(copied(table, 1, CopyChange::Lost, &[1]));
    bench.done(copied(table, 2, CopyChange::Lost, &[1]));
    assert_eq!(copies(&bench, table, 1), [2]);
}

#[test]
fn a_deletion_file_is_beside_every_copy() {
    let (mut bench, table) = bench();
    bench.inserted(bench.commit(table, "a", &[1]));
    let content = DeletionContent::File { name: "deletions-9".into(), bytes: 20_000, crc32c: 7 };
    let deleting = |bench: &Bench, synced: &[u64]| {
        let mut commit = bench.commit(table, "d", &[]);
        commit.tables[0].buckets[0].deletions = vec![NewDeletions {
            known: KnownPart { part: PartId(1), deletions: None },
            rows: 3,
            content: content.clone(),
            synced: workers(synced),
        }];
        CommandBody::CommitWrite(commit)
    };
    for synced in [&[][..], &[1], &[2, 3]] {
        let command = deleting(&bench, synced);
        bench.refused(command, Conflict);
    }
    bench.done(deleting(&bench, &[1, 2]));
    // A copy that was made without the file does not count.
    bench.done(copied(table, 3, CopyChange::Added, &[1]));
    assert_eq!(copies(&bench, table, 1), [1, 2]);
    let newest = bench.state.tables[&table].parts[&PartId(1)].deletions.last().map(|d| d.since);
    assert!(newest.is_some_and(|since| since > CatalogVersion(0)));
}

#[test]
fn parts_of_another_table_may_take_replicas_out_of_sync() {
    let mut bench = Bench::with_workers(3);
    let (from, to) = (bench.table("a", 2), bench.table("b", 2));
    // The second table's bucket 0 begins with another worker.
    let other = bench.state.tables[&to].buckets[&BucketIndex(0)].clone();
    bench.inserted(bench.commit(from, "a", &[1]));
    let copy =
        CopyPartitions { from, to, partitions: Partitions::All, replace: false, remove: false };
    bench.done(CommandBody::CopyPartitions(copy));
    let shown = bench.state.tables[&to].parts.values().next().expect("a part");
    let PartLocation::Local { copies, .. } = &shown.location else { panic!("{shown:?}") };
    let kept: Vec<WorkerId> =
        other.in_sync.iter().copied().filter(|worker| copies.contains(worker)).collect();
    assert_ne!(kept, other.in_sync);
    assert_eq!(bench.state.tables[&to].buckets[&BucketIndex(0)].in_sync, kept);
}

#[test]
fn a_worker_is_emptied_only_where_others_suffice() {
    use granary_common::ErrorKind::InvalidInput;
    let (mut bench, table) = bench();
    let drain = |worker, drained| CommandBody::DrainWorker { worker: WorkerId(worker), drained };
    bench.refused(drain(9, true), NotFound);
    bench.done(drain(3, true));
    bench.done(drain(3, true));
    // One other worker is not enough for two copies.
    bench.refused(drain(1, true), InvalidInput);
    let other = bench.table("other", 2);
    let mut buckets = bench.state.tables[&other].buckets.values();
    assert!(buckets.all(|bucket| !bucket.replicas.contains(&WorkerId(3))));
    // It stays so when it registers again.
    bench.done(register("w3"));
    assert!(bench.state.workers[&WorkerId(3)].drained);
    bench.done(drain(3, false));
    bench.done(drain(1, true));
    assert_eq!(bucket(&bench, table).replicas, workers(&[1, 2]), "moving is the controller's");
}

fn full(worker: u64, is_full: bool) -> CommandBody {
    let (worker, incarnation) = (WorkerId(worker), 1);
    CommandBody::Cluster(ClusterChange::ChangeRoom { worker, incarnation, is_full })
}

#[test]
fn a_worker_is_full_until_it_says_something_else() {
    let (mut bench, _) = bench();
    let is_full = |bench: &Bench| bench.state.workers[&WorkerId(2)].is_full;
    bench.refused(full(9, true), NotFound);
    bench.done(full(2, true));
    bench.done(full(2, true));
    assert!(is_full(&bench) && !bench.state.workers[&WorkerId(2)].takes_writes());
    assert!(bench.state.workers[&WorkerId(2)].takes_more(), "it may hold what others lack");
    bench.done(register("w2"));
    assert!(is_full(&bench));
    // What an incarnation said that has been replaced does not hold.
    bench.refused(full(2, false), Conflict);
    let (worker, incarnation, is_full) = (WorkerId(2), 2, false);
    let change = ClusterChange::ChangeRoom { worker, incarnation, is_full };
    bench.done(CommandBody::Cluster(change));
    assert!(bench.state.workers[&WorkerId(2)].takes_writes());
}

#[test]
fn new_tables_go_to_workers_that_take_writes() {
    let mut bench = Bench::with_workers(3);
    for (filled, expected) in [
        (&[2][..], [(1, 3), (3, 1), (1, 3), (3, 1)]),
        // The second copy has nowhere else to go.
        (&[1, 2], [(3, 1), (3, 2), (3, 1), (3, 2)]),
        (&[1, 2, 3], [(1, 2), (2, 3), (3, 1), (1, 3)]),
    ] {
        for worker in 1..=3 {
            bench.done(full(worker, filled.contains(&worker)));
        }
        let table = bench.table(&format!("{filled:?}"), 4);
        let buckets = bench.state.tables[&table].buckets.values();
        let pairs: Vec<(u64, u64)> =
            buckets.map(|bucket| (bucket.replicas[0].0, bucket.replicas[1].0)).collect();
        assert_eq!(pairs, expected, "{filled:?}");
        bench.done(CommandBody::DropTable { table });
    }
}

#[test]
fn copies_go_to_replicas_that_take_writes_then_to_others() {
    let mut bench = Bench::with_workers(4);
    let settings = [("replication_factor".to_owned(), "3".to_owned())].into();
    let table = NewTable { settings, buckets: Some(1), ..new_table("t") };
    let made = bench.done(CommandBody::CreateTable { table, if_not_exists: false });
    let Outcome::TableCreated(table) = made else { panic!("{made:?}") };
    assert_eq!(bucket(&bench, table).replicas, workers(&[1, 2, 3]));
    for (filled, replicas, spares) in [
        (&[][..], &[2, 3][..], &[4][..]),
        (&[2], &[3], &[4, 2]),
        (&[2, 4], &[3], &[4, 2]),
        (&[1, 2, 3, 4], &[], &[4, 2, 3]),
    ] {
        for worker in 1..=4 {
            bench.done(full(worker, filled.contains(&worker)));
        }
        let state = &bench.state.tables[&table];
        let targets = replication::CopyTargets::of(&bench.state, state, bucket(&bench, table));
        assert_eq!(targets.replicas, workers(replicas), "{filled:?}");
        assert_eq!(targets.spares, workers(spares), "{filled:?}");
        assert_eq!(targets.wanted, 3);
    }
}

#[test]
fn a_worker_may_lead_that_is_no_replica() {
    let (mut bench, table) = bench();
    let outside = |bench: &Bench, leader: u64| {
        placed(bench, table, |placement| placement.leader = WorkerId(leader))
    };
    let command = outside(&bench, 3);
    assert_eq!(protocol::needed(&command), protocol::FULL_DISKS);
    assert_eq!(protocol::needed(&outside(&bench, 2)), protocol::FIRST_PROTOCOL);
    // Members of older builds refuse it, so all do until there are none.
    bench.refused(command, Internal);
    let version = protocol::FULL_DISKS;
    bench.done(CommandBody::Cluster(ClusterChange::RaiseProtocol { version }));
    bench.refused(outside(&bench, 9), Internal);
    bench.done(outside(&bench, 3));
    assert_eq!(bucket(&bench, table).replicas, workers(&[1, 2]));
    // What it writes is on other workers than those that were in sync.
    bench.done(placed(&bench, table, |placement| placement.in_sync.clear()));
    let mut commit = bench.commit(table, "a", &[1]);
    let location = PartLocation::Local { copies: workers(&[3]), disk: None };
    commit.tables[0].buckets[0].parts[0].location = location;
    commit.tables[0].buckets[0].synced = workers(&[3]);
    bench.inserted(commit);
    assert_eq!(copies(&bench, table, 1), [3]);
    // A replica leads again once it has everything.
    let back = |bench: &Bench| {
        placed(bench, table, |next| {
            (next.leader, next.in_sync) = (WorkerId(1), workers(&[1]));
        })
    };
    bench.refused(back(&bench), Conflict);
    bench.done(copied(table, 1, CopyChange::Added, &[1]));
    bench.done(back(&bench));
}

#[test]
fn a_worker_is_forgotten_once_others_hold_what_it_had() {
    use granary_common::ErrorKind::InvalidInput;
    let (mut bench, table) = bench();
    let drop = CommandBody::Cluster(ClusterChange::DropWorker { worker: WorkerId(2) });
    let steps = |bench: &Bench| departure::steps(&bench.state, WorkerId(2)).map_err(|e| e.kind());
    let state = |state| CommandBody::SetWorkerState { worker: WorkerId(2), incarnation: 1, state };
    bench.inserted(bench.commit(table, "a", &[1]));
    assert_eq!(departure::steps(&bench.state, WorkerId(9)).map_err(|e| e.kind()), Err(NotFound));
    assert_eq!(steps(&bench), Err(InvalidInput), "it lives");
    bench.refused(drop.clone(), InvalidInput);
    bench.done(state(WorkerState::Dead));
    assert_eq!(steps(&bench), Err(Unavailable), "it is a replica");
    bench.refused(drop.clone(), Unavailable);
    bench.done(placed(&bench, table, |next| {
        (next.replicas, next.in_sync) = (workers(&[1, 3]), workers(&[1]));
    }));
    assert_eq!(steps(&bench), Err(Unavailable), "worker 3 has no copy yet");
    bench.done(copied(table, 3, CopyChange::Added, &[1]));
    bench.refused(drop.clone(), Unavailable);
    // It may be back at any time, and is no worker to forget then.
    bench.done(state(WorkerState::Alive));
    bench.refused(drop.clone(), InvalidInput);
    bench.done(state(WorkerState::Dead));
    for step in steps(&bench).expect("others have everything") {
        bench.done(step);
    }
    assert_eq!(copies(&bench, table, 1), [1, 3]);
    assert!(!bench.state.workers.contains_key(&WorkerId(2)));
    bench.refused(drop, NotFound);
    // Its folder comes back as a worker of its own.
    bench.done(register("w2"));
    assert_eq!(bench.state.workers.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 3, 4]);
}
