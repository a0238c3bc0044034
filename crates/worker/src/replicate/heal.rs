//! Damaged copies are mended while another worker has a whole one.
//!
//! ```text
//!   damage is noted ─► read again ─ whole ─► the note is taken back
//!                               └─ damaged ─► does a peer's copy pass? ─► Lost ─► the copies that
//!   are missing here are fetched, file by file where bytes differ ─► Added, which ends the note
//! ```
//!
//! Nothing is given up before a peer has read its own copy: of two damaged copies, each may be the
//! one from which rows can be saved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{
    Catalog, CommandBody, CopiesChange, CopyChange, CopyId, KnownPart, Part, PartLocation,
    Snapshot, WorkerState,
};
use granary_common::{CatalogVersion, Clock, ErrorKind, Result, TableId, WorkerId};
use granary_execution::{WorkerApi, WorkerDirectory};
use granary_storage::PartRef;
use tokio_util::sync::CancellationToken;

/// Between two looks at the catalog at least.
const ROUND_MIN: Duration = Duration::from_millis(300);
/// Between two looks when nothing changes: peers may be back.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// How long a copy is left alone that could not be mended: each attempt reads all of it.
const AGAIN_AFTER_MS: u64 = 60_000;

/// A copy on this worker to mend.
#[derive(Clone, Debug, PartialEq)]
struct Patient {
    copy: CopyId,
    /// Every part that shows these files, and that this worker is named for.
    parts: Vec<Arc<Part>>,
    /// Live workers with copies that are not known to be damaged.
    peers: Vec<WorkerId>,
}

/// The damaged copies on `worker` of which somebody else has a whole one: a pure function of the
/// catalog.
fn patients(snapshot: &Snapshot, worker: WorkerId) -> Vec<Patient> {
    let damaged = snapshot.damage.keys().filter(|copy| copy.worker == Some(worker));
    damaged.filter_map(|copy| patient(snapshot, worker, *copy)).collect()
}

fn patient(snapshot: &Snapshot, worker: WorkerId, copy: CopyId) -> Option<Patient> {
    let files = (copy.table, copy.part);
    let parts = snapshot.tables.values().flat_map(|state| state.parts.values());
    let parts: Vec<Arc<Part>> = parts
        .filter(|part| part.file_owner() == files && part.copies().contains(&copy))
        // What no new query sees is not fetched anew either.
        .filter(|part| part.removed.is_none() || part.detached)
        .map(Arc::clone)
        .collect();
    let is_alive = |peer: &WorkerId| {
        snapshot.workers.get(peer).is_some_and(|row| row.state == WorkerState::Alive)
    };
    let first = parts.first()?;
    let PartLocation::Local { copies, .. } = &first.location else { return None };
    let peers: Vec<WorkerId> = copies
        .iter()
        .copied()
        .filter(|peer| *peer != worker && is_alive(peer) && !snapshot.is_damaged(first, *peer))
        .collect();
    (!peers.is_empty()).then_some(Patient { copy, parts, peers })
}

/// Mends this worker's copies.
#[derive(Debug)]
pub struct Healer {
    pub worker: WorkerId,
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    /// This worker itself.
    pub local: Arc<dyn WorkerApi>,
    /// The way to the others.
    pub workers: Arc<dyn WorkerDirectory>,
}

impl Healer {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.rounds()).await;
    }

    async fn rounds(&self) {
        let mut versions = self.catalog.watch();
        // When each may be tried again.
        let mut later: BTreeMap<CopyId, u64> = BTreeMap::new();
        loop {
            versions.mark_unchanged();
            let snapshot = self.catalog.snapshot();
            later.retain(|copy, _| snapshot.damage.contains_key(copy));
            for patient in patients(&snapshot, self.worker) {
                let now_ms = self.clock.monotonic_ms();
                if later.get(&patient.copy).is_some_and(|at_ms| *at_ms > now_ms) {
                    continue;
                }
                later.insert(patient.copy, now_ms + AGAIN_AFTER_MS);
                if let Err(error) = self.mend(&patient, snapshot.version).await {
                    tracing::warn!(part = %patient.copy.part, %error, "a damaged copy stays");
                }
            }
            self.clock.sleep(ROUND_MIN).await;
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = self.clock.sleep(ROUND_MAX) => {}
            }
        }
    }

    async fn mend(&self, patient: &Patient, version: CatalogVersion) -> Result<()> {
        let Some(first) = patient.parts.first() else { return Ok(()) };
        let part = PartRef::at(first, version);
        // A bit may have been wrong on its way only, or somebody has put the file back; the check
        // takes the note back then.
        if self.local.check_part(part.clone()).await?.is_none() {
            return Ok(());
        }
        for peer in &patient.peers {
            let checked = async { self.workers.api(*peer)?.check_part(part.clone()).await };
            match checked.await {
                Ok(None) => return self.give_up(patient).await,
                // The peer has noted its own damage.
                Ok(Some(damage)) => {
                    tracing::warn!(part = %part.id, %peer, damage, "another copy is damaged too");
                }
                Err(error) => {
                    tracing::warn!(part = %part.id, %peer, %error, "a copy was not looked at");
                }
            }
        }
        Ok(())
    }

    /// Says that this worker has the parts no more: it is out of sync then, and fetches what it lacks.
    async fn give_up(&self, patient: &Patient) -> Result<()> {
        tracing::warn!(part = %patient.copy.part, "a damaged copy is given up, to be fetched anew");
        let mut by_table: BTreeMap<TableId, Vec<KnownPart>> = BTreeMap::new();
        for part in &patient.parts {
            let deletions = part.deletions.last().map(|vector| vector.since);
            by_table.entry(part.table).or_default().push(KnownPart { part: part.id, deletions });
        }
        for (table, parts) in by_table {
            let change = CopyChange::Lost;
            let change = CopiesChange { table, worker: self.worker, change, parts };
            match self.catalog.execute(CommandBody::ChangeCopies(change)).await {
                // The table has gone meanwhile.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "heal_tests.rs"]
mod tests;
