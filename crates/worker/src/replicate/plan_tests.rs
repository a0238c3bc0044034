use granary_catalog::{
    Bucket, Change, CopyId, Damage, DeletionContent, DeletionVector, Distribution, EngineKind,
    PartitionValue, Row, StagedInsert, Table, TableEngine, Worker,
};
use granary_common::{CatalogVersion, ColumnId, DatabaseId, Epoch, PartId};

use super::*;

pub const TABLE: TableId = TableId(1);

pub fn ids(workers: &[u64]) -> Vec<WorkerId> {
    workers.iter().copied().map(WorkerId).collect()
}

pub fn worker(id: u64, state: WorkerState) -> Row {
    worker_with_room(id, state, true)
}

pub fn worker_with_room(id: u64, state: WorkerState, has_room: bool) -> Row {
    Row::Worker(Worker {
        id: WorkerId(id),
        identity: format!("w{id}"),
        address: format!("w{id}:7422"),
        zone: String::new(),
        state,
        incarnation: 1,
        software_version: String::new(),
        drained: false,
        is_full: !has_room,
    })
}

pub fn table(dropped: Option<u64>) -> Row {
    Row::Table(Table {
        id: TABLE,
        database: DatabaseId(1),
        name: "t".into(),
        engine: TableEngine { kind: EngineKind::MergeTree, arguments: vec![] },
        columns: vec![],
        next_column_id: ColumnId(0),
        order_by: vec![],
        primary_key_len: 0,
        partition_by: vec![],
        distribution: Distribution::Rotation,
        buckets: 1,
        colocation_group: None,
        settings: Default::default(),
        comment: None,
        schema_version: 1,
        view_set_version: 1,
        data_version: 1,
        created: CatalogVersion(1),
        dropped: dropped.map(CatalogVersion),
        unique_key: vec![],
        merges_stopped: false,
        options: Default::default(),
    })
}

pub fn bucket(replicas: &[u64], in_sync: &[u64]) -> Row {
    Row::Bucket(Bucket {
        table: TABLE,
        index: BucketIndex(0),
        leader: WorkerId(replicas[0]),
        replicas: ids(replicas),
        in_sync: ids(in_sync),
        in_sync_version: 4,
        epoch: Epoch(2),
        upsert_version: 0,
    })
}

pub fn part(id: u64, bytes: u64, copies: &[u64]) -> Part {
    let order = (CatalogVersion(2), 0);
    Part {
        id: PartId(id),
        table: TABLE,
        bucket: BucketIndex(0),
        partition: PartitionValue::default(),
        rows: 10,
        bytes,
        key_range: None,
        schema_version: 1,
        level: 0,
        location: PartLocation::Local { copies: ids(copies), disk: None },
        inserted: (order, order),
        added: order.0,
        removed: None,
        deletions: vec![],
        files: None,
        detached: false,
    }
}

pub fn snapshot(rows: Vec<Row>) -> Snapshot {
    use WorkerState::{Alive, Dead};
    let workers = [(1, Alive), (2, Alive), (3, Alive), (4, Dead)];
    let workers = workers.map(|(id, state)| worker(id, state));
    let changes: Vec<Change> = workers.into_iter().chain(rows).map(Change::Put).collect();
    Snapshot::default().with_changes(CatalogVersion(9), &changes)
}

fn fetched(plan: &Plan) -> Vec<u64> {
    plan.fetch.iter().map(|wanted| wanted.known.part.0).collect()
}

#[test]
fn a_replica_fetches_what_it_lacks_and_then_joins() {
    let removed = Part { removed: Some(CatalogVersion(5)), ..part(14, 1, &[1]) };
    let detached = Part { detached: true, ..Part { id: PartId(15), ..removed.clone() } };
    let staged = StagedInsert {
        transaction: "x".into(),
        table: TABLE,
        schema_version: 1,
        view_set_version: 1,
        data_version: 1,
        parts: vec![part(16, 5, &[1, 3])],
        views: vec![],
        touched_ms: 0,
    };
    let state = snapshot(vec![
        table(None),
        bucket(&[1, 2], &[1]),
        Row::Part(part(10, 100, &[1, 4])),
        Row::Part(part(11, 50, &[1, 3])),
        Row::Part(part(12, 70, &[4])),
        Row::Part(part(13, 90, &[2, 1])),
        Row::Part(removed),
        Row::Part(detached),
        Row::StagedInsert(staged),
    ]);
    let found = plan(&state, WorkerId(2));
    // Fewest live copies first, then the small ones; nobody who lives has part 12.
    assert_eq!(fetched(&found), [15, 10, 16, 11]);
    assert_eq!(found.fetch[1].sources, ids(&[1]));
    assert!(found.join.is_empty());
    // Worker 1 has nothing to do but to wait for the only holder of part 12.
    assert_eq!(plan(&state, WorkerId(1)), Plan::default());
    assert_eq!(plan(&state, WorkerId(4)), Plan::default());

    let whole = vec![table(None), bucket(&[1, 2], &[1]), Row::Part(part(10, 1, &[1, 2]))];
    let found = plan(&snapshot(whole), WorkerId(2));
    assert!(found.fetch.is_empty());
    assert_eq!(found.join.len(), 1);
    assert_eq!(found.join[0].in_sync, ids(&[1, 2]));
    let dropped = vec![table(Some(3)), bucket(&[1, 2], &[1]), Row::Part(part(10, 1, &[1]))];
    assert_eq!(plan(&snapshot(dropped), WorkerId(2)), Plan::default());
}

#[test]
fn a_full_worker_fetches_when_it_has_room_again() {
    for (has_room, expected) in [(true, &[10][..]), (false, &[])] {
        let rows = vec![
            worker_with_room(2, WorkerState::Alive, has_room),
            table(None),
            bucket(&[1, 2], &[1]),
            Row::Part(part(10, 100, &[1])),
        ];
        let found = plan(&snapshot(rows), WorkerId(2));
        assert_eq!(fetched(&found), expected);
        assert!(found.join.is_empty(), "it lacks the part");
    }
}

#[test]
fn a_spare_copy_is_given_up_when_every_replica_has_one() {
    for (copies, is_spare) in [(&[1, 3][..], false), (&[1, 2, 3], true), (&[1, 2], false)] {
        let rows = vec![table(None), bucket(&[1, 2], &[1, 2]), Row::Part(part(10, 1, copies))];
        let found = plan(&snapshot(rows), WorkerId(3));
        assert_eq!(!found.spare.is_empty(), is_spare, "{copies:?}");
        assert!(found.fetch.is_empty() && found.join.is_empty());
    }
}

#[test]
fn damaged_copies_are_no_copies_to_fetch_or_to_rely_on() {
    let damage = |worker| {
        let copy = CopyId { table: TABLE, part: PartId(10), worker: Some(WorkerId(worker)) };
        Row::Damage(Damage { copy, reason: "cut".into(), found_ms: 1 })
    };
    let rows = |copies: &[u64], damaged: u64| {
        let part = Row::Part(part(10, 1, copies));
        vec![table(None), bucket(&[1, 2], &[1]), part, damage(damaged)]
    };
    let found = plan(&snapshot(rows(&[1, 3], 1)), WorkerId(2));
    assert_eq!(found.fetch[0].sources, ids(&[3]));
    assert!(plan(&snapshot(rows(&[1], 1)), WorkerId(2)).fetch.is_empty());
    // Worker 3 keeps what a replica has in pieces only.
    assert!(plan(&snapshot(rows(&[1, 2, 3], 2)), WorkerId(3)).spare.is_empty());
    assert!(!plan(&snapshot(rows(&[1, 2, 3], 3)), WorkerId(3)).spare.is_empty());
}

#[test]
fn deletion_vectors_in_files_come_along() {
    let content = DeletionContent::File { name: "deletions-9".into(), bytes: 20_000, crc32c: 7 };
    let vector = DeletionVector { since: CatalogVersion(7), rows: 3, content };
    let changed = Part { deletions: vec![vector], ..part(10, 1, &[1]) };
    let rows = vec![table(None), bucket(&[1, 2], &[1]), Row::Part(changed)];
    let found = plan(&snapshot(rows), WorkerId(2));
    assert_eq!(found.fetch[0].known.deletions, Some(CatalogVersion(7)));
    assert_eq!(found.fetch[0].copy.deletions[0].name, "deletions-9");
}
