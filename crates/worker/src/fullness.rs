//! Whether the disks of this worker take writes: others lead its buckets while they do not.
//!
//! ```text
//!   an insert does not fit ─┐
//!   under what is kept free ┴─► full ─► told at once ─► somebody else leads ─► rows are sent there
//!   clearly above it ─► takes writes ─► told with the next heartbeat ─► fetches what it lacks, leads again
//! ```

use std::sync::Arc;

use granary_catalog::protocol::FULL_DISKS;
use granary_catalog::{Catalog, PartLocation, Snapshot, Worker};
use granary_common::{Error, ErrorKind, WorkerId};
use granary_storage::volume::{DEFAULT_DISK, Tiers};
use granary_storage::{PartStore, Room, Volume, VolumeKind};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Above what is kept free there must be this share of a disk, and so many bytes at most, before a full
/// one takes writes again: what comes and goes all the time must not turn it round.
const MARGIN_PER_MILLE: u64 = 10;
const MARGIN_BYTES_MAX: u64 = 1 << 30;
/// Room for what was refused is waited for up to this share of a disk: smaller writes fit sooner.
const NEEDED_PER_MILLE_MAX: u64 = 50;

/// A disk that inserts write to.
#[derive(Debug)]
struct Disk {
    volume: Arc<Volume>,
    /// Bytes for which there was too little room, 0 when that is not known; `None` when it takes writes.
    lacking: Option<u64>,
}

/// What is known of the disks of a worker.
#[derive(Debug)]
pub struct Fullness {
    worker: WorkerId,
    catalog: Arc<dyn Catalog>,
    disks: Mutex<Vec<Disk>>,
    refused: Notify,
}

impl Fullness {
    /// Of the disks that inserts into tables of any policy of `tiers` write to. At the start the worker
    /// is as full as the catalog says that it was.
    pub fn new(
        worker: WorkerId,
        catalog: &Arc<dyn Catalog>,
        store: &PartStore,
        tiers: &Tiers,
    ) -> Fullness {
        let was_full = catalog.snapshot().workers.get(&worker).is_some_and(|row| row.is_full);
        let volumes = store.volumes().own().filter(|volume| is_written_first(tiers, volume));
        let disk = |volume: &Arc<Volume>| Disk {
            volume: Arc::clone(volume),
            lacking: was_full.then_some(0),
        };
        let disks = Mutex::new(volumes.map(disk).collect());
        Fullness { worker, catalog: Arc::clone(catalog), disks, refused: Notify::new() }
    }

    /// Looks at the disks: whether one of them takes no more writes.
    pub fn look(&self) -> bool {
        let mut disks = self.disks.lock();
        for disk in disks.iter_mut() {
            // A cache on the same disk gives way first.
            let _ = disk.volume.check_room(0);
            if let Some(room) = disk.volume.room() {
                disk.lacking = lacking(disk.lacking, room);
            }
        }
        disks.iter().any(|disk| disk.lacking.is_some())
    }

    /// Waits until an insert finds too little room.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    /// What to answer to an insert of about `bytes` to `location` that failed with `error`. When the disk
    /// is full that is `Unavailable` as long as another worker takes rows: it leads soon.
    pub fn answered(&self, error: Error, location: &PartLocation, bytes: u64) -> Error {
        if error.kind() != ErrorKind::ResourceExhausted || !self.note(location, bytes) {
            return error;
        }
        match others_take(&self.catalog.snapshot(), self.worker) {
            false => error,
            true => Error::unavailable(format!("{}; another worker takes over", error.message())),
        }
    }

    /// Whether the disk is full, with too little room for `bytes`. One that only this does not fit, since
    /// it is so much, is not.
    fn note(&self, location: &PartLocation, bytes: u64) -> bool {
        let PartLocation::Local { disk: name, .. } = location else { return false };
        let name = name.as_deref().unwrap_or(DEFAULT_DISK);
        let mut disks = self.disks.lock();
        let Some(disk) = disks.iter_mut().find(|disk| disk.volume.disk_name() == name) else {
            return false;
        };
        if disk.volume.check_room(bytes).is_ok() {
            return false;
        }
        let needed = Some(disk.lacking.unwrap_or(0).max(bytes));
        let now = disk.volume.room().and_then(|room| lacking(needed, room));
        if disk.lacking.is_none() && now.is_some() {
            tracing::warn!(worker = %self.worker, disk = name, "the disk is full");
            self.refused.notify_one();
        }
        disk.lacking = now;
        now.is_some()
    }
}

/// Whether parts of an insert may be written to the volume.
fn is_written_first(tiers: &Tiers, volume: &Volume) -> bool {
    let name = volume.disk_name();
    let mut first = tiers.policies().filter_map(|(_, volumes)| volumes.first());
    matches!(volume.kind, VolumeKind::Local { .. })
        && first.any(|volume| volume.disks.iter().any(|disk| disk == name))
}

/// What a disk lacks that lacked `before` and has this room now.
fn lacking(before: Option<u64>, room: Room) -> Option<u64> {
    if !room.fits(0) {
        return Some(before.unwrap_or(0));
    }
    let per_mille = |share: u64| room.total_bytes / 1000 * share;
    let margin = per_mille(MARGIN_PER_MILLE).min(MARGIN_BYTES_MAX);
    before.filter(|needed| !room.fits(margin + (*needed).min(per_mille(NEEDED_PER_MILLE_MAX))))
}

/// Whether a worker other than `worker` could lead in its place.
fn others_take(snapshot: &Snapshot, worker: WorkerId) -> bool {
    let mut others = snapshot.workers.values().filter(|row| row.id != worker);
    snapshot.protocol() >= FULL_DISKS
        && others.any(|row: &Arc<Worker>| row.takes_more() && row.takes_writes())
}

#[cfg(test)]
mod tests {
    use granary_catalog::{Change, Cluster, Row, WorkerState};
    use granary_common::{CatalogVersion, ClusterId};
    use granary_storage::Reserve;

    use super::*;
    use crate::replicate::plan_tests;

    #[test]
    fn a_disk_is_full_below_its_reserve_and_takes_writes_clearly_above() {
        // Of a disk of 100,000 bytes of which 10,000 are kept free; the margin is 1,000, and for more
        // than 5,000 nobody waits.
        for (before, available, expected) in [
            (None, 50_000, None),
            (None, 10_000, None),
            (None, 9_999, Some(0)),
            (Some(0), 10_000, Some(0)),
            (Some(0), 10_999, Some(0)),
            (Some(0), 11_000, None),
            (Some(2_000), 9_000, Some(2_000)),
            (Some(2_000), 12_999, Some(2_000)),
            (Some(2_000), 13_000, None),
            (Some(90_000), 15_999, Some(90_000)),
            (Some(90_000), 16_000, None),
        ] {
            let room = Room::new(100_000, available, Reserve::Bytes(10_000));
            assert_eq!(lacking(before, room), expected, "{before:?} {available}");
        }
        let large = Room::new(1000 << 30, 6 << 30, Reserve::Bytes(5 << 30));
        assert_eq!(lacking(Some(0), large), None, "a GiB is enough");
    }

    fn cluster(protocol: u32) -> Row {
        Row::Cluster(Cluster {
            id: ClusterId("c".into()),
            next_database_id: 1,
            next_table_id: 1,
            next_worker_id: 3,
            next_part_id: 1,
            horizon: CatalogVersion(0),
            merges_stopped: false,
            protocol,
        })
    }

    #[test]
    fn rows_go_to_another_worker_that_takes_them() {
        let row = |id: u64, state, is_full, drained| {
            let Row::Worker(row) = plan_tests::worker(id, state) else { panic!("a worker") };
            Row::Worker(Worker { is_full, drained, ..row })
        };
        let alive = WorkerState::Alive;
        for (other, expected) in [
            (row(2, alive, false, false), true),
            (row(2, alive, true, false), false),
            (row(2, alive, false, true), false),
            (row(2, WorkerState::Dead, false, false), false),
            (row(1, alive, false, false), false),
        ] {
            for (protocol, known) in [(FULL_DISKS - 1, false), (FULL_DISKS, true)] {
                let rows = [cluster(protocol), row(1, alive, true, false), other.clone()];
                let changes = rows.map(Change::Put);
                let snapshot = Snapshot::default().with_changes(CatalogVersion(1), &changes);
                let expected = expected && known;
                assert_eq!(others_take(&snapshot, WorkerId(1)), expected, "{changes:?}");
            }
        }
    }
}
