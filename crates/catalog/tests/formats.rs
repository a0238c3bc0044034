//! Frozen bytes: what an earlier build wrote must be read by every later one.
//!
//! A change that breaks one of these breaks data folders and rolling upgrades. Give a new field a
//! default instead, or raise the format's version and write a migration. New fixtures are written
//! by `GRANARY_WRITE_FIXTURES=1 cargo test -p granary-catalog --test formats`; existing files are
//! never overwritten.

mod support;

use std::fmt::Debug;
use std::path::PathBuf;

use granary_catalog::*;
use granary_common::{
    BucketIndex, CatalogVersion, ClusterId, ColumnId, DatabaseId, Epoch, PartId, TableId, WorkerId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::new_table;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.bin"));
    let encoded = codec::encode(value).expect("encodes");
    if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !path.exists() {
        std::fs::write(&path, &encoded).expect("writes");
    }
    let frozen = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let decoded: T = codec::decode(&frozen).expect("a frozen fixture decodes");
    assert_eq!(&decoded, value, "{name}");
    assert_eq!(codec::decode::<T>(&encoded).expect("decodes"), *value, "{name}");
}

fn part() -> Part {
    Part {
        id: PartId(1001),
        table: TableId(7),
        bucket: BucketIndex(3),
        partition: PartitionValue(vec![Scalar::Int(202_401), Scalar::Text("de".into())]),
        rows: 8192,
        bytes: 1 << 20,
        key_range: Some(KeyRange {
            min: vec![Scalar::UInt(1), Scalar::Wide(-5), Scalar::Float(0.5)],
            max: Some(vec![Scalar::Bool(true), Scalar::Bytes(vec![1, 2]), Scalar::Null]),
        }),
        schema_version: 2,
        level: 1,
        location: PartLocation::Local { copies: vec![WorkerId(1), WorkerId(2)] },
        inserted: ((CatalogVersion(40), 0), (CatalogVersion(41), 5)),
        added: CatalogVersion(41),
        removed: Some(CatalogVersion(50)),
        deletions: Vec::new(),
        detached: false,
        files: None,
    }
}

fn table() -> Table {
    let column =
        |id, name: &str, text: &str| Column::new(ColumnId(id), name, text.parse().expect("a type"));
    let new = new_table("orders");
    Table {
        id: TableId(7),
        database: DatabaseId(1),
        name: "orders".into(),
        engine: new.engine,
        columns: vec![
            column(0, "key", "UInt64"),
            Column {
                default: Some(ColumnDefault::Expression("now()".into())),
                comment: Some("when".into()),
                ..column(1, "at", "DateTime64(3, 'UTC')")
            },
            Column {
                role: ColumnRole::KeyExpression("toYYYYMM(at)".into()),
                ..column(2, "toYYYYMM(at)", "UInt32")
            },
        ],
        next_column_id: ColumnId(3),
        order_by: vec![KeyExpression { text: "key".into(), column: ColumnId(0) }],
        primary_key_len: 1,
        partition_by: vec![KeyExpression { text: "toYYYYMM(at)".into(), column: ColumnId(2) }],
        distribution: Distribution::Hash(vec![ColumnId(0)]),
        buckets: 4,
        colocation_group: Some("by_key".into()),
        settings: [("index_granularity".to_owned(), "4096".to_owned())].into(),
        comment: Some("orders".into()),
        schema_version: 2,
        view_set_version: 1,
        data_version: 3,
        created: CatalogVersion(9),
        dropped: Some(CatalogVersion(90)),
        merges_stopped: false,
        unique_key: Vec::new(),
        options: TableOptions::default(),
    }
}

fn damaged_copy() -> CopyId {
    CopyId { table: TableId(7), part: PartId(1001), worker: Some(WorkerId(2)) }
}

fn rows() -> Vec<(&'static str, Row)> {
    vec![
        (
            "cluster",
            Row::Cluster(Cluster {
                id: ClusterId("0123456789abcdef".into()),
                next_database_id: 2,
                next_table_id: 8,
                next_worker_id: 3,
                next_part_id: 2001,
                horizon: CatalogVersion(12),
                merges_stopped: false,
            }),
        ),
        (
            "part_changed",
            Row::Part(Part {
                deletions: vec![
                    DeletionVector {
                        since: CatalogVersion(45),
                        rows: 3,
                        content: DeletionContent::Inline(vec![1, 2, 3]),
                    },
                    DeletionVector {
                        since: CatalogVersion(46),
                        rows: 4000,
                        content: DeletionContent::File {
                            name: "deletions-1.roaring".into(),
                            bytes: 8200,
                            crc32c: 7,
                        },
                    },
                ],
                files: Some((TableId(6), PartId(900))),
                detached: true,
                ..part()
            }),
        ),
        (
            "view",
            Row::View(View {
                id: TableId(9),
                database: DatabaseId(1),
                name: "v".into(),
                query: "SELECT key FROM orders".into(),
                query_database: "default".into(),
                columns: vec![("key".into(), ColumnType::UInt64)],
                kind: ViewKind::Plain,
                comment: None,
                created: CatalogVersion(10),
            }),
        ),
        (
            "damage",
            Row::Damage(Damage {
                copy: damaged_copy(),
                reason: "file index: it is cut".into(),
                found_ms: 1_700_000_000_002,
            }),
        ),
        ("database", Row::Database(Database { id: DatabaseId(1), name: "default".into() })),
        ("table", Row::Table(table())),
        (
            "bucket",
            Row::Bucket(Bucket {
                table: TableId(7),
                index: BucketIndex(3),
                leader: WorkerId(1),
                replicas: vec![WorkerId(1), WorkerId(2)],
                in_sync: vec![WorkerId(1)],
                in_sync_version: 4,
                epoch: Epoch(5),
                upsert_version: 0,
            }),
        ),
        ("part", Row::Part(part())),
        (
            "part_shared",
            Row::Part(Part {
                location: PartLocation::Shared { volume: "cold".into() },
                key_range: None,
                removed: None,
                ..part()
            }),
        ),
        (
            "worker",
            Row::Worker(Worker {
                id: WorkerId(1),
                identity: "fedcba".into(),
                address: "w-1:7422".into(),
                zone: "a".into(),
                state: WorkerState::Draining,
                incarnation: 6,
                software_version: "0.1.0".into(),
                drained: false,
            }),
        ),
        (
            "part_id_range",
            Row::PartIdRange(PartIdRange {
                start: 1001,
                end: 2001,
                worker: WorkerId(1),
                incarnation: 6,
            }),
        ),
        (
            "insert_token",
            Row::InsertToken(InsertToken {
                table: TableId(7),
                token: "load-1".into(),
                digest: "d1".into(),
                rows: 100,
                parts: 4,
                version: CatalogVersion(41),
                committed_ms: 1_700_000_000_000,
            }),
        ),
        (
            "staged_insert",
            Row::StagedInsert(StagedInsert {
                transaction: "x-1".into(),
                table: TableId(7),
                schema_version: 2,
                view_set_version: 1,
                data_version: 3,
                parts: vec![part()],
                views: Vec::new(),
                touched_ms: 1_700_000_000_001,
            }),
        ),
    ]
}

#[test]
fn rows_of_every_kind() {
    for (name, row) in rows() {
        check(&format!("row_{name}"), &row);
    }
}

#[test]
fn changes() {
    check("change_put", &Change::Put(Row::Part(part())));
    check("change_delete", &Change::Delete(RowKey::InsertToken(TableId(7), "load-1".into())));
}

fn table_write() -> TableWrite {
    TableWrite {
        table: TableId(7),
        schema_version: 2,
        view_set_version: 1,
        data_version: 3,
        buckets: vec![BucketWrite {
            bucket: BucketIndex(3),
            epoch: Epoch(5),
            in_sync_version: 4,
            synced: vec![WorkerId(1)],
            parts: vec![NewPart {
                id: PartId(1001),
                partition: part().partition,
                rows: 8192,
                bytes: 1 << 20,
                key_range: part().key_range,
                location: part().location,
            }],
            deletions: Vec::new(),
            removed: Vec::new(),
            upsert_version: None,
        }],
        overwrite: None,
    }
}

fn alter_table() -> AlterTable {
    let Table { columns, engine, order_by, partition_by, settings, comment, .. } = table();
    let mut columns = columns;
    columns[0].earlier =
        vec![EarlierColumn { id: ColumnId(9), column_type: ColumnType::Int32, until: 4 }];
    columns[0].added = Some(Scalar::Int(7));
    columns[0].codec = Some("CODEC(ZSTD(1))".into());
    columns[0].ttl = Some("at + INTERVAL 1 DAY".into());
    columns[0].default = Some(ColumnDefault::Materialized("1 + 1".into()));
    columns[1].default = Some(ColumnDefault::Alias("now()".into()));
    AlterTable {
        table: TableId(7),
        schema_version: 3,
        view_set_version: 2,
        columns,
        next_column_id: ColumnId(12),
        engine,
        order_by,
        partition_by,
        settings,
        comment,
        options: TableOptions {
            indexes: vec![SkipIndex {
                name: "i".into(),
                expression: "key".into(),
                kind: "minmax".into(),
                granularity: 4,
            }],
            projections: vec![Projection { name: "p".into(), query: "SELECT count()".into() }],
            ttl: Some("at + INTERVAL 1 YEAR".into()),
        },
        requires_no_parts: true,
    }
}

fn commands() -> Vec<(&'static str, CommandBody)> {
    let table = TableId(7);
    let (worker, incarnation) = (WorkerId(1), 6);
    vec![
        ("init_cluster", CommandBody::InitCluster { cluster: ClusterId("0123".into()) }),
        (
            "create_database",
            CommandBody::CreateDatabase { name: "sales".into(), if_not_exists: true },
        ),
        ("drop_database", CommandBody::DropDatabase { name: "sales".into(), if_exists: false }),
        (
            "create_table",
            CommandBody::CreateTable {
                table: NewTable { buckets: Some(4), ..new_table("orders") },
                if_not_exists: true,
            },
        ),
        ("drop_table", CommandBody::DropTable { table }),
        (
            "rename_table",
            CommandBody::RenameTable { table, database: DatabaseId(1), name: "old".into() },
        ),
        ("truncate_table", CommandBody::TruncateTable { table }),
        ("alter_table", CommandBody::AlterTable(Box::new(alter_table()))),
        ("register_worker", support::register("fedcba")),
        (
            "set_worker_state",
            CommandBody::SetWorkerState { worker, incarnation, state: WorkerState::Dead },
        ),
        ("lease_part_ids", CommandBody::LeasePartIds { worker, incarnation, count: 1000 }),
        ("release_part_ids", CommandBody::ReleasePartIds { worker, incarnation, start: 1001 }),
        (
            "commit_insert",
            CommandBody::CommitWrite(CommitWrite {
                tables: vec![table_write()],
                staged: Some("x-1".into()),
                token: "load-1".into(),
                digest: "d1".into(),
                rows: 100,
                others: Vec::new(),
                origin: WriteOrigin::Insert,
            }),
        ),
        (
            "stage_parts",
            CommandBody::StageParts {
                transaction: "x-1".into(),
                write: table_write(),
                views: Vec::new(),
            },
        ),
        ("abort_staged", CommandBody::AbortStaged { transaction: "x-1".into() }),
        (
            "expire",
            CommandBody::Expire { staged_before_ms: 1, tokens_before_ms: 2, tokens_per_table: 3 },
        ),
        (
            "mark_damage",
            CommandBody::MarkDamage {
                copy: damaged_copy(),
                reason: Some("file index: it is cut".into()),
            },
        ),
        (
            "mark_whole",
            CommandBody::MarkDamage {
                copy: CopyId { worker: None, ..damaged_copy() },
                reason: None,
            },
        ),
        ("advance_horizon", CommandBody::AdvanceHorizon { horizon: CatalogVersion(12) }),
    ]
}

fn takeaways() -> Vec<(&'static str, CommandBody)> {
    let table = TableId(7);
    let known = KnownPart { part: PartId(1001), deletions: Some(CatalogVersion(45)) };
    let content = DeletionContent::Inline(vec![1, 2, 3]);
    let these = Partitions::These(vec![part().partition]);
    let mut write = table_write();
    write.overwrite = Some(these.clone());
    let new = write.buckets[0].parts[0].clone();
    write.buckets[0].removed = vec![KnownPart { part: PartId(1000), deletions: None }];
    write.buckets[0].upsert_version = Some(8);
    let deletions = NewDeletions { known, rows: 3, content: content.clone(), synced: Vec::new() };
    write.buckets[0].deletions = vec![deletions];
    let merge = MergeParts {
        table,
        schema_version: 2,
        bucket: BucketIndex(3),
        epoch: Epoch(5),
        in_sync_version: 4,
        synced: vec![WorkerId(1)],
        inputs: vec![known],
        outputs: vec![MergedPart { part: new, deletions: Some((3, content)) }],
    };
    let copy = CopyPartitions {
        from: table,
        to: TableId(8),
        partitions: Partitions::All,
        replace: true,
        remove: false,
    };
    let view = NewView {
        database: DatabaseId(1),
        name: "v".into(),
        query: "SELECT key FROM orders".into(),
        query_database: "default".into(),
        columns: vec![("key".into(), ColumnType::UInt64)],
        kind: ViewKind::Materialized { source: table, target: TableId(8), owns_target: true },
        comment: Some("keys".into()),
        inner: None,
    };
    let commit = CommitWrite {
        tables: vec![write],
        staged: None,
        token: "u-1".into(),
        digest: "d2".into(),
        rows: 3,
        others: Vec::new(),
        origin: WriteOrigin::Insert,
    };
    let change = PartitionChange::Detach(these);
    let existing = ExistingView::OrReplace;
    let (database, name) = (DatabaseId(1), "w".to_owned());
    vec![
        ("commit_write", CommandBody::CommitWrite(commit)),
        ("merge_parts", CommandBody::MergeParts(merge)),
        ("change_partitions", CommandBody::ChangePartitions { table, change }),
        ("copy_partitions", CommandBody::CopyPartitions(copy)),
        ("create_view", CommandBody::CreateView { view, existing }),
        ("drop_view", CommandBody::DropView { view: TableId(9) }),
        ("rename_view", CommandBody::RenameView { view: TableId(9), database, name }),
        ("set_merges", CommandBody::SetMerges { table: Some(table), stopped: true }),
    ]
}

fn replication() -> Vec<(&'static str, CommandBody)> {
    let table = TableId(7);
    let known = KnownPart { part: PartId(1001), deletions: Some(CatalogVersion(45)) };
    let placement = BucketPlacement {
        table,
        bucket: BucketIndex(3),
        epoch: Epoch(5),
        in_sync_version: 4,
        leader: WorkerId(2),
        replicas: vec![WorkerId(1), WorkerId(2)],
        in_sync: vec![WorkerId(2)],
    };
    let change =
        CopiesChange { table, worker: WorkerId(1), change: CopyChange::Added, parts: vec![known] };
    let mut write = table_write();
    let content = DeletionContent::File { name: "deletions-9".into(), bytes: 20_000, crc32c: 7 };
    let synced = vec![WorkerId(1), WorkerId(2)];
    write.buckets[0].deletions = vec![NewDeletions { known, rows: 3, content, synced }];
    let commit = CommitWrite {
        tables: vec![write],
        staged: None,
        token: "d-1".into(),
        digest: "d3".into(),
        rows: 3,
        others: Vec::new(),
        origin: Default::default(),
    };
    vec![
        ("place_bucket", CommandBody::PlaceBucket(placement)),
        ("change_copies", CommandBody::ChangeCopies(change)),
        ("commit_deletion_file", CommandBody::CommitWrite(commit)),
        ("drain_worker", CommandBody::DrainWorker { worker: WorkerId(2), drained: true }),
    ]
}

#[test]
fn commands_of_every_kind() {
    for (name, body) in commands().into_iter().chain(takeaways()).chain(replication()) {
        check(&format!("command_{name}"), &Command { time_ms: 1_700_000_000_000, body });
    }
}

#[test]
fn outcomes() {
    let receipt =
        InsertReceipt { rows: 100, parts: 4, version: CatalogVersion(41), duplicate: false };
    let range = PartIdRange { start: 1001, end: 2001, worker: WorkerId(1), incarnation: 6 };
    check("outcome_done", &Outcome::Done);
    check("outcome_table_created", &Outcome::TableCreated(TableId(7)));
    let registered = Outcome::WorkerRegistered { worker: WorkerId(1), incarnation: 6 };
    check("outcome_worker_registered", &registered);
    check("outcome_part_ids_leased", &Outcome::PartIdsLeased(range));
    check("outcome_view_created", &Outcome::ViewCreated(TableId(9)));
    check("outcome_inserted", &Outcome::Inserted(receipt));
    check("outcome_refresh_begun", &Outcome::RefreshBegun(3));
}

fn schedule() -> RefreshSchedule {
    RefreshSchedule { every_ms: 3_600_000, offset_ms: 60_000, after_end: false, starts_empty: true }
}

fn refresh() -> ViewRefresh {
    ViewRefresh {
        view: TableId(9),
        next_ms: 1_700_000_000_000,
        stopped: true,
        requested: true,
        runs: 5,
        successes: 3,
        running: Some(RefreshRun {
            number: 5,
            coordinator: "c0ffee".into(),
            started_ms: 1_700_000_000_000,
            lease_until_ms: 1_700_000_015_000,
        }),
        last_success: Some(RefreshSuccess {
            coordinator: "c0ffee".into(),
            started_ms: 1,
            ended_ms: 2,
            rows: 3,
        }),
        last_failure: Some(RefreshFailure {
            coordinator: "decaf".into(),
            started_ms: 4,
            ended_ms: 5,
            code: "UNAVAILABLE".into(),
            message: "no worker is alive".into(),
        }),
        failures: 1,
    }
}

fn mutation_note() -> MutationNote {
    let command = "DELETE FROM orders WHERE key = 1".into();
    MutationNote { id: "m-1".into(), command, created_ms: 1_700_000_000_000, rows: 1 }
}

#[test]
fn refreshes_and_mutations() {
    check("row_view_refresh", &Row::ViewRefresh(refresh()));
    let (table, version) = (TableId(7), CatalogVersion(50));
    let note = mutation_note();
    check("row_mutation", &Row::Mutation(Mutation { table, version, note, done_ms: 6, parts: 2 }));
    let kind = ViewKind::Refreshable {
        target: TableId(8),
        owns_target: true,
        schedule: schedule(),
        append: true,
    };
    check("view_kind_refreshable", &kind);
    for (name, step) in [
        ("begin", RefreshStep::Begin { coordinator: "c0ffee".into(), runs: 4, lease_ms: 15_000 }),
        ("renew", RefreshStep::Renew { run: 5, lease_ms: 15_000 }),
        ("fail", RefreshStep::Fail { run: 5, code: "INTERNAL".into(), message: "why".into() }),
        ("request", RefreshStep::Request),
        ("stop", RefreshStep::Stop),
        ("start", RefreshStep::Start),
    ] {
        let body = CommandBody::Refresh { view: TableId(9), step };
        let command = Command { time_ms: 1_700_000_000_000, body };
        check(&format!("command_refresh_{name}"), &command);
    }
    let commit = |origin| {
        let body = CommandBody::CommitWrite(CommitWrite {
            tables: Vec::new(),
            staged: None,
            token: "r-1".into(),
            digest: "d3".into(),
            rows: 1,
            others: Vec::new(),
            origin,
        });
        Command { time_ms: 1_700_000_000_000, body }
    };
    let run = WriteOrigin::Refresh { view: TableId(9), run: 5 };
    check("command_commit_refresh", &commit(run));
    check("command_commit_mutation", &commit(WriteOrigin::Mutation(mutation_note())));
}

#[test]
fn keys_keep_their_order() {
    let table = TableId(7);
    let ascending = [
        RowKey::Cluster,
        RowKey::Database(DatabaseId(1)),
        RowKey::Table(table),
        RowKey::Table(TableId(256)),
        RowKey::Bucket(table, BucketIndex(255)),
        RowKey::Bucket(table, BucketIndex(256)),
        RowKey::Part(table, PartId(1)),
        RowKey::Part(TableId(8), PartId(0)),
        RowKey::Worker(WorkerId(1)),
        RowKey::PartIdRange(1001),
        RowKey::InsertToken(table, "a".into()),
        RowKey::InsertToken(table, "b".into()),
        RowKey::StagedInsert("x".into()),
        RowKey::View(TableId(9)),
        RowKey::Damage(damaged_copy()),
        RowKey::Damage(CopyId { worker: None, ..damaged_copy() }),
        RowKey::ViewRefresh(TableId(9)),
        RowKey::Mutation(table, CatalogVersion(50)),
        RowKey::Mutation(table, CatalogVersion(300)),
    ];
    let bytes: Vec<Vec<u8>> = ascending.iter().map(RowKey::to_bytes).collect();
    assert!(bytes.is_sorted());
    assert_eq!(RowKey::Part(table, PartId(1)).to_bytes(), {
        let mut bytes = vec![5];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 7]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        bytes
    });
}

#[test]
fn a_part_is_small() {
    let bytes = codec::encode(&Row::Part(part())).expect("encodes");
    assert!(bytes.len() <= 512, "{} bytes", bytes.len());
}

#[test]
fn newer_and_damaged_values_are_refused() {
    use granary_common::ErrorKind;
    let mut bytes = codec::encode(&Outcome::Done).expect("encodes");
    bytes[0] = codec::FORMAT_VERSION + 1;
    let kind = |bytes: &[u8]| codec::decode::<Outcome>(bytes).expect_err("refused").kind();
    assert_eq!(kind(&bytes), ErrorKind::Unsupported);
    assert_eq!(kind(&[]), ErrorKind::Corruption);
    assert_eq!(kind(&[codec::FORMAT_VERSION, 0xc1]), ErrorKind::Corruption);
}
