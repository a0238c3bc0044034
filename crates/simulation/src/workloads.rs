//! What clients do with rows, each of them one thing again and again.

use std::collections::BTreeSet;
use std::sync::Arc;

use granary_common::Result;

use crate::clients::{Clients, Workload};
use crate::coordinator::{Coordinator, Done};
use crate::mutate::Mutation;
use crate::rows::row;

const INSERT_PAUSE_MS: std::ops::Range<u64> = 20..500;
const LONG_PAUSE_MS: std::ops::Range<u64> = 200..3_000;
const DELETE_PAUSE_MS: std::ops::Range<u64> = 300..2_000;
const UPDATE_PAUSE_MS: std::ops::Range<u64> = 300..1_500;
const UPSERT_PAUSE_MS: std::ops::Range<u64> = 100..800;
const QUERY_PAUSE_MS: std::ops::Range<u64> = 50..600;
/// Where the numbers of the rows of long inserts begin.
const LONG_FROM: u64 = 10_000_000;
const LONG_ROWS: std::ops::Range<u64> = 3..9;
/// One of so many long inserts is given up.
const GIVE_UP_EVERY: u64 = 4;
const ROWS: std::ops::Range<u64> = 1..6;
const KEYS: std::ops::Range<u64> = 1..4;
/// Keys that are upserted now, and upserts of a writer until the next one is among them: concurrent
/// upserts of keys that are there meet each other in the rows that they replace, but not the first ones.
const KEYS_AT_ONCE: u64 = 6;
const KEYS_EVERY: u64 = 2;
/// One of so many inserts is sent again after its answer.
const AGAIN_EVERY: u64 = 6;

impl Clients {
    /// Does one thing until it is over.
    pub(crate) async fn work(self: Arc<Clients>, workload: Workload) {
        match workload {
            Workload::Insert(writer) => self.write(writer).await,
            Workload::InsertLong => self.write_long().await,
            Workload::Delete => self.delete().await,
            Workload::Update => self.update().await,
            Workload::Upsert(writer) => self.upsert(writer).await,
            Workload::Read => self.read().await,
            Workload::Operate(workers) => self.operate(workers).await,
        }
    }

    async fn insert(&self, token: &str, ids: &[u64]) -> Done {
        let token = token.to_owned();
        let rows: Vec<u64> = ids.iter().map(|id| row(*id, 0)).collect();
        let insert = move |coordinator: Arc<Coordinator>| {
            let (token, rows) = (token.clone(), rows.clone());
            async move { coordinator.insert(&token, &rows).await }
        };
        self.until_done("an insert", insert).await
    }

    async fn write(&self, writer: u64) {
        for turn in 0_u64.. {
            if self.is_over() {
                return;
            }
            let token = format!("{writer}/{turn}");
            let first = writer * 1_000_000 + turn * 10;
            let ids: Vec<u64> = (first..first + self.cluster.net.pick(ROWS)).collect();
            self.oracle.lock().send(&token, &ids);
            let done = self.insert(&token, &ids).await;
            self.cluster.note(format!("insert {token} at {}", done.version));
            self.oracle.lock().acknowledge(&token, done);
            if self.cluster.net.pick(0..AGAIN_EVERY) == 0 {
                let again = self.insert(&token, &ids).await;
                self.oracle.lock().acknowledge(&token, again);
            }
            self.pause(INSERT_PAUSE_MS).await;
        }
    }

    /// Inserts that take a while; some of their clients go away in the middle.
    async fn write_long(&self) {
        for turn in 0_u64.. {
            if self.is_over() {
                return;
            }
            let (first, net) = (LONG_FROM + turn * 10, &self.cluster.net);
            let ids: Vec<u64> = (first..first + net.pick(LONG_ROWS)).collect();
            let (token, gives_up) = (format!("long {turn}"), net.pick(0..GIVE_UP_EVERY) == 0);
            self.oracle.lock().send(&token, &ids);
            let name = token.clone();
            let insert = move |coordinator: Arc<Coordinator>| {
                let (token, ids) = (name.clone(), ids.clone());
                async move { coordinator.insert_long(token, ids, gives_up).await }
            };
            if gives_up {
                self.oracle.lock().give_up(&token);
                if let Err(error) = self.ask(insert).await {
                    self.complain(&error, "an insert that is given up");
                }
                self.cluster.note(format!("{token} is given up"));
            } else {
                let done = self.until_done("a long insert", insert).await;
                self.cluster.note(format!("{token} at {}", done.version));
                self.oracle.lock().acknowledge(&token, done);
            }
            self.pause(LONG_PAUSE_MS).await;
        }
    }

    /// A mutation of what an insert brought. Its name makes it happen once, as often as it is sent.
    async fn mutate(&self, name: &str, ids: &BTreeSet<u64>, mutation: Mutation) -> Done {
        let (token, ids) = (name.to_owned(), ids.clone());
        let mutate = move |coordinator: Arc<Coordinator>| {
            let (token, ids) = (token.clone(), ids.clone());
            async move { coordinator.mutate(&token, &ids, mutation).await }
        };
        let done = self.until_done("a mutation", mutate).await;
        self.cluster.note(format!("{name} at {}", done.version));
        done
    }

    async fn delete(&self) {
        while !self.is_over() {
            self.pause(DELETE_PAUSE_MS).await;
            let turn = self.cluster.net.pick(0..1_000);
            let Some((token, ids)) = self.oracle.lock().changeable(turn) else { continue };
            self.oracle.lock().begin_deletion(&token);
            let done = self.mutate(&format!("delete {token}"), &ids, Mutation::Delete).await;
            self.oracle.lock().end_deletion(&token, done);
        }
    }

    async fn update(&self) {
        for number in 0_u64.. {
            if self.is_over() {
                return;
            }
            self.pause(UPDATE_PAUSE_MS).await;
            let turn = self.cluster.net.pick(0..1_000);
            let Some((token, ids)) = self.oracle.lock().changeable(turn) else { continue };
            let name = format!("update {number} of {token}");
            let done = self.mutate(&name, &ids, Mutation::Update).await;
            self.oracle.lock().end_update(&token, done);
        }
    }

    /// Upserts of a few keys; of some it is the first one.
    async fn upsert(&self, writer: u64) {
        for turn in 0_u64.. {
            if self.is_over() {
                return;
            }
            let net = &self.cluster.net;
            let first = turn / KEYS_EVERY;
            let keys = (0..net.pick(KEYS)).map(|_| first + net.pick(0..KEYS_AT_ONCE));
            let keys: Vec<u64> = keys.collect::<BTreeSet<u64>>().into_iter().collect();
            let value = writer * 100_000 + turn + 1;
            let rows: Vec<u64> = keys.iter().map(|key| row(*key, value)).collect();
            let token = format!("upsert {value}");
            self.oracle.lock().keys.send(value, &keys);
            let is_sent_again = net.pick(0..AGAIN_EVERY) == 0;
            for _ in 0..1 + u64::from(is_sent_again) {
                let (token, rows) = (token.clone(), rows.clone());
                let upsert = move |coordinator: Arc<Coordinator>| {
                    let (token, rows) = (token.clone(), rows.clone());
                    async move { coordinator.upsert(&token, &rows).await }
                };
                let done = self.until_done("an upsert", upsert).await;
                self.cluster.note(format!("upsert {value} of {keys:?} at {}", done.version));
                self.oracle.lock().end_upsert(value, done);
            }
            self.pause(UPSERT_PAUSE_MS).await;
        }
    }

    /// One query, checked; whether it was answered.
    pub async fn query(&self) -> bool {
        let certain = self.oracle.lock().certain();
        let query = |coordinator: Arc<Coordinator>| async move { coordinator.query().await };
        let asked: Result<_> = self.ask(query).await;
        match asked {
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
}
