//! Clients: they insert with tokens, delete, update, read, change tables and move workers, and ask again
//! through any coordinator until they have an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use granary_catalog::{
    Catalog, Column, ColumnType, CommandBody, Distribution, EngineKind, NewTable, TableEngine,
};
use granary_common::{Clock, ColumnId, DatabaseId, Error, ErrorKind, Result};
use parking_lot::Mutex;

use crate::catalog::SimulatedCatalog;
use crate::clock::HostClock;
use crate::cluster::{COORDINATORS, Cluster};
use crate::coordinator::{Coordinator, Done, KEYED, TABLES};
use crate::executor;
use crate::faults::Machines;
use crate::net::{Host, Lost};
use crate::oracle::Oracle;

const RETRY: Duration = Duration::from_millis(200);
const WRITERS: u64 = 3;
const UPSERTERS: u64 = 2;
const READERS: u64 = 2;
const BUCKETS: u32 = 3;

/// What one of them does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// With the number of the writer.
    Insert(u64),
    InsertLong,
    Delete,
    Update,
    /// With the number of the writer.
    Upsert(u64),
    Read,
    /// With the number of workers.
    Operate(u64),
}

/// The clients of a run.
#[derive(Debug)]
pub struct Clients {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) catalog: Arc<SimulatedCatalog>,
    pub oracle: Mutex<Oracle>,
    is_over: AtomicBool,
    busy: AtomicU64,
}

impl Clients {
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Clients> {
        Arc::new(Clients {
            cluster: Arc::clone(cluster),
            catalog: SimulatedCatalog::follow(cluster, Host::Client),
            oracle: Mutex::default(),
            is_over: AtomicBool::new(false),
            busy: AtomicU64::new(0),
        })
    }

    /// Makes the tables, as soon as workers are there to hold them.
    pub async fn prepare(&self, workers: usize) -> Result<()> {
        while self.catalog.read_latest().await?.workers.len() < workers {
            executor::sleep(RETRY).await;
        }
        for (place, name) in TABLES.iter().enumerate() {
            let table = new_table(name, place == KEYED);
            let command = CommandBody::CreateTable { table, if_not_exists: true };
            while self.catalog.execute(command.clone()).await.is_err() {
                executor::sleep(RETRY).await;
            }
        }
        Ok(())
    }

    /// Begins the work of all clients, and of who looks after the machines.
    pub fn begin(self: &Arc<Clients>, machines: &Arc<Machines>) {
        let workers = machines.worker_numbers().count() as u64;
        let inserts = (0..WRITERS).map(Workload::Insert);
        let reads = (0..READERS).map(|_| Workload::Read);
        let upserts = (0..UPSERTERS).map(Workload::Upsert);
        let others =
            [Workload::InsertLong, Workload::Delete, Workload::Update, Workload::Operate(workers)];
        for workload in inserts.chain(upserts).chain(reads).chain(others) {
            let clients = Arc::clone(self);
            self.run(async move { clients.work(workload).await });
        }
        let (clients, machines) = (Arc::clone(self), Arc::clone(machines));
        self.run(async move { clients.reform(&machines).await });
    }

    fn run(self: &Arc<Clients>, work: impl Future<Output = ()> + Send + 'static) {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let clients = Arc::clone(self);
        drop(self.cluster.net.spawn(Host::Client, async move {
            work.await;
            clients.busy.fetch_sub(1, Ordering::SeqCst);
        }));
    }

    /// Nothing new is begun; whether everybody has their last answer.
    pub fn is_finished(&self) -> bool {
        self.is_over.store(true, Ordering::SeqCst);
        self.busy.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub(crate) async fn pause(&self, ms: std::ops::Range<u64>) {
        executor::sleep_ms(self.cluster.net.pick(ms)).await;
    }

    /// Asks any coordinator. Kind `Unavailable` when it did not answer.
    pub(crate) async fn ask<T, F>(
        &self,
        ask: impl FnOnce(Arc<Coordinator>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let number = self.cluster.net.pick(1..COORDINATORS + 1);
        let there = Arc::clone(&self.cluster);
        let serve = move || async move {
            match there.coordinator(number) {
                Some(coordinator) => ask(coordinator).await,
                None => Err(Error::unavailable("nobody listens")),
            }
        };
        let host = Host::Coordinator(number);
        match self.cluster.net.call(Host::Client, host, serve).await {
            Ok(answer) => answer,
            Err(Lost::NotSent | Lost::Unknown) => Err(Error::unavailable("no answer")),
        }
    }

    /// Asks for a change until it is acknowledged.
    pub(crate) async fn until_done<F>(
        &self,
        what: &str,
        ask: impl Fn(Arc<Coordinator>) -> F + Clone + Send + 'static,
    ) -> Done
    where
        F: Future<Output = Result<Done>> + Send + 'static,
    {
        loop {
            match self.ask(ask.clone()).await {
                Ok(done) => return done,
                Err(error) => self.complain(&error, what),
            }
            executor::sleep(RETRY).await;
        }
    }

    /// Notes an error that no client should ever read.
    pub(crate) fn complain(&self, error: &Error, of: &str) {
        use ErrorKind::{Conflict, DeadlineExceeded, ResourceExhausted, Unavailable};
        if !matches!(error.kind(), Conflict | DeadlineExceeded | ResourceExhausted | Unavailable) {
            self.oracle.lock().wrong.push(format!("{of} failed: {:?}: {error}", error.kind()));
        }
    }

    /// Lets every worker be filled again. Kind `Unavailable` while the catalog does not answer.
    pub async fn fill_all(&self) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        for row in snapshot.workers.values().filter(|row| row.drained) {
            let command = CommandBody::DrainWorker { worker: row.id, drained: false };
            self.catalog.execute(command).await?;
        }
        Ok(())
    }

    /// Drops what is staged by clocks that were ahead; gives whether anything is that should have gone by
    /// itself.
    pub async fn unstage(&self) -> Result<bool> {
        let snapshot = self.catalog.read_latest().await?;
        let now_ms = HostClock::right().now_ms();
        let mut is_left = false;
        for staged in snapshot.staged.values() {
            is_left |= staged.touched_ms <= now_ms;
            if staged.touched_ms > now_ms {
                let transaction = staged.transaction.clone();
                self.catalog.execute(CommandBody::AbortStaged { transaction }).await?;
            }
        }
        Ok(is_left)
    }

    /// The catalog as clients see it.
    pub fn catalog(&self) -> &SimulatedCatalog {
        &self.catalog
    }
}

fn new_table(name: &str, has_key: bool) -> NewTable {
    let key = if has_key { vec![ColumnId(0)] } else { Vec::new() };
    NewTable {
        database: DatabaseId(1),
        name: name.to_owned(),
        engine: TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() },
        columns: vec![Column::new(ColumnId(0), "id", ColumnType::Int64)],
        order_by: Vec::new(),
        primary_key_len: 0,
        partition_by: Vec::new(),
        distribution: match has_key {
            true => Distribution::Hash(key.clone()),
            false => Distribution::Rotation,
        },
        buckets: Some(BUCKETS),
        colocation_group: None,
        // Nothing is kept for travels in time: what merges replace goes as soon as it may.
        settings: BTreeMap::from([("history_retention_seconds".to_owned(), "0".to_owned())]),
        comment: None,
        unique_key: key,
        options: Default::default(),
    }
}
