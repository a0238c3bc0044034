//! Who is where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use granary_catalog::Snapshot;
use granary_common::{Clock, WorkerId};
use parking_lot::Mutex;

use crate::clock::HostClock;
use crate::coordinator::{Coordinator, TABLES};
use crate::far::Far;
use crate::member::Member;
use crate::net::{Host, Net};
use crate::sabotage::Sabotage;
use crate::worker::Worker;

/// Members of the metadata group in the beginning.
pub const MEMBERS: u64 = 3;
/// Coordinators.
pub const COORDINATORS: u64 = 2;

/// The simulated cluster: the services of the hosts that run.
pub struct Cluster {
    pub net: Arc<Net>,
    pub sabotage: Option<Sabotage>,
    pub far: Far,
    clock: Arc<HostClock>,
    merges: AtomicU64,
    splits: AtomicU64,
    services: Mutex<Services>,
    /// The members that are asked.
    addresses: Mutex<BTreeSet<u64>>,
}

#[derive(Default)]
struct Services {
    members: BTreeMap<u64, Arc<Member>>,
    coordinators: BTreeMap<u64, Arc<Coordinator>>,
    workers: BTreeMap<u64, Arc<Worker>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster without hosts, which begins now.
    pub fn new(net: Arc<Net>, sabotage: Option<Sabotage>) -> Arc<Cluster> {
        let clock = HostClock::right();
        let far = Far::new(TABLES.get(net.pick(0..TABLES.len() as u64 + 1) as usize).copied());
        Arc::new(Cluster {
            net,
            sabotage,
            far,
            clock,
            merges: AtomicU64::new(0),
            splits: AtomicU64::new(0),
            services: Mutex::default(),
            addresses: Mutex::new((1..=MEMBERS).collect()),
        })
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    /// A merge was committed.
    pub fn count_merge(&self) {
        self.merges.fetch_add(1, Ordering::SeqCst);
    }

    /// Merges that were committed and acknowledged.
    pub fn merges(&self) -> u64 {
        self.merges.load(Ordering::SeqCst)
    }

    /// A split was committed.
    pub fn count_split(&self) {
        self.splits.fetch_add(1, Ordering::SeqCst);
    }

    /// Splits that were committed and acknowledged.
    pub fn splits(&self) -> u64 {
        self.splits.load(Ordering::SeqCst)
    }

    /// Adds to the story of the run.
    pub fn note(&self, event: impl AsRef<str>) {
        self.net.trace.note(self.now_ms(), event.as_ref());
    }

    /// From now on the member is asked as well.
    pub fn put_address(&self, number: u64) {
        self.addresses.lock().insert(number);
    }

    pub fn remove_address(&self, number: u64) {
        self.addresses.lock().remove(&number);
    }

    /// The members that are asked.
    pub fn addresses(&self) -> BTreeSet<u64> {
        self.addresses.lock().clone()
    }

    /// The one of them that is asked after `number`.
    pub fn member_after(&self, number: u64) -> u64 {
        let addresses = self.addresses.lock();
        let after = addresses.range(number + 1..).next().or(addresses.first());
        after.copied().unwrap_or(number)
    }

    pub fn member(&self, number: u64) -> Option<Arc<Member>> {
        self.services.lock().members.get(&number).cloned()
    }

    pub fn coordinator(&self, number: u64) -> Option<Arc<Coordinator>> {
        self.services.lock().coordinators.get(&number).cloned()
    }

    pub fn worker(&self, number: u64) -> Option<Arc<Worker>> {
        self.services.lock().workers.get(&number).cloned()
    }

    pub fn put_member(&self, number: u64, member: Arc<Member>) {
        self.services.lock().members.insert(number, member);
    }

    pub fn put_coordinator(&self, number: u64, coordinator: Arc<Coordinator>) {
        self.services.lock().coordinators.insert(number, coordinator);
    }

    pub fn put_worker(&self, number: u64, worker: Arc<Worker>) {
        self.services.lock().workers.insert(number, worker);
    }

    /// Takes away the service of a host that has died.
    pub fn remove(&self, host: Host) {
        let mut services = self.services.lock();
        match host {
            Host::Metadata(number) => drop(services.members.remove(&number)),
            Host::Coordinator(number) => drop(services.coordinators.remove(&number)),
            Host::Worker(number) => drop(services.workers.remove(&number)),
            Host::Client => {}
        }
    }
}

/// The address that the worker of a host registers with.
pub fn address_of(number: u64) -> String {
    format!("w{number}:7422")
}

/// The host of a worker.
pub fn host_of(snapshot: &Snapshot, worker: WorkerId) -> Option<u64> {
    let address = &snapshot.workers.get(&worker)?.address;
    address.strip_prefix('w')?.split_once(':')?.0.parse().ok()
}
