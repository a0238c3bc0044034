//! The scheduler over a catalog in memory, with a merger that only counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use granary_catalog::*;
use granary_common::{
    BucketIndex, CatalogVersion, ColumnId, DatabaseId, Error, Result, SystemClock, TableId,
    TestClock,
};
use granary_execution::OptimizeSpec;
use granary_storage::TierVolume;
use granary_storage::ttl::PartLife;
use granary_storage::volume::tiers::disk_of;

use super::job::{CarryOver, Made};
use super::split::{SplitCarryOver, SplitDeletions, SplitJob, SplitMade};
use super::*;

mod ttl;

/// Makes parts of as many rows as the inputs have; can be told what happens while it works.
#[derive(Debug)]
pub(super) struct Counting {
    catalog: Arc<dyn Catalog>,
    next: AtomicU64,
    pub discarded: AtomicU64,
    meanwhile: Mutex<Vec<CommandBody>>,
    /// Whether deletions of inputs can be carried over.
    carries: bool,
    /// When parts of so many rows are due, and, if that is before the epoch, gone as well.
    due_s: BTreeMap<u64, i64>,
    /// Where parts of so many rows are to be from when on.
    moves: BTreeMap<u64, Vec<(i64, TtlPlace)>>,
}

#[derive(Debug)]
struct Carried(bool);

#[async_trait]
impl CarryOver for Carried {
    async fn carry(
        &self,
        inputs: &[Arc<Part>],
        version: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>> {
        let rows = inputs.iter().map(|part| part.rows - part.rows_at(version)).sum();
        Ok(self.0.then(|| (rows, DeletionContent::Inline(vec![1]))))
    }
}

/// Rows that were there when they were read.
#[derive(Debug)]
struct SplitRows {
    bucket: BucketIndex,
    rows: u64,
}

#[async_trait]
impl SplitCarryOver for SplitRows {
    async fn carry(&self, inputs: &[Arc<Part>], version: CatalogVersion) -> Result<SplitDeletions> {
        let left: u64 = inputs.iter().map(|part| part.rows_at(version)).sum();
        Ok([(self.bucket, (self.rows - left, DeletionContent::Inline(vec![1])))].into())
    }
}

#[async_trait]
impl Merger for Counting {
    async fn merge(&self, job: &Job, _progress: &Arc<MergeProgress>) -> Result<Made> {
        if job.is_expired {
            return Ok(Made { part: None, deletions: None, rows: Box::new(Carried(true)) });
        }
        let meanwhile = std::mem::take(&mut *self.meanwhile.lock());
        for command in meanwhile {
            self.catalog.execute(command).await?;
        }
        let part = NewPart {
            id: PartId(self.next.fetch_add(1, Ordering::SeqCst)),
            partition: job.lane.partition.clone(),
            rows: job.inputs.iter().map(|part| part.rows).sum(),
            bytes: job.bytes(),
            key_range: None,
            location: job.location(),
            projections: Vec::new(),
        };
        let rows = Box::new(Carried(self.carries));
        Ok(Made { part: Some(part), deletions: None, rows })
    }

    /// All rows go to the first of the new buckets.
    async fn split(&self, split: &SplitJob, _: &Arc<MergeProgress>) -> Result<SplitMade> {
        let job = &split.job;
        let meanwhile = std::mem::take(&mut *self.meanwhile.lock());
        for command in meanwhile {
            self.catalog.execute(command).await?;
        }
        let part = NewPart {
            id: PartId(self.next.fetch_add(1, Ordering::SeqCst)),
            partition: job.lane.partition.clone(),
            rows: job.inputs.iter().map(|part| part.rows_at(job.version)).sum(),
            bytes: job.bytes(),
            key_range: None,
            location: job.location(),
            projections: Vec::new(),
        };
        let bucket = job.table.bucket_at(split.targets[0]);
        let rows = SplitRows { bucket, rows: part.rows };
        Ok(SplitMade { parts: vec![(bucket, part)], rows: Box::new(rows) })
    }

    async fn life(&self, _: &Table, part: &Part, _: CatalogVersion) -> Result<PartLife> {
        let due_s = self.due_s.get(&part.rows).copied();
        let gone_s = due_s.filter(|due_s| *due_s < 0);
        let moves = self.moves.get(&part.rows).cloned().unwrap_or_default();
        Ok(PartLife { due_s, gone_s, moves, ..PartLife::default() })
    }

    async fn build_index(
        &self,
        _: &Table,
        _: &Part,
        _: CatalogVersion,
        _: &BoundIndex,
    ) -> Result<bool> {
        Ok(false)
    }

    async fn discard(&self, _part: &NewPart, _job: &Job) {
        self.discarded.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) struct Bench {
    pub catalog: Arc<MemoryCatalog>,
    pub table: TableId,
    pub worker: WorkerId,
    next_part: u64,
    due_s: BTreeMap<u64, i64>,
    moves: BTreeMap<u64, Vec<(i64, TtlPlace)>>,
    tiers: Arc<Tiers>,
    clock: Arc<dyn Clock>,
}

impl Bench {
    pub async fn start(kind: EngineKind) -> Bench {
        Self::start_with(new_table(kind)).await
    }

    async fn start_with(table: NewTable) -> Bench {
        let catalog = Arc::new(MemoryCatalog::new("test", SystemClock::shared()).unwrap());
        let register = CommandBody::RegisterWorker {
            identity: "w".into(),
            address: "w:1".into(),
            zone: String::new(),
            software_version: "1".into(),
        };
        let worker = match catalog.execute(register).await.unwrap().1 {
            Outcome::WorkerRegistered { worker, .. } => worker,
            other => panic!("{other:?}"),
        };
        let lease = CommandBody::LeasePartIds { worker, incarnation: 1, count: 1000 };
        let next_part = match catalog.execute(lease).await.unwrap().1 {
            Outcome::PartIdsLeased(range) => range.start,
            other => panic!("{other:?}"),
        };
        let table = CommandBody::CreateTable { table, if_not_exists: false };
        let table = match catalog.execute(table).await.unwrap().1 {
            Outcome::TableCreated(table) => table,
            other => panic!("{other:?}"),
        };
        let (due_s, moves) = Default::default();
        let (tiers, clock) = (Arc::default(), SystemClock::shared());
        Bench { catalog, table, worker, next_part, due_s, moves, tiers, clock }
    }

    pub fn merges(
        &self,
        carries: bool,
        meanwhile: Vec<CommandBody>,
    ) -> (Arc<Merges>, Arc<Counting>) {
        let catalog: Arc<dyn Catalog> = Arc::clone(&self.catalog) as Arc<dyn Catalog>;
        let merger = Arc::new(Counting {
            catalog: Arc::clone(&catalog),
            next: AtomicU64::new(self.next_part + 500),
            discarded: AtomicU64::new(0),
            meanwhile: Mutex::new(meanwhile),
            carries,
            due_s: self.due_s.clone(),
            moves: self.moves.clone(),
        });
        let merges = Merges::new(
            self.worker,
            MergeSettings { tiers: Arc::clone(&self.tiers), ..MergeSettings::default() },
            catalog,
            Arc::clone(&self.clock),
            Arc::clone(&merger) as Arc<dyn Merger>,
            ActiveWork::default(),
        );
        (Arc::new(merges), merger)
    }

    fn write(&self) -> BucketWrite {
        let snapshot = self.catalog.snapshot();
        let bucket = &snapshot.tables[&self.table].buckets[&BucketIndex(0)];
        BucketWrite {
            bucket: BucketIndex(0),
            epoch: bucket.epoch,
            in_sync_version: bucket.in_sync_version,
            synced: vec![self.worker],
            parts: Vec::new(),
            deletions: Vec::new(),
            removed: Vec::new(),
            upsert_version: None,
        }
    }

    fn commit(&self, token: String, write: BucketWrite) -> CommandBody {
        let snapshot = self.catalog.snapshot();
        let table = &snapshot.tables[&self.table].table;
        CommandBody::CommitWrite(CommitWrite {
            tables: vec![TableWrite {
                table: self.table,
                schema_version: table.schema_version,
                view_set_version: table.view_set_version,
                data_version: table.data_version,
                buckets: vec![write],
                overwrite: None,
            }],
            staged: None,
            token,
            digest: String::new(),
            rows: 10,
            others: Vec::new(),
            origin: Default::default(),
        })
    }

    pub async fn insert(&mut self, parts: u64) {
        self.insert_of(parts, 10).await;
    }

    /// Parts of so many rows.
    async fn insert_of(&mut self, parts: u64, rows: u64) {
        for _ in 0..parts {
            let mut write = self.write();
            write.parts.push(NewPart {
                id: PartId(self.next_part),
                partition: PartitionValue::default(),
                rows,
                bytes: 100,
                key_range: None,
                location: PartLocation::Local { copies: vec![self.worker], disk: None },
                projections: Vec::new(),
            });
            let token = format!("insert {}", self.next_part);
            self.next_part += 1;
            self.catalog.execute(self.commit(token, write)).await.unwrap();
        }
    }

    /// A command that deletes a row of the first part.
    pub fn deletion(&self) -> CommandBody {
        let mut write = self.write();
        let known = KnownPart { part: self.parts()[0].id, deletions: None };
        let content = DeletionContent::Inline(vec![0]);
        write.deletions.push(NewDeletions { known, rows: 1, content, synced: Vec::new() });
        self.commit("delete".into(), write)
    }

    pub fn parts(&self) -> Vec<Arc<Part>> {
        let snapshot = self.catalog.snapshot();
        let mut parts: Vec<Arc<Part>> =
            snapshot.tables[&self.table].visible_parts(snapshot.version).cloned().collect();
        parts.sort_by_key(|part| part.inserted);
        parts
    }

    fn spec(&self, is_final: bool) -> OptimizeSpec {
        OptimizeSpec {
            buckets: vec![BucketIndex(0)],
            is_final,
            ..OptimizeSpec::of(self.table, Partitions::All)
        }
    }
}

fn new_table(kind: EngineKind) -> NewTable {
    NewTable {
        database: DatabaseId(1),
        name: "t".into(),
        engine: TableEngine { kind, arguments: Vec::new() },
        columns: vec![Column::new(ColumnId(0), "id", ColumnType::Int64)],
        order_by: vec![KeyExpression { text: "id".into(), column: ColumnId(0) }],
        primary_key_len: 1,
        partition_by: Vec::new(),
        distribution: Distribution::Hash(vec![ColumnId(0)]),
        buckets: Some(1),
        colocation_group: None,
        settings: BTreeMap::new(),
        comment: None,
        unique_key: Vec::new(),
        options: Default::default(),
    }
}

#[tokio::test]
async fn background_merges_keep_parts_few_until_they_are_stopped() {
    let mut bench = Bench::start(EngineKind::MergeTree).await;
    bench.insert(30).await;
    let stop = |stopped| CommandBody::SetMerges { table: Some(bench.table), stopped };
    bench.catalog.execute(stop(true)).await.unwrap();
    let (merges, _) = bench.merges(true, Vec::new());
    let tasks = TaskOwner::current();
    tasks.spawn(Arc::clone(&merges).run(tasks.clone()));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bench.parts().len(), 30);
    bench.catalog.execute(stop(false)).await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if bench.parts().len() < 10 {
            break;
        }
    }
    let parts = bench.parts();
    assert!(parts.len() < 10, "{} parts", parts.len());
    assert_eq!(parts.iter().map(|part| part.rows).sum::<u64>(), 300);
    merges.leave();
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn optimize_final_makes_one_part_even_while_merges_are_stopped() {
    let mut bench = Bench::start(EngineKind::Replacing { version: None, is_deleted: None }).await;
    bench.insert(100).await;
    let stop = CommandBody::SetMerges { table: None, stopped: true };
    bench.catalog.execute(stop).await.unwrap();
    let (merges, _) = bench.merges(true, Vec::new());
    let done = merges.optimize(&bench.spec(true)).await.unwrap();
    assert!(done.merges > 1, "{done:?}");
    let parts = bench.parts();
    assert_eq!((parts.len(), parts[0].rows), (1, 1000));
    // What a merge wrote is collapsed already.
    assert_eq!(merges.optimize(&bench.spec(true)).await.unwrap().merges, 0);
    assert!(merges.running().is_empty());
}

#[tokio::test]
async fn optimize_does_one_round_and_knows_its_buckets() {
    let mut bench = Bench::start(EngineKind::MergeTree).await;
    bench.insert(3).await;
    let (merges, _) = bench.merges(true, Vec::new());
    assert_eq!(merges.optimize(&bench.spec(false)).await.unwrap().parts, 3);
    let none = OptimizeSpec { partitions: Partitions::These(Vec::new()), ..bench.spec(true) };
    assert_eq!(merges.optimize(&none).await.unwrap().merges, 0);
    let foreign = OptimizeSpec { buckets: vec![BucketIndex(9)], ..bench.spec(true) };
    assert_eq!(merges.optimize(&foreign).await.unwrap_err().kind(), ErrorKind::Conflict);
    merges.leave();
    let error: Error = merges.optimize(&bench.spec(true)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn deletions_while_a_merge_runs_are_carried_over_or_merged_again() {
    for (carries, discarded, deleted) in [(true, 0, 1), (false, 1, 0)] {
        let mut bench = Bench::start(EngineKind::MergeTree).await;
        bench.insert(4).await;
        let (merges, merger) = bench.merges(carries, vec![bench.deletion()]);
        merges.optimize(&bench.spec(true)).await.unwrap();
        let parts = bench.parts();
        assert_eq!(parts.len(), 1);
        let version = bench.catalog.snapshot().version;
        assert_eq!(parts[0].rows - parts[0].rows_at(version), deleted, "carries: {carries}");
        assert_eq!(merger.discarded.load(Ordering::SeqCst), discarded);
    }
}

#[tokio::test]
async fn a_merge_of_dropped_parts_leaves_no_trace() {
    let mut bench = Bench::start(EngineKind::MergeTree).await;
    bench.insert(4).await;
    let drop = CommandBody::ChangePartitions {
        table: bench.table,
        change: PartitionChange::Drop(Partitions::All),
    };
    let (merges, merger) = bench.merges(true, vec![drop]);
    assert_eq!(merges.optimize(&bench.spec(true)).await.unwrap().merges, 0);
    assert!(bench.parts().is_empty());
    assert_eq!(merger.discarded.load(Ordering::SeqCst), 1);
}
