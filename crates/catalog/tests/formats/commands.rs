//! Commands.

use super::*;

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
                projections: Vec::new(),
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
                bound: None,
            }],
            projections: vec![Projection {
                name: "p".into(),
                query: "SELECT count()".into(),
                bound: None,
            }],
            ttl: Some("at + INTERVAL 1 YEAR".into()),
            ..TableOptions::default()
        },
        requires_no_parts: true,
        appended_keys: 0,
    }
}

/// A column whose values in older rows follow from another one.
fn alter_table_computed() -> AlterTable {
    let mut alter = alter_table();
    let input = Column { added: Some(Scalar::Int(7)), ..alter.columns[0].clone() };
    let expression = RowExpression { plan: vec![9, 200], columns: vec![input.id] };
    let computed = AddedExpression { expression, inputs: vec![input], since: 4 };
    alter.columns[1].computed = Some(Box::new(computed));
    alter
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
        ("undrop_table", CommandBody::UndropTable { table }),
        ("restore_table", CommandBody::RestoreTable { table, version: CatalogVersion(41) }),
        (
            "clone_table",
            CommandBody::CloneTable(CloneTable {
                from: table,
                version: Some(CatalogVersion(41)),
                database: DatabaseId(1),
                name: "copy".into(),
                if_not_exists: true,
            }),
        ),
        (
            "rename_table",
            CommandBody::RenameTable { table, database: DatabaseId(1), name: "old".into() },
        ),
        ("exchange_tables", CommandBody::ExchangeTables { first: table, second: TableId(8) }),
        ("truncate_table", CommandBody::TruncateTable { table }),
        ("alter_table", CommandBody::AlterTable(Box::new(alter_table()))),
        (
            "alter_table_order_by",
            CommandBody::AlterTable(Box::new(AlterTable { appended_keys: 2, ..alter_table() })),
        ),
        ("alter_table_computed", CommandBody::AlterTable(Box::new(alter_table_computed()))),
        ("register_worker", support::register("fedcba")),
        (
            "set_worker_state",
            CommandBody::SetWorkerState { worker, incarnation, state: WorkerState::Dead },
        ),
        ("lease_part_ids", CommandBody::LeasePartIds { worker, incarnation, count: 1000 }),
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
                continues: false,
            },
        ),
        (
            "stage_more_parts",
            CommandBody::StageParts {
                transaction: "x-1".into(),
                write: table_write(),
                views: Vec::new(),
                continues: true,
            },
        ),
        ("abort_staged", CommandBody::AbortStaged { transaction: "x-1".into() }),
        (
            "expire",
            CommandBody::Expire { staged_before_ms: 1, tokens_before_ms: 2, tokens_per_table: 3 },
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
        ttl_version: 0,
        is_move: false,
    };
    let aged = MergeParts { ttl_version: 9, is_move: true, ..merge.clone() };
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
        ("merge_parts_ttl", CommandBody::MergeParts(aged)),
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

fn cluster() -> Vec<(&'static str, CommandBody)> {
    let drop = ClusterChange::DropWorker { worker: WorkerId(2) };
    let room = ClusterChange::ChangeRoom { worker: WorkerId(2), incarnation: 6, is_full: true };
    vec![
        ("drop_worker", CommandBody::Cluster(drop)),
        ("change_room", CommandBody::Cluster(room)),
        (
            "create_function",
            CommandBody::Function(FunctionChange::Create {
                name: "f".into(),
                parameters: vec!["x".into(), "y".into()],
                body: "x * y + 1".into(),
                existing: ExistingView::OrReplace,
            }),
        ),
        (
            "drop_function",
            CommandBody::Function(FunctionChange::Drop { name: "f".into(), if_exists: true }),
        ),
        ("raise_protocol", CommandBody::Cluster(ClusterChange::RaiseProtocol { version: 2 })),
    ]
}

fn buckets() -> Vec<(&'static str, CommandBody)> {
    let table = TableId(7);
    let change = BucketChange::Count { table, schema_version: 3, buckets: 8 };
    let part = table_write().buckets[0].parts[0].clone();
    let deletions = Some((2, DeletionContent::Inline(vec![1, 2])));
    let split = SplitParts {
        table,
        schema_version: 4,
        bucket: BucketIndex(3),
        epoch: Epoch(5),
        inputs: vec![KnownPart { part: PartId(900), deletions: Some(CatalogVersion(45)) }],
        outputs: vec![(BucketIndex(7), MergedPart { part, deletions })],
    };
    vec![
        ("change_buckets", CommandBody::Buckets(change)),
        ("split_parts", CommandBody::Buckets(BucketChange::Split(split))),
    ]
}

fn integrity() -> Vec<(&'static str, CommandBody)> {
    let (worker, incarnation) = (WorkerId(1), 6);
    let reason = Some("file index: it is cut".into());
    let shared = CopyId { worker: None, ..damaged_copy() };
    vec![
        ("release_part_ids", CommandBody::ReleasePartIds { worker, incarnation, start: 1001 }),
        ("mark_damage", CommandBody::MarkDamage { copy: damaged_copy(), reason }),
        ("mark_whole", CommandBody::MarkDamage { copy: shared, reason: None }),
    ]
}

#[test]
fn commands_of_every_kind() {
    let later = replication().into_iter().chain(integrity()).chain(cluster()).chain(buckets());
    for (name, body) in commands().into_iter().chain(takeaways()).chain(later) {
        check(&format!("command_{name}"), &Command { time_ms: 1_700_000_000_000, body });
    }
}
