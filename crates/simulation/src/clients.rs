//! What clients do: they insert with tokens, delete, read, change tables and move workers, and ask again
//! through any coordinator until they have an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use granary_catalog::{
    AlterTable, Catalog, Column, ColumnType, CommandBody, Distribution, EngineKind, NewTable,
    TableEngine,
};
use granary_common::{ColumnId, DatabaseId, Error, ErrorKind, Result};
use parking_lot::Mutex;

use crate::catalog::SimulatedCatalog;
use crate::cluster::{COORDINATORS, Cluster};
use crate::coordinator::{Coordinator, Done, TABLES, table};
use crate::executor;
use crate::net::{Host, Lost};
use crate::oracle::Oracle;

const RETRY: Duration = Duration::from_millis(200);
const INSERT_PAUSE_MS: std::ops::Range<u64> = 20..500;
const DELETE_PAUSE_MS: std::ops::Range<u64> = 300..2_000;
const QUERY_PAUSE_MS: std::ops::Range<u64> = 50..600;
const CHANGE_PAUSE_MS: std::ops::Range<u64> = 2_000..9_000;
const ROWS: std::ops::Range<u64> = 1..6;
/// One of so many inserts is sent again after its answer.
const AGAIN_EVERY: u64 = 6;
const WRITERS: u64 = 3;
const READERS: u64 = 2;
const BUCKETS: u32 = 3;

/// The clients of a run.
#[derive(Debug)]
pub struct Clients {
    cluster: Arc<Cluster>,
    catalog: Arc<SimulatedCatalog>,
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
        for name in TABLES {
            let command = CommandBody::CreateTable { table: new_table(name), if_not_exists: true };
            while self.catalog.execute(command.clone()).await.is_err() {
                executor::sleep(RETRY).await;
            }
        }
        Ok(())
    }

    /// Begins the work of all clients.
    pub fn begin(self: &Arc<Clients>, workers: u64) {
        for number in 0..WRITERS {
            let clients = Arc::clone(self);
            self.run(async move { clients.write(number).await });
        }
        for _ in 0..READERS {
            let clients = Arc::clone(self);
            self.run(async move { clients.read().await });
        }
        let clients = Arc::clone(self);
        self.run(async move { clients.delete().await });
        let clients = Arc::clone(self);
        self.run(async move { clients.change(workers).await });
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

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    async fn pause(&self, ms: std::ops::Range<u64>) {
        executor::sleep_ms(self.cluster.net.pick(ms)).await;
    }

    /// Asks any coordinator. Kind `Unavailable` when it did not answer.
    async fn ask<T, F>(&self, ask: impl FnOnce(Arc<Coordinator>) -> F + Send + 'static) -> Result<T>
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

    /// Sends an insert until it is acknowledged.
    async fn insert(&self, token: &str, rows: &[u64]) -> Done {
        loop {
            let (sent, content) = (token.to_owned(), rows.to_vec());
            let insert = |coordinator: Arc<Coordinator>| async move {
                coordinator.insert(&sent, &content).await
            };
            match self.ask(insert).await {
                Ok(done) => return done,
                Err(error) => self.complain(&error, "an insert"),
            }
            executor::sleep(RETRY).await;
        }
    }

    /// Notes an error that no client should ever read.
    fn complain(&self, error: &Error, of: &str) {
        use ErrorKind::{Conflict, DeadlineExceeded, ResourceExhausted, Unavailable};
        if !matches!(error.kind(), Conflict | DeadlineExceeded | ResourceExhausted | Unavailable) {
            self.oracle.lock().wrong.push(format!("{of} failed: {:?}: {error}", error.kind()));
        }
    }

    async fn write(&self, writer: u64) {
        for turn in 0_u64.. {
            if self.is_over() {
                return;
            }
            let token = format!("{writer}/{turn}");
            let first = writer * 1_000_000 + turn * 10;
            let rows: Vec<u64> = (first..first + self.cluster.net.pick(ROWS)).collect();
            self.oracle.lock().send(&token, &rows);
            let done = self.insert(&token, &rows).await;
            self.cluster.note(format!("insert {token} at {}", done.version));
            self.oracle.lock().acknowledge(&token, done);
            if self.cluster.net.pick(0..AGAIN_EVERY) == 0 {
                let again = self.insert(&token, &rows).await;
                self.oracle.lock().acknowledge(&token, again);
            }
            self.pause(INSERT_PAUSE_MS).await;
        }
    }

    async fn delete(&self) {
        while !self.is_over() {
            self.pause(DELETE_PAUSE_MS).await;
            let turn = self.cluster.net.pick(0..1_000);
            let Some((token, rows)) = self.oracle.lock().deletable(turn) else { continue };
            self.oracle.lock().begin_deletion(&token);
            loop {
                let (name, wanted) = (format!("delete {token}"), rows.clone());
                let delete = |coordinator: Arc<Coordinator>| async move {
                    coordinator.delete(&name, &wanted).await
                };
                match self.ask(delete).await {
                    Ok(done) => {
                        self.cluster.note(format!("delete {token} at {}", done.version));
                        self.oracle.lock().end_deletion(&token, done);
                        break;
                    }
                    Err(error) => self.complain(&error, "a deletion"),
                }
                executor::sleep(RETRY).await;
            }
        }
    }

    /// One query, checked; whether it was answered.
    pub async fn query(&self) -> bool {
        let certain = self.oracle.lock().certain();
        match self.ask(|coordinator| async move { coordinator.query().await }).await {
            Ok(seen) => {
                let (rows, at) = (seen.rows[0].len(), seen.version);
                self.cluster.note(format!("{rows} rows at {at}"));
                self.oracle.lock().check(&certain, seen);
                true
            }
            Err(error) => {
                self.complain(&error, "a query");
                false
            }
        }
    }

    async fn read(&self) {
        while !self.is_over() {
            self.query().await;
            self.pause(QUERY_PAUSE_MS).await;
        }
    }

    /// An operator at work: tables are changed, workers emptied and filled again.
    async fn change(&self, workers: u64) {
        while !self.is_over() {
            self.pause(CHANGE_PAUSE_MS).await;
            // Refused when it does not fit what is; then it is not done.
            let _ = match self.cluster.net.pick(0..3) {
                0 => self.comment().await,
                _ => self.drain(workers).await,
            };
        }
    }

    async fn comment(&self) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let place = self.cluster.net.pick(0..2) as usize;
        let now = &table(&snapshot, TABLES[place])?.table;
        let alter = AlterTable {
            table: now.id,
            schema_version: now.schema_version,
            view_set_version: now.view_set_version,
            columns: now.columns.clone(),
            next_column_id: now.next_column_id,
            engine: now.engine.clone(),
            order_by: now.order_by.clone(),
            partition_by: now.partition_by.clone(),
            settings: now.settings.clone(),
            comment: Some(format!("after {}", snapshot.version)),
            options: now.options.clone(),
            requires_no_parts: false,
            appended_keys: 0,
        };
        self.cluster.note(format!("comment on {}", TABLES[place]));
        self.catalog.execute(CommandBody::AlterTable(Box::new(alter))).await.map(drop)
    }

    async fn drain(&self, workers: u64) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let all: Vec<_> = snapshot.workers.values().collect();
        let place = self.cluster.net.pick(0..workers) as usize;
        let Some(row) = all.get(place) else { return Ok(()) };
        let (worker, drained) = (row.id, !row.drained);
        self.cluster.note(format!("worker {worker} drained: {drained}"));
        self.catalog.execute(CommandBody::DrainWorker { worker, drained }).await.map(drop)
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

    /// The catalog as clients see it.
    pub fn catalog(&self) -> &SimulatedCatalog {
        &self.catalog
    }
}

fn new_table(name: &str) -> NewTable {
    NewTable {
        database: DatabaseId(1),
        name: name.to_owned(),
        engine: TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() },
        columns: vec![Column::new(ColumnId(0), "id", ColumnType::Int64)],
        order_by: Vec::new(),
        primary_key_len: 0,
        partition_by: Vec::new(),
        distribution: Distribution::Rotation,
        buckets: Some(BUCKETS),
        colocation_group: None,
        // Nothing is kept for travels in time: what merges replace goes as soon as it may.
        settings: BTreeMap::from([("history_retention_seconds".to_owned(), "0".to_owned())]),
        comment: None,
        unique_key: Vec::new(),
        options: Default::default(),
    }
}
