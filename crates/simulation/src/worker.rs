//! A worker: its real decisions over a simulated disk and network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_catalog::replication::CopyTargets;
use granary_catalog::{
    Catalog, CommandBody, DELETIONS_FILE_PREFIX, DeletionContent, DeletionFiles, Heartbeat,
    LeaseHolder, NewPart, PartLocation, PartitionValue, WorkerState,
};
use granary_common::{BucketIndex, Clock, Error, ErrorKind, PartId, Result, TableId, WorkerId};
use granary_execution::CopySpec;
use granary_storage::PartIds;
use granary_worker::decisions::{
    Arrivals, Arriving, LeasedPartIds, Registration, Replaced, Shipper, named, named_shared,
    sweeps_shared,
};
use parking_lot::Mutex;

use crate::catalog::SimulatedCatalog;
use crate::clock::HostClock;
use crate::cluster::{Cluster, address_of, host_of};
use crate::directory::Directory;
use crate::disk::WorkerDisk;
use crate::executor;
use crate::net::{Host, Lost};
use crate::sabotage::Sabotage;

const BEAT: Duration = Duration::from_millis(900);
const RETRY: Duration = Duration::from_millis(300);
const SWEEP_MS: std::ops::Range<u64> = 1_500..4_000;
/// Bytes of a row, for whoever decides by sizes.
pub(crate) const ROW_BYTES: u64 = 1 << 16;

/// A worker in one life of its host.
pub struct Worker {
    pub number: u64,
    pub id: WorkerId,
    pub cluster: Arc<Cluster>,
    pub catalog: Arc<SimulatedCatalog>,
    pub disk: WorkerDisk,
    pub arrivals: Arc<Arrivals>,
    pub ids: Arc<LeasedPartIds>,
    pub shipper: Shipper,
    pub clock: Arc<HostClock>,
    registration: Registration,
    seen: Mutex<BTreeMap<PartId, TableId>>,
    /// Parts that were merged away since the last sweep.
    pub replaced: Replaced,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts the worker of a host on its disk; it registers as soon as it can.
    pub fn start(cluster: &Arc<Cluster>, number: u64, disk: &WorkerDisk, clock: Arc<HostClock>) {
        let host = Host::Worker(number);
        let life = cluster.net.start(host);
        let disk = disk.reopen(life);
        let catalog = SimulatedCatalog::follow(cluster, host);
        let starting = Arc::clone(cluster);
        drop(cluster.net.spawn(host, async move {
            let registration = Registration {
                identity: format!("folder {number}"),
                address: address_of(number),
                zone: String::new(),
            };
            let (id, incarnation) = loop {
                match registration.register(&*catalog).await {
                    Ok(registered) => break registered,
                    Err(_) => executor::sleep(RETRY).await,
                }
            };
            let seam: Arc<dyn Catalog> = Arc::clone(&catalog) as Arc<dyn Catalog>;
            let directory = Arc::new(Directory::new(&starting, host, &catalog));
            let worker = Arc::new(Worker {
                number,
                id,
                cluster: Arc::clone(&starting),
                disk,
                arrivals: Arc::default(),
                ids: Arc::new(LeasedPartIds::new(seam, id, incarnation)),
                shipper: Shipper::new(id, directory, Arc::clone(&clock) as Arc<dyn Clock>),
                clock,
                registration,
                catalog,
                seen: Mutex::default(),
                replaced: Replaced::default(),
            });
            starting.put_worker(number, Arc::clone(&worker));
            let spawn = |task| drop(starting.net.spawn(host, task));
            spawn(boxed(Arc::clone(&worker).beat()));
            spawn(boxed(Arc::clone(&worker).catch_up()));
            spawn(boxed(Arc::clone(&worker).merge()));
            spawn(boxed(worker.sweep()));
        }));
    }

    pub fn host(&self) -> Host {
        Host::Worker(self.number)
    }

    async fn breathe(&self) {
        self.cluster.net.breathe(self.host()).await;
    }

    /// Writes rows of one bucket as a part, with copies where the targets are.
    pub async fn write(
        &self,
        table: TableId,
        rows: Vec<u64>,
        location: &PartLocation,
        targets: &CopyTargets,
    ) -> Result<NewPart> {
        let (id, count) = (self.ids.next().await?, rows.len() as u64);
        let is_far = matches!(location, PartLocation::Shared { .. });
        match is_far {
            true => self.disk.write_far(id, rows).await?,
            false => self.disk.write(id, rows).await?,
        }
        let part = NewPart {
            id,
            partition: PartitionValue::default(),
            rows: count,
            bytes: count * ROW_BYTES,
            key_range: None,
            location: match is_far {
                true => location.clone(),
                false => PartLocation::Local { copies: vec![self.id], disk: None },
            },
            projections: Vec::new(),
        };
        let mut parts = self.shipper.replicate(table, vec![part], targets).await?;
        parts.pop().ok_or_else(|| Error::internal("a part was lost on its way"))
    }

    /// Writes deletions of a part into a file where every worker reaches it.
    pub async fn write_far_deletions(&self, rows: BTreeSet<u64>) -> Result<DeletionContent> {
        let (id, bytes) = (self.ids.next().await?, rows.len() as u64 * ROW_BYTES);
        self.disk.write_far_deletions(id, rows).await?;
        Ok(DeletionContent::File { name: format!("{DELETIONS_FILE_PREFIX}{id}"), bytes, crc32c: 0 })
    }

    /// The rows of a part that is here, or where every worker reaches it.
    pub fn read(&self, part: PartId, is_far: bool) -> Result<Vec<u64>> {
        if is_far { self.cluster.far.read(part) } else { self.disk.read(part) }
    }

    /// Takes copies of parts from other workers.
    pub async fn copy(&self, spec: &CopySpec) -> Result<Vec<Arriving>> {
        let mut arriving = Vec::new();
        for part in &spec.parts {
            arriving.push(self.fetch(part.files.1, &spec.sources).await?);
        }
        Ok(arriving)
    }

    /// Fetches a part from whoever has it.
    pub async fn fetch(&self, part: PartId, sources: &[WorkerId]) -> Result<Arriving> {
        let arriving = self.arrivals.arrive(part)?;
        if self.disk.read(part).is_ok() {
            return Ok(arriving);
        }
        let mut why = Error::unavailable("nobody has it");
        for source in sources {
            match self.read_at(*source, part).await {
                Ok(rows) => {
                    self.disk.write(part, rows).await?;
                    return Ok(arriving);
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn read_at(&self, source: WorkerId, part: PartId) -> Result<Vec<u64>> {
        let number = host_of(&self.catalog.snapshot(), source);
        let number = number.ok_or_else(|| Error::unavailable("nobody knows the worker"))?;
        read_part(&self.cluster, self.host(), number, part, false).await
    }

    /// Keeps the lease.
    async fn beat(self: Arc<Worker>) {
        loop {
            self.breathe().await;
            let heartbeat = Heartbeat {
                holder: LeaseHolder::Worker {
                    worker: self.id,
                    incarnation: self.ids.incarnation(),
                },
                address: address_of(self.number),
                lowest_pinned: None,
                protocol: PROTOCOL_VERSION,
                loads: Vec::new(),
                is_full: self.disk.is_full(),
            };
            let pause = match self.catalog.heartbeat(heartbeat).await {
                Ok(_) => {
                    let _ = self.rise_if_dead().await;
                    BEAT
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    let _ = self.return_if_replaced().await;
                    RETRY
                }
                Err(_) => RETRY,
            };
            executor::sleep(pause).await;
        }
    }

    async fn return_if_replaced(&self) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let row = snapshot.workers.get(&self.id);
        if row.is_some_and(|row| row.incarnation == self.ids.incarnation()) {
            return Ok(());
        }
        if self.registration.may_return(row.map(|row| &**row)) {
            let (_, incarnation) = self.registration.register(&*self.catalog).await?;
            self.ids.begin(incarnation).await;
        }
        Ok(())
    }

    async fn rise_if_dead(&self) -> Result<()> {
        let snapshot = self.catalog.snapshot();
        let Some(row) = snapshot.workers.get(&self.id) else { return Ok(()) };
        if row.state != WorkerState::Dead || row.incarnation != self.ids.incarnation() {
            return Ok(());
        }
        let (worker, incarnation) = (self.id, self.ids.incarnation());
        let state = WorkerState::Alive;
        let command = CommandBody::SetWorkerState { worker, incarnation, state };
        self.catalog.execute(command).await.map(drop)
    }

    /// Deletes what nothing refers to.
    async fn sweep(self: Arc<Worker>) {
        let mut seen = SeenFar::default();
        loop {
            let pause = self.cluster.net.pick(SWEEP_MS);
            executor::sleep_ms(pause).await;
            self.breathe().await;
            // The next one looks again.
            let _ = self.sweep_once().await;
            let _ = self.sweep_shared(&mut seen).await;
        }
    }

    async fn sweep_once(&self) -> Result<()> {
        let leases = self.ids.hold_leases().await;
        self.arrivals.begin_sweep();
        let snapshot = self.catalog.read_latest().await?;
        self.breathe().await;
        let present = named(&snapshot, self.id);
        for part in self.disk.parts() {
            if !present.contains_key(&part)
                && !snapshot.is_leased(part)
                && self.arrivals.leave(part).is_some()
            {
                self.disk.delete(part);
            }
        }
        drop(leases);
        let mut seen = self.seen.lock();
        seen.extend(std::mem::take(&mut *self.replaced.lock()));
        let mut kept = present.clone();
        for (part, table) in seen.iter().filter(|(part, _)| !present.contains_key(part)) {
            match self.arrivals.leave(*part) {
                Some(_leaving) => self.disk.delete(*part),
                None => drop(kept.insert(*part, *table)),
            }
        }
        *seen = kept;
        Ok(())
    }

    /// Deletes what nothing refers to where every worker reaches it, if it is this one's turn.
    async fn sweep_shared(&self, seen: &mut SeenFar) -> Result<()> {
        if !sweeps_shared(&self.catalog.snapshot(), self.id) {
            *seen = SeenFar::default();
            return Ok(());
        }
        let far = &self.cluster.far;
        let (listed, files) = (far.parts(), far.deletions());
        self.breathe().await;
        let snapshot = self.catalog.read_latest().await?;
        let present = named_shared(&snapshot);
        for part in listed {
            let has_left = seen.parts.contains(&part) || !snapshot.is_leased(part);
            if has_left && !present.contains(&part) {
                far.delete(part);
                self.breathe().await;
            }
        }
        let deletions = DeletionFiles::of(&snapshot, &seen.deletions);
        let looks = self.cluster.sabotage != Some(Sabotage::SweptLeases);
        for file in files {
            if deletions.is_orphan(file, looks && snapshot.is_leased(file)) {
                far.delete_deletions(file);
                self.breathe().await;
            }
        }
        *seen = SeenFar { parts: present, deletions: deletions.needed };
        Ok(())
    }

    /// The buckets that it leads, as it knows them.
    pub fn led(&self) -> Vec<(TableId, BucketIndex)> {
        let snapshot = self.catalog.snapshot();
        let mut led = Vec::new();
        for state in snapshot.tables.values() {
            let own = state.buckets.values().filter(|bucket| bucket.leader == self.id);
            led.extend(own.map(|bucket| (state.table.id, bucket.index)));
        }
        led
    }
}

/// What the catalog named where every worker reaches it, at the last sweep.
#[derive(Default)]
struct SeenFar {
    parts: BTreeSet<PartId>,
    /// Files of deletions that were needed.
    deletions: BTreeSet<PartId>,
}

fn boxed(
    task: impl Future<Output = ()> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(task)
}

/// The rows of a part at the worker of a host.
pub async fn read_part(
    cluster: &Arc<Cluster>,
    from: Host,
    number: u64,
    part: PartId,
    is_far: bool,
) -> Result<Vec<u64>> {
    let there = Arc::clone(cluster);
    let serve = move || async move {
        match there.worker(number) {
            Some(worker) => worker.read(part, is_far),
            None => Err(Error::unavailable("the worker has not registered yet")),
        }
    };
    answered(cluster.net.call(from, Host::Worker(number), serve).await)
}

/// An answer over the network; no answer of a worker is as good as none.
pub fn answered<T>(answer: Result<Result<T>, Lost>) -> Result<T> {
    match answer {
        Ok(answer) => answer,
        Err(Lost::NotSent) => Err(Error::unavailable("the worker is away")),
        Err(Lost::Unknown) => Err(Error::unavailable("the worker does not answer")),
    }
}
