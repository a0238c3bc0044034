//! Workers die, return and lose sight of each other between any two steps; whatever the catalog says
//! of copies must be true of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use granary_catalog::replication::{CopyTargets, holds_all, leave_behind, next_replicas};
use granary_catalog::*;
use granary_common::{
    BucketIndex, ColumnId, DatabaseId, ErrorKind, PartId, SystemClock, TableId, WorkerId,
};
use proptest::prelude::*;

use super::plan::{Wanted, plan};

const WORKERS: u64 = 4;
const BUCKETS: u32 = 2;

#[derive(Clone, Debug)]
enum Step {
    /// The leader writes a part; a worker takes no copy when its bit is set.
    Prepare {
        bucket: u32,
        silent: u8,
    },
    /// The oldest write that is prepared is committed.
    Commit,
    /// Two neighbours are merged and committed at once.
    Merge {
        bucket: u32,
        silent: u8,
    },
    Kill(u64),
    /// It registers again: ids that it had leased are void.
    Return(u64),
    /// What the controller does.
    Control,
    /// A worker fetches what it lacks, as far as it looks now.
    Fetch(u64),
    /// It says what it has fetched, and joins those in sync.
    Announce(u64),
    Sweep(u64),
    /// What no query can see any more is forgotten.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 1..=WORKERS;
    let bucket = 0..BUCKETS;
    prop_oneof![
        8 => (bucket.clone(), any::<u8>())
            .prop_map(|(bucket, silent)| Step::Prepare { bucket, silent }),
        8 => Just(Step::Commit),
        3 => (bucket, any::<u8>())
            .prop_map(|(bucket, silent)| Step::Merge { bucket, silent }),
        3 => worker.clone().prop_map(Step::Kill),
        4 => worker.clone().prop_map(Step::Return),
        5 => Just(Step::Control),
        6 => worker.clone().prop_map(Step::Fetch),
        6 => worker.clone().prop_map(Step::Announce),
        4 => worker.prop_map(Step::Sweep),
        1 => Just(Step::Forget),
    ]
}

struct Prepared {
    then: Bucket,
    copies: Vec<WorkerId>,
    part: PartId,
}

struct World {
    catalog: Arc<MemoryCatalog>,
    table: TableId,
    files: BTreeMap<WorkerId, BTreeSet<PartId>>,
    prepared: Vec<Prepared>,
    fetched: BTreeMap<WorkerId, Vec<Wanted>>,
    ids: BTreeMap<WorkerId, std::ops::Range<u64>>,
    acknowledged: u64,
    tokens: u64,
}

impl World {
    async fn new() -> World {
        let catalog = Arc::new(MemoryCatalog::new("test", SystemClock::shared()).unwrap());
        let mut world = World {
            catalog,
            table: TableId(0),
            files: (1..=WORKERS).map(|worker| (WorkerId(worker), BTreeSet::new())).collect(),
            prepared: Vec::new(),
            fetched: BTreeMap::new(),
            ids: BTreeMap::new(),
            acknowledged: 0,
            tokens: 0,
        };
        for worker in 1..=WORKERS {
            world.register(WorkerId(worker)).await;
        }
        let column = Column::new(ColumnId(0), "id", ColumnType::Int64);
        let table = NewTable {
            database: DatabaseId(1),
            name: "t".into(),
            engine: TableEngine { kind: EngineKind::MergeTree, arguments: vec![] },
            columns: vec![column],
            order_by: vec![],
            primary_key_len: 0,
            partition_by: vec![],
            distribution: Distribution::Rotation,
            buckets: Some(BUCKETS),
            colocation_group: None,
            settings: BTreeMap::from([("history_retention_seconds".to_owned(), "0".to_owned())]),
            comment: None,
            unique_key: vec![],
            options: Default::default(),
        };
        let create = CommandBody::CreateTable { table, if_not_exists: false };
        match world.catalog.execute(create).await.unwrap().1 {
            Outcome::TableCreated(table) => world.table = table,
            other => panic!("{other:?}"),
        }
        world
    }

    async fn register(&mut self, worker: WorkerId) {
        let register = CommandBody::RegisterWorker {
            identity: format!("w{worker}"),
            address: format!("w{worker}:1"),
            zone: String::new(),
            software_version: String::new(),
        };
        let Outcome::WorkerRegistered { worker, incarnation } =
            self.catalog.execute(register).await.unwrap().1
        else {
            panic!("not registered")
        };
        let lease = CommandBody::LeasePartIds { worker, incarnation, count: 1000 };
        let Outcome::PartIdsLeased(range) = self.catalog.execute(lease).await.unwrap().1 else {
            panic!("not leased")
        };
        self.ids.insert(worker, range.start..range.end);
    }

    fn is_alive(&self, worker: WorkerId) -> bool {
        self.catalog.snapshot().workers[&worker].state == WorkerState::Alive
    }

    fn state(&self) -> (Arc<Snapshot>, TableState) {
        let snapshot = self.catalog.snapshot();
        let state = snapshot.tables[&self.table].clone();
        (snapshot, state)
    }

    /// The leader writes a part and the targets that are not silent take copies.
    fn write(&mut self, bucket: u32, silent: u8) -> Option<Prepared> {
        let (snapshot, state) = self.state();
        let then = (*state.buckets[&BucketIndex(bucket)]).clone();
        if !self.is_alive(then.leader) {
            return None;
        }
        let targets = CopyTargets::of(&snapshot, &state, &then);
        let takes = |worker: &WorkerId| silent & (1 << worker.0) == 0;
        let mut copies = vec![then.leader];
        copies.extend(targets.replicas.iter().copied().filter(takes));
        for spare in targets.spares.iter().copied().filter(takes) {
            if copies.len() < targets.wanted {
                copies.push(spare);
            }
        }
        let part = PartId(self.ids.get_mut(&then.leader)?.next()?);
        for worker in &copies {
            self.files.entry(*worker).or_default().insert(part);
        }
        Some(Prepared { then, copies, part })
    }

    fn new_part(prepared: &Prepared) -> NewPart {
        NewPart {
            id: prepared.part,
            partition: PartitionValue::default(),
            rows: 1,
            bytes: 1,
            key_range: None,
            location: PartLocation::Local { copies: prepared.copies.clone(), disk: None },
            projections: Vec::new(),
        }
    }

    async fn commit(&mut self, prepared: Prepared) {
        let (_, state) = self.state();
        let under = leave_behind(&*self.catalog, &prepared.then, &prepared.copies).await;
        let Ok(in_sync_version) = under else { return };
        self.tokens += 1;
        let write = TableWrite {
            table: self.table,
            schema_version: state.table.schema_version,
            view_set_version: state.table.view_set_version,
            data_version: state.table.data_version,
            buckets: vec![BucketWrite {
                bucket: prepared.then.index,
                epoch: prepared.then.epoch,
                in_sync_version,
                synced: prepared.copies.clone(),
                parts: vec![Self::new_part(&prepared)],
                deletions: vec![],
                removed: vec![],
                upsert_version: None,
            }],
            overwrite: None,
        };
        let commit = CommitWrite {
            tables: vec![write],
            staged: None,
            token: format!("token {}", self.tokens),
            digest: String::new(),
            rows: 1,
            others: vec![],
            origin: Default::default(),
        };
        match self.catalog.execute(CommandBody::CommitWrite(commit)).await {
            Ok(_) => self.acknowledged += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }

    async fn merge(&mut self, bucket: u32, silent: u8) {
        let (snapshot, state) = self.state();
        let leader = state.buckets[&BucketIndex(bucket)].leader;
        let inputs: Vec<KnownPart> = state
            .visible_parts(snapshot.version)
            .filter(|part| part.bucket.0 == bucket)
            .filter(|part| self.files[&leader].contains(&part.id))
            .map(|part| KnownPart { part: part.id, deletions: None })
            .take(2)
            .collect();
        if inputs.len() < 2 {
            return;
        }
        let Some(made) = self.write(bucket, silent) else { return };
        let under = leave_behind(&*self.catalog, &made.then, &made.copies).await;
        let Ok(in_sync_version) = under else { return };
        let merge = MergeParts {
            table: self.table,
            schema_version: state.table.schema_version,
            bucket: made.then.index,
            epoch: made.then.epoch,
            in_sync_version,
            synced: made.copies.clone(),
            inputs,
            outputs: vec![MergedPart { part: Self::new_part(&made), deletions: None }],
            ttl_version: 0,
            is_move: false,
        };
        match self.catalog.execute(CommandBody::MergeParts(merge)).await {
            Ok(_) => self.acknowledged -= 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }

    async fn control(&mut self) {
        let (snapshot, state) = self.state();
        for bucket in state.buckets.values() {
            let mut next = BucketPlacement::of(bucket);
            next.in_sync.retain(|worker| self.is_alive(*worker));
            let live: Vec<WorkerId> =
                bucket.replicas.iter().copied().filter(|worker| self.is_alive(*worker)).collect();
            let Some(first) = live.first() else { continue };
            if !self.is_alive(bucket.leader) {
                next.leader = *next.in_sync.first().unwrap_or(first);
            } else if live.len() < 2 {
                let new = next_replicas(&snapshot, &live, 1, 0, |_| true);
                next.replicas = live.into_iter().chain(new).collect();
                next.in_sync.retain(|worker| next.replicas.contains(worker));
            }
            let _ = self.catalog.execute(CommandBody::PlaceBucket(next)).await;
        }
    }

    fn fetch(&mut self, worker: WorkerId) {
        let (snapshot, _) = self.state();
        for wanted in plan(&snapshot, worker).fetch {
            let part = wanted.copy.files.1;
            // A source that has not what it is said to have would be lost data.
            assert!(wanted.sources.iter().all(|source| self.files[source].contains(&part)));
            self.files.entry(worker).or_default().insert(part);
            self.fetched.entry(worker).or_default().push(wanted);
        }
    }

    async fn announce(&mut self, worker: WorkerId) {
        let parts: Vec<KnownPart> =
            self.fetched.remove(&worker).unwrap_or_default().iter().map(|w| w.known).collect();
        let change = CopiesChange { table: self.table, worker, change: CopyChange::Added, parts };
        self.catalog.execute(CommandBody::ChangeCopies(change)).await.unwrap();
        let found = plan(&self.catalog.snapshot(), worker);
        for (table, parts) in found.spare {
            let change = CopiesChange { table, worker, change: CopyChange::Spare, parts };
            self.catalog.execute(CommandBody::ChangeCopies(change)).await.unwrap();
        }
        for placement in found.join {
            self.catalog.execute(CommandBody::PlaceBucket(placement)).await.unwrap();
        }
    }

    /// As the worker's sweep does.
    fn sweep(&mut self, worker: WorkerId) {
        let (snapshot, state) = self.state();
        let arriving: BTreeSet<PartId> =
            self.fetched.get(&worker).into_iter().flatten().map(|w| w.copy.files.1).collect();
        let named = |part: PartId| {
            state.parts.get(&part).is_some_and(|part| match &part.location {
                PartLocation::Local { copies, .. } => copies.contains(&worker),
                PartLocation::Shared { .. } => false,
            })
        };
        let kept =
            |part: &PartId| named(*part) || snapshot.is_leased(*part) || arriving.contains(part);
        self.files.entry(worker).or_default().retain(kept);
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Prepare { bucket, silent } => {
                let prepared = self.write(*bucket, *silent);
                self.prepared.extend(prepared);
            }
            Step::Commit if !self.prepared.is_empty() => {
                let oldest = self.prepared.remove(0);
                self.commit(oldest).await;
            }
            Step::Commit => {}
            Step::Merge { bucket, silent } => self.merge(*bucket, *silent).await,
            Step::Kill(worker) => {
                let worker = WorkerId(*worker);
                let incarnation = self.catalog.snapshot().workers[&worker].incarnation;
                let state = WorkerState::Dead;
                let command = CommandBody::SetWorkerState { worker, incarnation, state };
                self.catalog.execute(command).await.unwrap();
                self.fetched.remove(&worker);
            }
            Step::Return(worker) => {
                self.register(WorkerId(*worker)).await;
                self.fetched.remove(&WorkerId(*worker));
            }
            Step::Control => self.control().await,
            Step::Fetch(worker) => self.fetch(WorkerId(*worker)),
            Step::Announce(worker) => self.announce(WorkerId(*worker)).await,
            Step::Sweep(worker) => self.sweep(WorkerId(*worker)),
            Step::Forget => {
                let horizon = self.catalog.snapshot().version;
                // What is refused from then on goes with the second command.
                for _ in 0..2 {
                    let forget = CommandBody::AdvanceHorizon { horizon };
                    self.catalog.execute(forget).await.unwrap();
                }
            }
        }
    }

    /// The catalog tells the truth.
    fn check(&self) {
        let (snapshot, state) = self.state();
        for part in state.parts.values() {
            let PartLocation::Local { copies, .. } = &part.location else { panic!("{part:?}") };
            assert!(!copies.is_empty());
            for worker in copies {
                let has = self.files[worker].contains(&part.id);
                assert!(has, "worker {worker} has not part {}", part.id);
            }
        }
        for bucket in state.buckets.values() {
            assert!(bucket.replicas.contains(&bucket.leader));
            for worker in &bucket.in_sync {
                assert!(holds_all(&snapshot, &state, bucket.index, *worker), "{bucket:?}");
            }
        }
        let visible = state.visible_parts(snapshot.version).count() as u64;
        assert_eq!(visible, self.acknowledged);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_catalog_tells_the_truth_about_copies(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.run(step).await;
                world.check();
            }
        });
    }
}
