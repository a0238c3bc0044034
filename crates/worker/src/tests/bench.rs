//! A worker over a catalog in memory, the statements that change its parts, and a model of the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use granary_catalog::replication::CopyTargets;
use granary_catalog::*;
use granary_common::{BucketIndex, ColumnId, DatabaseId, ErrorKind, Result, SystemClock, TableId};
use granary_common::{CatalogVersion, PartId, WorkerId};
use granary_execution::{
    ActiveWork, CatalogDirectory, OptimizeSpec, WorkerApi, WorkerDirectory, WriteSpec,
    WrittenDeletions,
};
use granary_storage::merge::NoStates;
use granary_storage::part::owner_of;
use granary_storage::ttl::NoExpressions;
use granary_storage::{
    Deletions, PartRef, PartScan, PartSchema, PartStore, PartStoreOptions, Tiers, Volume,
    VolumeKind, Volumes,
};

use crate::fullness::Fullness;
use crate::local::{Copying, Disks, LocalWorker};
use crate::merge::{MergeSettings, Merges, StoredParts};
use crate::part_ids::LeasedPartIds;
use crate::quarantine::Quarantine;
use crate::replicate::{Arrivals, Receiver, Shipper};
use crate::sweep::{SharedSweeper, Sweeper};

/// Rows of a part whose deletions are too many for the catalog to hold them itself.
pub const BIG: i64 = 2 << 16;
/// Inserts of so many rows are in partition 0 only.
const ONE_PARTITION_ROWS: i64 = 1_000;

/// What is done to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// So many rows, in both partitions.
    Insert(i64),
    /// Every second row of the partition's first part.
    DeleteHalf(i64),
    /// Every third one, whether or not it is deleted.
    DeleteThird(i64),
    Optimize,
    /// Lets go of what no query can see, and deletes what nothing refers to.
    Sweep,
}

/// The catalog and the rows that are in the table, which outlast the worker.
pub struct Bench {
    pub catalog: Arc<MemoryCatalog>,
    pub table: TableId,
    next_id: i64,
    /// The rows by their id, with their partition.
    pub rows: BTreeSet<(i64, i64)>,
}

/// One life of the worker.
pub struct Life {
    pub local: Arc<LocalWorker>,
    store: Arc<PartStore>,
    pub volume: Arc<Volume>,
    sweeper: Sweeper,
    shared_sweeper: SharedSweeper,
}

impl Life {
    /// Deletes what nothing refers to.
    pub async fn sweep(&mut self) -> Result<()> {
        self.sweeper.sweep().await?;
        self.shared_sweeper.sweep().await
    }
}

fn new_table() -> NewTable {
    let column = |id, name: &str| Column::new(ColumnId(id), name, ColumnType::Int64);
    let key = |id, name: &str| KeyExpression { text: name.into(), column: ColumnId(id) };
    NewTable {
        database: DatabaseId(1),
        name: "t".into(),
        engine: TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() },
        columns: vec![column(0, "id"), column(1, "half")],
        order_by: vec![key(0, "id")],
        primary_key_len: 1,
        partition_by: vec![key(1, "half")],
        distribution: Distribution::Rotation,
        buckets: Some(1),
        colocation_group: None,
        settings: BTreeMap::from([("history_retention_seconds".to_owned(), "0".to_owned())]),
        comment: None,
        unique_key: Vec::new(),
        options: Default::default(),
    }
}

impl Bench {
    /// An empty table that worker 1 leads.
    pub async fn new() -> Bench {
        let catalog = Arc::new(MemoryCatalog::new("test", SystemClock::shared()).unwrap());
        let mut bench = Bench { catalog, table: TableId(0), next_id: 0, rows: BTreeSet::new() };
        bench.register().await;
        let create = CommandBody::CreateTable { table: new_table(), if_not_exists: false };
        bench.table = match bench.catalog.execute(create).await.unwrap().1 {
            Outcome::TableCreated(table) => table,
            other => panic!("{other:?}"),
        };
        bench
    }

    async fn register(&self) -> (WorkerId, u64) {
        let register = CommandBody::RegisterWorker {
            identity: "w".into(),
            address: "w:1".into(),
            zone: String::new(),
            software_version: "1".into(),
        };
        match self.catalog.execute(register).await.unwrap().1 {
            Outcome::WorkerRegistered { worker, incarnation } => (worker, incarnation),
            other => panic!("{other:?}"),
        }
    }

    /// The worker starts, on this volume.
    pub async fn start(&self, volume: Arc<Volume>) -> Life {
        let (worker, incarnation) = self.register().await;
        let catalog: Arc<dyn Catalog> = Arc::clone(&self.catalog) as Arc<dyn Catalog>;
        let volumes = Volumes::new([Arc::clone(&volume)]);
        let store = Arc::new(PartStore::new(volumes, PartStoreOptions::default()));
        let ids = LeasedPartIds::new(Arc::clone(&catalog), worker, incarnation);
        let ids = Arc::new(ids);
        let active = ActiveWork::default();
        let peers: Arc<dyn WorkerDirectory> =
            Arc::new(CatalogDirectory::new(Arc::clone(&catalog), BTreeMap::new()));
        let shipper = Shipper::new(worker, Arc::clone(&peers), SystemClock::shared());
        let shipper = Arc::new(shipper);
        let arrivals = Arc::<Arrivals>::default();
        let receiver = Arc::new(Receiver {
            store: Arc::clone(&store),
            workers: peers,
            arrivals: Arc::clone(&arrivals),
        });
        let merger = StoredParts {
            store: Arc::clone(&store),
            ids: Arc::clone(&ids),
            states: Arc::new(NoStates),
            shipper: Arc::clone(&shipper),
            evaluator: Arc::new(NoExpressions),
            clock: SystemClock::shared(),
            memory_bytes: MergeSettings::default().memory_bytes_of_one(),
        };
        let merges = Arc::new(Merges::new(
            worker,
            MergeSettings::default(),
            Arc::clone(&catalog),
            SystemClock::shared(),
            Arc::new(merger),
            active.clone(),
        ));
        let of_kind = |is_shared: bool| {
            let is_it = (volume.kind == VolumeKind::Shared) == is_shared;
            is_it.then(|| Arc::clone(&volume)).into_iter().collect()
        };
        let sweeper = Sweeper::new(
            Arc::clone(&catalog),
            Arc::clone(&ids),
            worker,
            of_kind(false),
            merges.replaced(),
            arrivals,
        );
        let shared_sweeper = SharedSweeper::new(Arc::clone(&catalog), worker, of_kind(true));
        let fullness = Fullness::new(worker, &catalog, &store, &Tiers::default());
        let (quarantine, _) = Quarantine::new(worker, catalog);
        let copying = Copying { shipper, receiver };
        let local = LocalWorker::new(
            Arc::clone(&store),
            ids,
            active,
            merges,
            copying,
            Arc::new(NoExpressions),
            Disks { quarantine, fullness: Arc::new(fullness) },
        );
        Life { local: Arc::new(local), store, volume, sweeper, shared_sweeper }
    }

    /// Makes a change as the coordinator would: the rows change with its commit, or not at all.
    pub async fn make(&mut self, life: &mut Life, change: Change) -> Result<()> {
        match change {
            Change::Insert(rows) => self.insert(life, rows).await,
            Change::DeleteHalf(half) => self.delete(life, half, 2).await,
            Change::DeleteThird(half) => self.delete(life, half, 3).await,
            Change::Optimize => {
                let spec = OptimizeSpec {
                    buckets: vec![BucketIndex(0)],
                    is_final: true,
                    ..OptimizeSpec::of(self.table, Partitions::All)
                };
                life.local.optimize(spec).await.map(drop)
            }
            Change::Sweep => {
                self.forget(self.catalog.snapshot().version).await;
                life.sweep().await
            }
        }
    }

    /// Forgets what nobody needs who reads at `pinned` or above.
    pub async fn forget(&self, pinned: CatalogVersion) {
        // What is refused from then on goes with the second command.
        for _ in 0..2 {
            let forget = CommandBody::AdvanceHorizon { horizon: pinned };
            self.catalog.execute(forget).await.unwrap();
        }
    }

    pub fn state(&self) -> TableState {
        self.catalog.snapshot().tables[&self.table].clone()
    }

    pub fn parts(&self) -> Vec<Arc<Part>> {
        let snapshot = self.catalog.snapshot();
        let state = &snapshot.tables[&self.table];
        state.visible_parts(snapshot.version).map(Arc::clone).collect()
    }

    async fn insert(&mut self, life: &Life, rows: i64) -> Result<()> {
        let schema = PartSchema::of(&self.state().table);
        let ids = self.next_id..self.next_id + rows;
        let halves = ids.clone().map(|id| if rows < ONE_PARTITION_ROWS { id % 2 } else { 0 });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(Int64Array::from_iter_values(halves.clone())),
        ];
        let block = RecordBatch::try_new(schema.arrow_schema(), columns).unwrap();
        let spec = WriteSpec {
            schema,
            bucket: BucketIndex(0),
            location: life.volume.part_location(),
            partitions_per_block_max: 100,
            copies: CopyTargets::default(),
            indexes: Vec::new(),
            projections: Vec::new(),
        };
        let parts = life.local.write_block(spec, block).await?;
        let token = format!("insert {}", self.next_id);
        let write = BucketWrite { parts, ..self.write() };
        self.commit(token, write).await;
        self.next_id += rows;
        self.rows.extend(ids.zip(halves));
        Ok(())
    }

    async fn delete(&mut self, life: &Life, half: i64, every: u32) -> Result<()> {
        let version = self.catalog.snapshot().version;
        let partition = PartitionValue(vec![Scalar::Int(half)]);
        let parts = self.parts();
        let part = parts.iter().find(|part| part.partition == partition).unwrap();
        let reference = PartRef::at(part, version);
        let deleted: Deletions = (0..part.rows as u32).filter(|row| row % every == 0).collect();
        let mut all = deleted.clone();
        all.union(&life.store.deletions(&reference).await.unwrap().unwrap_or_default());
        let whole = PartRef { deletions: None, rows_deleted: 0, ..reference.clone() };
        let ids = read(life, &self.state(), &whole).await.unwrap();
        let WrittenDeletions { content, synced } =
            life.local.write_deletions(reference, deleted).await?;
        assert!(matches!(content, DeletionContent::File { .. }), "it was to be a file");
        let newest = part.deletions.last().map(|vector| vector.since);
        let known = KnownPart { part: part.id, deletions: newest };
        let deletions = vec![NewDeletions { known, rows: all.len(), content, synced }];
        let token = format!("delete of {} at {version}, each {every}", part.id);
        self.commit(token, BucketWrite { deletions, ..self.write() }).await;
        for row in ids.iter().step_by(every as usize) {
            self.rows.remove(row);
        }
        Ok(())
    }

    fn write(&self) -> BucketWrite {
        let state = self.state();
        let bucket = &state.buckets[&BucketIndex(0)];
        BucketWrite {
            bucket: BucketIndex(0),
            epoch: bucket.epoch,
            in_sync_version: bucket.in_sync_version,
            synced: bucket.in_sync.clone(),
            parts: Vec::new(),
            deletions: Vec::new(),
            removed: Vec::new(),
            upsert_version: None,
        }
    }

    async fn commit(&self, token: String, write: BucketWrite) {
        let state = self.state();
        let commit = CommandBody::CommitWrite(CommitWrite {
            tables: vec![TableWrite {
                table: self.table,
                schema_version: state.table.schema_version,
                view_set_version: state.table.view_set_version,
                data_version: state.table.data_version,
                buckets: vec![write],
                overwrite: None,
            }],
            staged: None,
            token,
            digest: String::new(),
            rows: 0,
            others: Vec::new(),
            origin: WriteOrigin::default(),
        });
        self.catalog.execute(commit).await.unwrap();
    }

    /// Every part is whole, and together they hold the rows of the model.
    pub async fn check_rows(&self, life: &Life) {
        let version = self.catalog.snapshot().version;
        let state = self.state();
        let mut found = Vec::new();
        for part in self.parts() {
            let reference = PartRef::at(&part, version);
            let damage = life.local.check_part(reference.clone()).await.unwrap();
            assert_eq!(damage, None, "part {}", part.id);
            found.extend(read(life, &state, &reference).await.unwrap());
        }
        found.sort_unstable();
        assert!(found.iter().eq(&self.rows), "{} rows, not {}", found.len(), self.rows.len());
    }

    /// Nothing is on the volume but what the catalog refers to.
    pub async fn check_files(&self, life: &Life) {
        let mut owned: BTreeMap<PartId, BTreeSet<String>> = BTreeMap::new();
        let (snapshot, state) = (self.catalog.snapshot(), self.state());
        for part in self.parts() {
            let names = owned.entry(part.file_owner().1).or_default();
            names.extend(["data.vortex", "descriptor", "index"].map(str::to_owned));
            let needed = snapshot.needed_deletions(&state, &part).iter();
            names.extend(needed.filter_map(|vector| match &vector.content {
                DeletionContent::File { name, .. } => Some(name.clone()),
                DeletionContent::Inline(_) => None,
            }));
        }
        let mut there: BTreeMap<PartId, BTreeSet<String>> = BTreeMap::new();
        let objects: Vec<_> = life.volume.store.list(None).try_collect().await.unwrap();
        for object in objects {
            let path = object.location.as_ref();
            if path == "cluster" {
                continue; // Whose a shared volume is.
            }
            let below = path.strip_prefix("parts/").unwrap_or_else(|| panic!("{path} is left"));
            let (_, part) = owner_of(below).unwrap();
            let name = object.location.filename().unwrap_or_default().to_owned();
            there.entry(part).or_default().insert(name);
        }
        assert_eq!(there, owned);
    }
}

/// The rows of a part.
pub async fn read(life: &Life, state: &TableState, part: &PartRef) -> Result<Vec<(i64, i64)>> {
    let schema = Arc::new(PartSchema::of(&state.table));
    let scan = PartScan {
        columns: vec![ColumnId(0), ColumnId(1)],
        filter: None,
        ordered: true,
        rows: None,
        batch_rows: 0,
        limit: None,
        hints: Vec::new(),
    };
    let batches: Vec<RecordBatch> =
        life.store.open(part).await?.scan(schema, scan).try_collect().await?;
    let rows = batches.iter().flat_map(|batch| {
        let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().to_vec();
        column(0).into_iter().zip(column(1))
    });
    Ok(rows.collect())
}

/// What a statement may fail with when the disk does.
pub fn is_told(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ResourceExhausted | ErrorKind::Unavailable)
}
