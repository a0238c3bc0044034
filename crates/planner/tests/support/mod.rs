#![allow(dead_code, clippy::unwrap_used)] // Each test uses a part of it; tests may panic.
//! Workers in one process over loopback, a catalog in memory, and an engine over them.

pub mod plans;
pub mod tpch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use granary_catalog::*;
use granary_common::random::SeededRandom;
use granary_common::{BucketIndex, ColumnId, Result, SystemClock, TableId, TaskOwner};
use granary_execution::error::from_datafusion;
use granary_execution::{BuiltinFunctions, CatalogDirectory, WorkerDirectory, WriteSpec};
use granary_planner::{
    EngineConfig, EngineMode, MemoryLimits, QueryEngine, QuerySettings, SessionInputs,
};
use granary_storage::{PartSchema, bucket_of, hash_columns};
use granary_worker::{MergeSettings, WorkerConfig, WorkerNode};

pub struct Cluster {
    pub catalog: Arc<MemoryCatalog>,
    pub workers: Vec<WorkerNode>,
    pub directory: Arc<dyn WorkerDirectory>,
    pub engine: QueryEngine,
    pub settings: QuerySettings,
    pub tasks: TaskOwner,
    inserts: AtomicU64,
    _folder: tempfile::TempDir,
}

/// A table to make: columns with their types, the sort key, the hashed columns, buckets.
pub struct Made<'a> {
    pub name: &'a str,
    pub columns: &'a [(&'a str, &'a str)],
    pub order_by: &'a [&'a str],
    pub hashed: &'a [&'a str],
    pub buckets: u32,
}

pub fn config(folder: &std::path::Path, number: usize) -> WorkerConfig {
    WorkerConfig {
        data_dir: folder.join(format!("worker-{number}")),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise_host: "127.0.0.1".to_owned(),
        zone: String::new(),
        volume_url: None,
        memory_bytes_max: 1 << 30,
        spill_bytes_max: 1 << 30,
        sweep_interval: Duration::from_secs(600),
        merges: MergeSettings::default(),
        copy_bytes_per_s: 1 << 30,
        read_cache_bytes_max: 0,
        reserves: Default::default(),
        scrub: Default::default(),
    }
}

impl Cluster {
    pub async fn start(count: usize, mode: EngineMode) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let catalog = Arc::new(MemoryCatalog::new("test", Arc::clone(&clock)).unwrap());
        let tasks = TaskOwner::current();
        let mut workers = Vec::new();
        for number in 0..count {
            let random = Arc::new(SeededRandom::new(number as u64));
            let worker = WorkerNode::start(
                config(folder.path(), number),
                Arc::clone(&catalog) as Arc<dyn Catalog>,
                Arc::new(BuiltinFunctions),
                Arc::clone(&clock),
                random,
                tasks.clone(),
            );
            workers.push(worker.await.expect("a worker starts"));
        }
        let local = match mode {
            EngineMode::Embedded => BTreeMap::from([(workers[0].id(), workers[0].local_api())]),
            EngineMode::Cluster => BTreeMap::new(),
        };
        let directory: Arc<dyn WorkerDirectory> =
            Arc::new(CatalogDirectory::new(Arc::clone(&catalog) as Arc<dyn Catalog>, local));
        let engine = QueryEngine::new(EngineConfig {
            mode,
            workers: Arc::clone(&directory),
            parts: (mode == EngineMode::Embedded).then(|| workers[0].part_store()),
            memory: MemoryLimits {
                node_bytes_max: 1 << 30,
                spill_dir: folder.path().join("spill"),
                spill_bytes_max: 1 << 30,
            },
            cluster: catalog.snapshot().cluster.as_ref().map(|cluster| cluster.id.clone()),
        })
        .unwrap();
        catalog
            .execute(CommandBody::CreateDatabase { name: "db".into(), if_not_exists: false })
            .await
            .unwrap();
        let settings =
            QuerySettings { max_threads: 2, distributed_scan_bytes_min: 1, ..Default::default() };
        let inserts = AtomicU64::new(0);
        Cluster { catalog, workers, directory, engine, settings, tasks, inserts, _folder: folder }
    }

    pub async fn create(&self, made: &Made<'_>) -> TableId {
        let database = self.catalog.snapshot().find_database("db").unwrap().id;
        let id = |name: &&str| {
            ColumnId(made.columns.iter().position(|(column, _)| column == name).unwrap() as u32)
        };
        let column = |(at, (name, text)): (usize, &(&str, &str))| {
            Column::new(ColumnId(at as u32), *name, text.parse().unwrap())
        };
        let key = |name: &&str| KeyExpression { text: (*name).to_owned(), column: id(name) };
        let table = NewTable {
            database,
            name: made.name.to_owned(),
            engine: TableEngine { kind: EngineKind::MergeTree, arguments: vec![] },
            columns: made.columns.iter().enumerate().map(column).collect(),
            order_by: made.order_by.iter().map(key).collect(),
            primary_key_len: made.order_by.len(),
            partition_by: vec![],
            distribution: match made.hashed {
                [] => Distribution::Rotation,
                hashed => Distribution::Hash(hashed.iter().map(id).collect()),
            },
            buckets: Some(made.buckets),
            colocation_group: match made.hashed {
                [] => None,
                _ => Some(format!("group-{}", made.buckets)),
            },
            settings: BTreeMap::new(),
            comment: None,
            unique_key: Vec::new(),
            options: Default::default(),
        };
        let command = CommandBody::CreateTable { table, if_not_exists: false };
        match self.catalog.execute(command).await.unwrap().1 {
            Outcome::TableCreated(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub async fn insert(&self, table: TableId, columns: Vec<ArrayRef>) {
        let snapshot = self.catalog.snapshot();
        let state = snapshot.tables.get(&table).unwrap();
        let schema = PartSchema::of(&state.table);
        let block = RecordBatch::try_new(schema.arrow_schema(), columns).unwrap();
        let insert = self.inserts.fetch_add(1, Ordering::SeqCst);
        let mut buckets = Vec::new();
        for (bucket, rows) in split(state, &schema, &block, insert) {
            let row = state.buckets.get(&bucket).unwrap();
            let api = self.directory.api(row.leader).unwrap();
            let spec = WriteSpec {
                schema: schema.clone(),
                bucket,
                indexes: Vec::new(),
                projections: state.table.options.bound_projections().collect(),
                location: PartLocation::Local { copies: vec![row.leader], disk: None },
                copies: granary_catalog::replication::CopyTargets::of(&snapshot, state, row),
                partitions_per_block_max: 100,
            };
            let parts = api.write_block(spec, rows).await.expect("a block is written");
            buckets.push(BucketWrite {
                bucket,
                epoch: row.epoch,
                in_sync_version: row.in_sync_version,
                synced: row.in_sync.clone(),
                parts,
                deletions: Vec::new(),
                removed: Vec::new(),
                upsert_version: None,
            });
        }
        let commit = CommitWrite {
            tables: vec![TableWrite {
                table,
                schema_version: state.table.schema_version,
                view_set_version: state.table.view_set_version,
                data_version: state.table.data_version,
                buckets,
                overwrite: None,
            }],
            staged: None,
            token: format!("insert-{insert}"),
            digest: format!("digest-{insert}"),
            rows: block.num_rows() as u64,
            others: Vec::new(),
            origin: Default::default(),
        };
        self.catalog.execute(CommandBody::CommitWrite(commit)).await.expect("a commit");
    }

    fn session(&self) -> datafusion::execution::SessionState {
        self.engine
            .session_state(SessionInputs {
                snapshot: self.catalog.snapshot(),
                settings: &self.settings,
                current_database: "db",
                functions: Arc::new(BuiltinFunctions),
                extra_schemas: vec![],
                views: None,
            })
            .expect("a session")
    }

    pub async fn plan(&self, sql: &str) -> Planned {
        let state = self.session();
        let logical = state.create_logical_plan(sql).await.expect("binds");
        let plan = self.engine.physical_plan(&state, &logical).await.expect("plans");
        Planned { state, plan }
    }

    pub async fn explain(&self, sql: &str) -> String {
        self.engine.explain(&self.plan(sql).await.plan)
    }

    pub async fn explain_analyze(&self, sql: &str) -> String {
        let mut state = self.session();
        let logical = state.create_logical_plan(sql).await.expect("binds");
        self.engine.explain_analyze(&logical, &mut state).await.expect("runs")
    }

    pub async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let planned = self.plan(sql).await;
        let batches = self.engine.execute(&planned.plan, &planned.state)?;
        batches.try_collect().await.map_err(|error| from_datafusion(&error))
    }

    /// Rows as text, sorted.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let mut rows = texts(&self.query(sql).await.expect("runs"));
        rows.sort();
        rows
    }
}

pub struct Planned {
    pub state: datafusion::execution::SessionState,
    pub plan: Arc<dyn datafusion::physical_plan::ExecutionPlan>,
}

pub fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> =
                columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

fn split(
    state: &TableState,
    schema: &PartSchema,
    block: &RecordBatch,
    insert: u64,
) -> BTreeMap<BucketIndex, RecordBatch> {
    let buckets = state.table.buckets;
    let Distribution::Hash(hashed) = &state.table.distribution else {
        let bucket = BucketIndex((insert % u64::from(buckets)) as u32);
        return BTreeMap::from([(bucket, block.clone())]);
    };
    let keys: Vec<ArrayRef> =
        hashed.iter().map(|id| Arc::clone(block.column(schema.position(*id).unwrap()))).collect();
    let mut rows: BTreeMap<BucketIndex, Vec<u64>> = BTreeMap::new();
    for (row, hash) in hash_columns(&keys).unwrap().into_iter().enumerate() {
        rows.entry(bucket_of(hash, buckets)).or_default().push(row as u64);
    }
    let taken = rows.into_iter().map(|(bucket, rows)| {
        let rows = UInt64Array::from(rows);
        assert!(!rows.is_empty());
        (bucket, take_record_batch(block, &rows).unwrap())
    });
    taken.collect()
}
