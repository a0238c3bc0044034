//! Frozen bytes: what an earlier build wrote must be read by every later one.
//!
//! A change that breaks one of these breaks data folders and rolling upgrades. Give a new field a
//! default instead, or raise the format's version and write a migration. New fixtures are written
//! by `GRANARY_WRITE_FIXTURES=1 cargo test -p granary-catalog --test formats`; existing files are
//! never overwritten.

mod commands;
#[path = "../support/mod.rs"]
mod support;
mod views;

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

fn worker(is_full: bool) -> Worker {
    Worker {
        id: WorkerId(1),
        identity: "fedcba".into(),
        address: "w-1:7422".into(),
        zone: "a".into(),
        state: WorkerState::Draining,
        incarnation: 6,
        software_version: "0.1.0".into(),
        drained: false,
        is_full,
    }
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
        location: PartLocation::Local { copies: vec![WorkerId(1), WorkerId(2)], disk: None },
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

fn cluster() -> Cluster {
    Cluster {
        id: ClusterId("0123456789abcdef".into()),
        next_database_id: 2,
        next_table_id: 8,
        next_worker_id: 3,
        next_part_id: 2001,
        horizon: CatalogVersion(12),
        merges_stopped: false,
        protocol: 1,
    }
}

fn rows() -> Vec<(&'static str, Row)> {
    vec![
        ("cluster", Row::Cluster(cluster())),
        (
            "cluster_protocol",
            Row::Cluster(Cluster { merges_stopped: true, protocol: 2, ..cluster() }),
        ),
        (
            "table_buckets",
            Row::Table(Table {
                options: TableOptions {
                    layout: BucketHistory {
                        first: 4,
                        earlier: vec![EarlierBuckets {
                            first: 1,
                            buckets: 3,
                            until: CatalogVersion(77),
                        }],
                    },
                    ..TableOptions::default()
                },
                ..table()
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
                files: Some(PartFiles::of((TableId(6), PartId(900)))),
                detached: true,
                ..part()
            }),
        ),
        (
            "part_projections",
            Row::Part(Part {
                files: Some(PartFiles {
                    projections: vec![PartProjection { fingerprint: 9, rows: 12, bytes: 800 }],
                    ..PartFiles::of((TableId(7), PartId(1001)))
                }),
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
                filled: None,
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
        ("worker", Row::Worker(worker(false))),
        ("worker_full", Row::Worker(worker(true))),
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
            "table_history",
            Row::TableHistory(TableHistory {
                table: TableId(7),
                readable_from: CatalogVersion(40),
                settled: CatalogVersion(38),
                forgotten: CatalogVersion(36),
            }),
        ),
        (
            "earlier_table",
            Row::EarlierTable(EarlierTable { until: CatalogVersion(44), definition: table() }),
        ),
        (
            "function",
            Row::Function(SqlFunction {
                name: "f".into(),
                parameters: vec!["x".into(), "y".into()],
                body: "x * y + 1".into(),
                created: CatalogVersion(42),
            }),
        ),
        ("moment", Row::Moment(Moment { version: CatalogVersion(41), time_ms: 1_700_000_000_002 })),
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

/// Every kind of rule.
fn rules() -> Vec<TtlRule> {
    let expression = |byte, columns: &[u32]| RowExpression {
        plan: vec![byte, 200],
        columns: columns.iter().copied().map(ColumnId).collect(),
    };
    let rule = |action| TtlRule { expiry: expression(1, &[1]), condition: None, action };
    let roll_up = RollUp {
        keys: vec![ColumnId(0)],
        aggregates: vec![expression(3, &[2])],
        set: vec![(ColumnId(2), expression(4, &[0]))],
    };
    vec![
        TtlRule { condition: Some(expression(2, &[0, 2])), ..rule(TtlAction::Delete) },
        rule(TtlAction::Reset { column: ColumnId(2), default: Some(expression(5, &[])) }),
        rule(TtlAction::Reset { column: ColumnId(2), default: None }),
        rule(TtlAction::GroupBy(roll_up)),
        rule(TtlAction::Recompress),
        rule(TtlAction::Move(TtlPlace::Disk("cold".into()))),
        rule(TtlAction::Move(TtlPlace::Volume("far".into()))),
    ]
}

#[test]
fn indexes_of_every_kind() {
    let kinds = [
        IndexKind::MinMax,
        IndexKind::Set { values_max: 100 },
        IndexKind::Bloom { false_per_million: 25_000 },
        IndexKind::Ngrams { length: 4, bytes: 1024, hashes: 3, seed: 7 },
        IndexKind::Tokens { bytes: 1024, hashes: 3, seed: 7 },
    ];
    let expression = RowExpression { plan: vec![9, 200], columns: vec![ColumnId(2)] };
    let index = |kind: IndexKind| SkipIndex {
        name: "i".into(),
        expression: "lower(s)".into(),
        kind: "written".into(),
        granularity: 2,
        bound: Some(BoundIndex { expression: expression.clone(), kind, granularity: 2 }),
    };
    let options = TableOptions {
        indexes: kinds.map(index).to_vec(),
        partition_expressions: vec![None, Some(expression.clone())],
        ..TableOptions::default()
    };
    check("table_options_indexes", &options);
    let words = TableOptions { indexes: vec![index(IndexKind::Words)], ..options };
    check("table_options_full_text", &words);
}

#[test]
fn constraints() {
    let constraint = Constraint { name: "c".into(), condition: "n > 0".into() };
    let options = TableOptions { constraints: vec![constraint], ..TableOptions::default() };
    check("table_options_constraints", &options);
}

#[test]
fn projections_of_every_kind() {
    let expression = |byte| RowExpression { plan: vec![byte, 200], columns: vec![ColumnId(2)] };
    let value = |(byte, fold): (u8, Fold)| ProjectedValue {
        fold,
        aggregate: expression(byte),
        column_type: ColumnType::Nullable(Box::new(ColumnType::Int64)),
    };
    let folds = [Fold::Count, Fold::Sum, Fold::Min, Fold::Max];
    let key = ProjectedKey { expression: expression(9), column_type: ColumnType::String };
    let grouped = BoundProjection {
        keys: vec![key.clone()],
        values: (1..).zip(folds).map(value).collect(),
        ordered_by: vec![0],
        is_grouped: true,
    };
    let reordered =
        BoundProjection { keys: vec![key], values: vec![], ordered_by: vec![0], is_grouped: false };
    let projection = |bound| Projection { name: "p".into(), query: "SELECT 1".into(), bound };
    let options = TableOptions {
        projections: [Some(grouped), Some(reordered), None].map(projection).to_vec(),
        ..TableOptions::default()
    };
    check("table_options_projections", &options);
}

#[test]
fn rules_of_a_ttl() {
    let options = TableOptions { rules: rules(), ttl_version: 3, ..TableOptions::default() };
    check("table_options_ttl", &options);
    let codecs = vec![ColumnCodec::Delta, ColumnCodec::Zstd { level: 9 }];
    let actions = [TtlAction::RecompressWith(codecs), TtlAction::RecompressWith(Vec::new())];
    let rules = actions.map(|action| TtlRule { action, ..rules().swap_remove(0) });
    let options = TableOptions { rules: rules.to_vec(), ..TableOptions::default() };
    check("table_options_recompress", &options);
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
        RowKey::TableHistory(table),
        RowKey::EarlierTable(table, CatalogVersion(44)),
        RowKey::Moment(CatalogVersion(41)),
        RowKey::Moment(CatalogVersion(300)),
        RowKey::Function("f".into()),
        RowKey::Function("g".into()),
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
