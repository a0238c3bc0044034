//! A coordinator: the insert protocol and reads at one version.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_catalog::replication::{CopyTargets, leave_behind};
use granary_catalog::{
    Bucket, BucketWrite, Catalog, CommandBody, CommitWrite, Distribution, Heartbeat, LeaseHolder,
    NewPart, Outcome, Part, PartLocation, Snapshot, Table, TableState, TableWrite,
};
use granary_common::{BucketIndex, CatalogVersion, Error, ErrorKind, Result, TableId};
use granary_storage::bucket_of;
use parking_lot::Mutex;

use crate::catalog::SimulatedCatalog;
use crate::cluster::{Cluster, host_of};
use crate::executor;
use crate::net::Host;
use crate::rows::hashes;
use crate::upkeep::deleted_at;
use crate::worker::{answered, read_part};

const BEAT: Duration = Duration::from_millis(800);
pub(crate) const RETRY: Duration = Duration::from_millis(250);
pub(crate) const ATTEMPTS: usize = 12;
/// Reads of one part before a query gives up.
const READ_ATTEMPTS: usize = 6;

/// The tables: rows, what a view makes of each of them, and rows with a UNIQUE KEY. In most of the runs,
/// one of them lies on a shared volume.
pub const TABLES: [&str; 3] = ["rows", "view", "keyed"];
/// Which of them has the key.
pub const KEYED: usize = 2;

/// A coordinator in one life of its host.
pub struct Coordinator {
    pub(crate) host: Host,
    pub(crate) cluster: Arc<Cluster>,
    pub catalog: Arc<SimulatedCatalog>,
    pub(crate) identity: String,
    pub(crate) turn: AtomicU64,
    pins: Mutex<BTreeMap<CatalogVersion, usize>>,
    /// Until when its lease certainly holds.
    lease_until_ms: AtomicU64,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What a query saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub version: CatalogVersion,
    /// The rows of each table, sorted.
    pub rows: [Vec<u64>; TABLES.len()],
}

/// The answer to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub version: CatalogVersion,
    pub duplicate: bool,
}

impl Coordinator {
    /// Starts the coordinator of a host.
    pub fn start(cluster: &Arc<Cluster>, number: u64) {
        let host = Host::Coordinator(number);
        let life = cluster.net.start(host);
        let coordinator = Arc::new(Coordinator {
            host,
            cluster: Arc::clone(cluster),
            catalog: SimulatedCatalog::follow(cluster, host),
            identity: format!("c{number} in life {life}"),
            turn: AtomicU64::new(number),
            pins: Mutex::default(),
            lease_until_ms: AtomicU64::new(0),
        });
        cluster.put_coordinator(number, Arc::clone(&coordinator));
        drop(cluster.net.spawn(host, async move { coordinator.beat().await }));
    }

    async fn beat(&self) {
        loop {
            self.cluster.net.breathe(self.host).await;
            let sent_ms = self.cluster.now_ms();
            // Read first: a query that pins in between pins this version or a newer one.
            let at_hand = self.catalog.snapshot().version;
            let pinned = self.pins.lock().keys().next().copied();
            let lowest = pinned.map_or(at_hand, |pinned| pinned.min(at_hand));
            let heartbeat = Heartbeat {
                holder: LeaseHolder::Coordinator { identity: self.identity.clone() },
                address: self.identity.clone(),
                lowest_pinned: Some(lowest),
                protocol: PROTOCOL_VERSION,
                loads: Vec::new(),
                is_full: false,
            };
            let pause = match self.catalog.heartbeat(heartbeat).await {
                Ok(reply) => {
                    self.lease_until_ms.store(sent_ms + reply.lease_ms, Ordering::SeqCst);
                    BEAT
                }
                Err(_) => RETRY,
            };
            executor::sleep(pause).await;
        }
    }

    fn holds_lease(&self) -> bool {
        self.cluster.now_ms() < self.lease_until_ms.load(Ordering::SeqCst)
    }

    /// Inserts rows into the table and the view, all of them at one version.
    pub async fn insert(&self, token: &str, rows: &[u64]) -> Result<Done> {
        let mut snapshot = self.catalog.snapshot();
        let mut why = Error::unavailable("not tried");
        for _ in 0..ATTEMPTS {
            if let Some(done) = earlier(&snapshot, TABLES[0], token) {
                return Ok(done);
            }
            match self.write(&snapshot, rows).await {
                Ok(writes) => match self.commit(token, rows, writes).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => why = error,
                    done => return done,
                },
                Err(error) => why = error,
            }
            executor::sleep(RETRY).await;
            snapshot = self.catalog.read_latest().await?;
        }
        Err(why)
    }

    /// The parts of one block, for the table and its view.
    pub(crate) async fn write(&self, snapshot: &Snapshot, rows: &[u64]) -> Result<Vec<TableWrite>> {
        let mut writes = Vec::new();
        for name in &TABLES[..KEYED] {
            let state = table(snapshot, name)?;
            writes.push(self.write_rows(&state.table, rows.to_vec()).await?);
        }
        Ok(writes)
    }

    /// Rows for a table as it was when they were bound to it, at the leaders of their buckets.
    pub(crate) async fn write_rows(&self, table: &Table, rows: Vec<u64>) -> Result<TableWrite> {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst);
        let mut write = TableWrite::of_nothing(table);
        for (bucket, rows) in deal(table, rows, turn)? {
            write.buckets.push(self.write_bucket(table.id, bucket, rows).await?);
        }
        Ok(write)
    }

    /// A part of one bucket. Who leads and holds it may have changed since the rows were bound.
    async fn write_bucket(
        &self,
        table: TableId,
        index: BucketIndex,
        rows: Vec<u64>,
    ) -> Result<BucketWrite> {
        let newest = self.catalog.snapshot();
        let state = newest.tables.get(&table);
        let bucket = state.and_then(|state| Some((state, state.buckets.get(&index)?)));
        let (state, bucket) = bucket.ok_or_else(|| Error::conflict("the bucket is gone"))?;
        let part = self.write_at_leader(&newest, state, bucket, rows).await?;
        let mut write = BucketWrite::of_nothing(&state.table, bucket);
        if let PartLocation::Local { copies, .. } = &part.location {
            write.in_sync_version = leave_behind(&*self.catalog, bucket, copies).await?;
            write.synced.clone_from(copies);
        }
        write.parts.push(part);
        Ok(write)
    }

    async fn write_at_leader(
        &self,
        snapshot: &Snapshot,
        state: &TableState,
        bucket: &Bucket,
        rows: Vec<u64>,
    ) -> Result<NewPart> {
        let away = || Error::unavailable("the leader is unknown");
        let number = host_of(snapshot, bucket.leader).ok_or_else(away)?;
        let targets = CopyTargets::of(snapshot, state, bucket);
        let location = self.cluster.far.location_of(&state.table);
        let (there, table) = (Arc::clone(&self.cluster), state.table.id);
        let serve = move || async move {
            match there.worker(number) {
                Some(worker) => worker.write(table, rows, &location, &targets).await,
                None => Err(Error::unavailable("the worker has not registered yet")),
            }
        };
        answered(self.cluster.net.call(self.host, Host::Worker(number), serve).await)
    }

    /// Runs the commit until its outcome is known.
    pub(crate) async fn commit(
        &self,
        token: &str,
        rows: &[u64],
        writes: Vec<TableWrite>,
    ) -> Result<Done> {
        let commit = CommitWrite {
            tables: writes,
            staged: None,
            token: token.to_owned(),
            digest: format!("{rows:?}"),
            rows: rows.len() as u64,
            others: Vec::new(),
            origin: Default::default(),
        };
        let mut why = Error::deadline("not tried");
        for _ in 0..ATTEMPTS {
            match self.catalog.execute(CommandBody::CommitWrite(commit.clone())).await {
                Ok((_, Outcome::Inserted(receipt))) => {
                    return Ok(Done { version: receipt.version, duplicate: receipt.duplicate });
                }
                Ok((_, other)) => return Err(Error::internal(format!("{other:?}"))),
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => why = error,
                Err(error) => return Err(error),
            }
            executor::sleep(RETRY).await;
        }
        Err(why)
    }

    /// All rows of a part, from whoever has it.
    pub(crate) async fn read(&self, snapshot: &Snapshot, part: &Part) -> Result<Vec<u64>> {
        let first = self.cluster.net.pick(0..8) as usize;
        let (mut why, mut is_away) = (Error::unavailable("nobody has it"), false);
        for turn in 0..READ_ATTEMPTS {
            // Copies may have moved since the version that is read.
            let newest = self.catalog.snapshot();
            let state = newest.tables.get(&part.table);
            let now = state.and_then(|state| state.parts.get(&part.id));
            let location = now.map_or(&part.location, |part| &part.location);
            let holders = match location {
                PartLocation::Local { copies, .. } => copies.clone(),
                PartLocation::Shared { .. } => snapshot.workers.keys().copied().collect(),
            };
            let is_far = matches!(location, PartLocation::Shared { .. });
            let Some(number) = host_of(snapshot, holders[(first + turn) % holders.len()]) else {
                is_away = true;
                continue;
            };
            match read_part(&self.cluster, self.host, number, part.id, is_far).await {
                Ok(rows) => return Ok(rows),
                Err(error) => {
                    is_away |= error.kind() == ErrorKind::Unavailable;
                    why = error;
                }
            }
        }
        Err(if is_away { Error::unavailable(why.message()) } else { why })
    }

    /// Reads all tables at one version, which holds everything acknowledged before.
    ///
    /// Kind `Unavailable` when it has to be asked again; `NotFound` and `Corruption` when a part that
    /// its version shows is not there, or not whole.
    pub async fn query(&self) -> Result<Seen> {
        let snapshot = self.catalog.read_latest().await?;
        let version = snapshot.version;
        if !self.holds_lease() {
            return Err(Error::unavailable("this coordinator has no lease"));
        }
        *self.pins.lock().entry(version).or_default() += 1;
        let seen = self.read_all(&snapshot).await;
        let mut pins = self.pins.lock();
        if let Some(count) = pins.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&version);
            }
        }
        drop(pins);
        match self.holds_lease() {
            true => seen,
            false => Err(Error::unavailable("the lease ran out; what was read is not protected")),
        }
    }

    async fn read_all(&self, snapshot: &Snapshot) -> Result<Seen> {
        let mut rows = TABLES.map(|_| Vec::new());
        for (place, name) in TABLES.iter().enumerate() {
            let state = table(snapshot, name)?;
            for part in state.visible_parts(snapshot.version) {
                let deleted = deleted_at(&self.cluster.far, part, snapshot.version)?;
                let held = self.read(snapshot, part).await?;
                rows[place].extend(held.into_iter().filter(|row| !deleted.contains(row)));
            }
            rows[place].sort_unstable();
        }
        Ok(Seen { version: snapshot.version, rows })
    }
}

/// A table by its name. Kind `Unavailable` while it is not known here.
pub fn table<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a TableState> {
    let mut tables = snapshot.tables.values();
    let found = tables.find(|state| state.table.name == name);
    found.ok_or_else(|| Error::unavailable("the tables are not there yet"))
}

/// What came of a change of a table with this token before.
pub(crate) fn earlier(snapshot: &Snapshot, name: &str, token: &str) -> Option<Done> {
    let state = table(snapshot, name).ok()?;
    let earlier = state.tokens.get(token)?;
    Some(Done { version: earlier.version, duplicate: true })
}

/// The rows of each bucket; a table that rotates gets all of them in one.
pub(crate) fn deal(
    table: &Table,
    rows: Vec<u64>,
    turn: u64,
) -> Result<BTreeMap<BucketIndex, Vec<u64>>> {
    let mut dealt: BTreeMap<BucketIndex, Vec<u64>> = BTreeMap::new();
    if rows.is_empty() {
        return Ok(dealt);
    }
    match &table.distribution {
        Distribution::Rotation => {
            let position = turn % u64::from(table.buckets.max(1));
            dealt.insert(table.bucket_at(position as u32), rows);
        }
        Distribution::Hash(_) => {
            let hashes = hashes(&rows)?;
            for (row, hash) in rows.into_iter().zip(hashes) {
                let bucket = table.bucket_at(bucket_of(hash, table.buckets).0);
                dealt.entry(bucket).or_default().push(row);
            }
        }
    }
    Ok(dealt)
}
