//! Who is alive, as the leader knows it: in memory, by its monotonic clock.

use std::collections::HashMap;
use std::time::Duration;

use granary_catalog::{BucketLoad, Heartbeat, LeaseHolder, Snapshot, WorkerState, protocol};
use granary_common::{CatalogVersion, Error, Result};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Leases that the leader holds; more holders are refused.
const LEASES_MAX: usize = 10_000;
/// Buckets whose load one heartbeat may tell.
const LOADS_MAX: usize = 256;

/// One holder's newest heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: String,
    /// The lowest version that the holder may read until its next heartbeat.
    pub pinned: CatalogVersion,
    pub renewed_ms: u64,
    /// The version of the protocol that the holder speaks.
    pub protocol: u32,
    /// What its buckets give a worker to do.
    pub loads: Vec<BucketLoad>,
    /// Whether its disks take no more writes.
    pub is_full: bool,
}

/// The leases that one leader has seen in one term.
#[derive(Debug, Default)]
pub struct Leases {
    inner: Mutex<Inner>,
    /// A worker has said that its disks are full, or are not any more.
    room_changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The term that these leases belong to, and since when this node leads in it.
    term: u64,
    since_ms: u64,
    held: HashMap<LeaseHolder, Lease>,
}

/// What the controller decides from.
#[derive(Clone, Debug, Default)]
pub struct LeaseView {
    /// Since when this node leads, by its monotonic clock.
    pub since_ms: u64,
    pub held: HashMap<LeaseHolder, Lease>,
}

impl Inner {
    /// Leases of another term are forgotten: this node does not know who renewed elsewhere.
    fn enter(&mut self, term: u64, now_ms: u64) {
        if self.term != term {
            *self = Inner { term, since_ms: now_ms, held: HashMap::new() };
        }
    }
}

impl Leases {
    /// Renews a lease. `version` is one that the group had reached when the heartbeat arrived.
    ///
    /// Kind `Conflict` when the worker has registered again since, `NotFound` when it never has or
    /// was dropped, `Unsupported` when the holder is too old for the cluster.
    pub fn renew(
        &self,
        term: u64,
        now_ms: u64,
        heartbeat: Heartbeat,
        version: CatalogVersion,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let who = format!("the node at {}", heartbeat.address);
        protocol::check_node(&who, heartbeat.protocol, snapshot)?;
        if let LeaseHolder::Worker { worker, incarnation } = &heartbeat.holder {
            let row = snapshot.workers.get(worker).ok_or_else(|| {
                Error::not_found(format!(
                    "worker {worker} is not registered in this cluster; when it was dropped, a \
                     restart lets it join as a new one"
                ))
            })?;
            if row.incarnation != *incarnation {
                return Err(Error::conflict(format!(
                    "worker {worker} has registered again since (incarnation {}, not \
                     {incarnation})",
                    row.incarnation
                )));
            }
        }
        let mut inner = self.inner.lock();
        inner.enter(term, now_ms);
        if inner.held.len() >= LEASES_MAX && !inner.held.contains_key(&heartbeat.holder) {
            return Err(Error::exhausted(format!("{LEASES_MAX} leases are held already")));
        }
        // A holder without running queries may begin one at any version from now on.
        let pinned = heartbeat.lowest_pinned.map_or(version, |lowest| lowest.min(version));
        let Heartbeat { holder, address, protocol, mut loads, is_full, .. } = heartbeat;
        loads.truncate(LOADS_MAX);
        let lease = Lease { address, pinned, renewed_ms: now_ms, protocol, loads, is_full };
        let before = inner.held.insert(holder, lease);
        if before.is_some_and(|before| before.is_full != is_full) {
            self.room_changed.notify_one();
        }
        Ok(())
    }

    /// Waits until a worker says that its disks are full, or are not any more.
    pub async fn room_changed(&self) {
        self.room_changed.notified().await;
    }

    /// How long from now the first lease of a worker that holds ends, unless it is renewed.
    pub fn next_worker_end(&self, now_ms: u64, lease: Duration) -> Option<Duration> {
        let inner = self.inner.lock();
        let workers =
            inner.held.iter().filter(|(holder, _)| matches!(holder, LeaseHolder::Worker { .. }));
        let ends = workers.map(|(_, held)| held.renewed_ms + lease.as_millis() as u64);
        let next = ends.filter(|end_ms| *end_ms > now_ms).min()?;
        Some(Duration::from_millis(next - now_ms))
    }

    /// Brings the leases up to date with the catalog: a worker that has just registered gets one, and
    /// so does at the beginning of a term whoever is not known to be dead. Others than the newest incarnation and long gone coordinators lose theirs.
    pub fn observe(&self, term: u64, now_ms: u64, lease_ms: u64, snapshot: &Snapshot) -> LeaseView {
        let mut inner = self.inner.lock();
        inner.enter(term, now_ms);
        inner.held.retain(|holder, lease| match holder {
            LeaseHolder::Worker { worker, incarnation } => {
                snapshot.workers.get(worker).is_some_and(|row| row.incarnation == *incarnation)
            }
            LeaseHolder::Coordinator { .. } => now_ms < lease.renewed_ms + 2 * lease_ms,
        });
        for row in snapshot.workers.values().filter(|row| row.state != WorkerState::Dead) {
            let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
            inner.held.entry(holder).or_insert_with(|| Lease {
                address: row.address.clone(),
                pinned: snapshot.version,
                renewed_ms: now_ms,
                protocol: protocol::spoken_by(&row.software_version),
                loads: Vec::new(),
                is_full: row.is_full,
            });
        }
        LeaseView { since_ms: inner.since_ms, held: inner.held.clone() }
    }

    /// Addresses of the coordinators whose leases hold.
    pub fn coordinators(&self, now_ms: u64, lease_ms: u64) -> Vec<String> {
        let inner = self.inner.lock();
        let mut found: Vec<String> = inner
            .held
            .iter()
            .filter(|(holder, lease)| {
                matches!(holder, LeaseHolder::Coordinator { .. })
                    && now_ms < lease.renewed_ms + lease_ms
            })
            .map(|(_, lease)| lease.address.clone())
            .collect();
        found.sort();
        found
    }
}

#[cfg(test)]
mod tests {
    use granary_catalog::{Change, Row, Worker};
    use granary_common::{ErrorKind, WorkerId};

    use super::*;

    const LEASE_MS: u64 = 1_000;

    fn snapshot(incarnation: u64, version: u64) -> Snapshot {
        let worker = Worker {
            id: WorkerId(1),
            identity: "w".into(),
            address: "w:7422".into(),
            zone: String::new(),
            state: WorkerState::Alive,
            incarnation,
            software_version: "0.1.0".into(),
            drained: false,
            is_full: false,
        };
        Snapshot::default()
            .with_changes(CatalogVersion(version), &[Change::Put(Row::Worker(worker))])
    }

    fn worker(incarnation: u64) -> LeaseHolder {
        LeaseHolder::Worker { worker: WorkerId(1), incarnation }
    }

    fn coordinator() -> LeaseHolder {
        LeaseHolder::Coordinator { identity: "c".into() }
    }

    fn beat(holder: LeaseHolder, lowest_pinned: Option<u64>) -> Heartbeat {
        let lowest_pinned = lowest_pinned.map(CatalogVersion);
        let protocol = protocol::PROTOCOL_VERSION;
        let loads = Vec::new();
        let address = "a:1".into();
        Heartbeat { holder, address, lowest_pinned, protocol, loads, is_full: false }
    }

    #[test]
    fn a_holder_without_queries_pins_the_version_of_its_heartbeat() {
        let leases = Leases::default();
        let state = snapshot(1, 50);
        for (lowest, version, pinned) in [(None, 40, 40), (Some(30), 40, 30), (Some(45), 40, 40)] {
            let version = CatalogVersion(version);
            leases.renew(1, 0, beat(coordinator(), lowest), version, &state).expect("renews");
            let view = leases.observe(1, 0, LEASE_MS, &state);
            assert_eq!(view.held[&coordinator()].pinned, CatalogVersion(pinned));
        }
    }

    #[test]
    fn only_the_newest_incarnation_renews() {
        let leases = Leases::default();
        let state = snapshot(2, 50);
        let version = CatalogVersion(50);
        let stale = leases.renew(1, 0, beat(worker(1), None), version, &state);
        assert_eq!(stale.expect_err("stale").kind(), ErrorKind::Conflict);
        let unknown = leases.renew(1, 0, beat(worker(1), None), version, &Snapshot::default());
        assert_eq!(unknown.expect_err("unknown").kind(), ErrorKind::NotFound);
        leases.renew(1, 0, beat(worker(2), None), version, &state).expect("renews");
        // The worker registers again: its new incarnation begins with a lease of its own.
        let view = leases.observe(1, 10, LEASE_MS, &snapshot(3, 51));
        assert!(!view.held.contains_key(&worker(2)));
        assert_eq!(view.held[&worker(3)].renewed_ms, 10);
    }

    #[test]
    fn the_next_lease_to_end_is_a_workers_that_holds() {
        let leases = Leases::default();
        let state = snapshot(1, 50);
        let version = CatalogVersion(50);
        let lease = Duration::from_millis(LEASE_MS);
        leases.renew(1, 10, beat(coordinator(), None), version, &state).expect("renews");
        assert_eq!(leases.next_worker_end(20, lease), None);
        leases.renew(1, 100, beat(worker(1), None), version, &state).expect("renews");
        for (now_ms, left_ms) in [(100, Some(1_000)), (1_099, Some(1)), (1_100, None)] {
            let left = left_ms.map(Duration::from_millis);
            assert_eq!(leases.next_worker_end(now_ms, lease), left, "{now_ms}");
        }
    }

    #[test]
    fn a_new_term_begins_without_leases() {
        let leases = Leases::default();
        let state = snapshot(1, 50);
        let version = CatalogVersion(50);
        leases.renew(1, 100, beat(coordinator(), None), version, &state).expect("renews");
        assert_eq!(leases.coordinators(1_099, LEASE_MS), ["a:1"]);
        assert_eq!(leases.coordinators(1_100, LEASE_MS), [""; 0]);
        let view = leases.observe(2, 500, LEASE_MS, &state);
        assert_eq!(view.since_ms, 500);
        assert!(!view.held.contains_key(&coordinator()));
    }
}
