//! Looks for part files that nothing refers to.
//!
//! Ids of ranges that are still leased may yet be committed, so files under them are left alone, with
//! one exception: a part that was in the catalog and has left it (merged away or dropped, and no
//! query can see it any more) never comes back. Without it, what merges replace would stay until the
//! worker starts again. The same goes for copies that the catalog does not name here any more.
//!
//! Files of deletions that later ones replaced go as soon as no version needs them that can be read.
//!
//! Copies that come in from other workers are named here only when they are complete, so parts that
//! have come in since the sweep began are left alone as well.

mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, DeletionFiles, PartLocation, Snapshot};
use granary_common::{Clock, PartId, Result, TableId, WorkerId};
use granary_storage::{PartsOnVolume, Volume, delete_part};

use crate::merge::Replaced;
use crate::part_ids::LeasedPartIds;
use crate::replicate::Arrivals;

pub use shared::{SharedSweeper, named_shared, sweeps_shared};

/// Before the first sweep, so that a start is not slowed down by it.
const FIRST_AFTER: Duration = Duration::from_secs(20);

/// Sweeps the volumes that only this worker reaches.
#[derive(Debug)]
pub struct Sweeper {
    pub catalog: Arc<dyn Catalog>,
    pub ids: Arc<LeasedPartIds>,
    pub volumes: Vec<Arc<Volume>>,
    worker: WorkerId,
    /// The parts on the volumes that the catalog named at the last sweep, with their tables.
    seen: BTreeMap<PartId, TableId>,
    /// The files of deletions that were needed then, by the ids in their names.
    deletions: BTreeSet<PartId>,
    /// Parts that were merged away since.
    replaced: Replaced,
    /// Parts that come in from other workers.
    arrivals: Arc<Arrivals>,
}

impl Sweeper {
    /// A sweeper that has seen no part yet; `replaced` tells it of parts that are gone soon.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        ids: Arc<LeasedPartIds>,
        worker: WorkerId,
        volumes: Vec<Arc<Volume>>,
        replaced: Replaced,
        arrivals: Arc<Arrivals>,
    ) -> Self {
        let (seen, deletions) = (BTreeMap::new(), BTreeSet::new());
        Self { catalog, ids, volumes, worker, seen, deletions, replaced, arrivals }
    }

    /// Sweeps every `interval`, for ever.
    pub async fn run(mut self, clock: Arc<dyn Clock>, interval: Duration) {
        clock.sleep(FIRST_AFTER.min(interval)).await;
        loop {
            if let Err(error) = self.ids.give_back(clock.monotonic_ms()).await {
                tracing::warn!(%error, "leases of part ids were not given back");
            }
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "orphaned part files were not looked for");
            }
            clock.sleep(interval).await;
        }
    }

    /// Deletes part files that neither the catalog names here nor a lease refers to. No range of this
    /// worker is leased in between, so the snapshot knows of every id that its files may have; other
    /// workers' ids come in by copies.
    pub async fn sweep(&mut self) -> Result<()> {
        let leases = self.ids.hold_leases().await;
        self.arrivals.begin_sweep();
        let snapshot = self.catalog.read_latest().await?;
        let present = named(&snapshot, self.worker);
        let claim = |part: PartId| {
            let is_kept = present.contains_key(&part) || snapshot.is_leased(part);
            if is_kept { None } else { self.arrivals.leave(part) }
        };
        let settled = |part: PartId| self.arrivals.leave(part);
        let deletions = DeletionFiles::of(&snapshot, &self.deletions);
        let is_orphan = |file: PartId| deletions.is_orphan(file, snapshot.is_leased(file));
        for volume in &self.volumes {
            let mut parts = PartsOnVolume::list(volume).await?;
            let swept = parts.sweep(volume, claim).await?;
            parts.sweep_deletions(volume, is_orphan, settled).await?;
            if !swept.deleted.is_empty() {
                tracing::info!(
                    parts = swept.deleted.len(),
                    bytes = swept.bytes,
                    volume = volume.name,
                    "deleted part files that nothing refers to"
                );
            }
        }
        drop(leases);
        self.deletions = deletions.needed;
        self.delete_departed(present).await
    }

    /// Deletes the files of parts that the catalog has named here and does not any more.
    async fn delete_departed(&mut self, present: BTreeMap<PartId, TableId>) -> Result<()> {
        self.seen.extend(std::mem::take(&mut *self.replaced.lock()));

        let departed: Vec<(PartId, TableId)> = self
            .seen
            .iter()
            .filter(|(part, _)| !present.contains_key(part))
            .map(|(part, table)| (*part, *table))
            .collect();
        let mut kept = Vec::new();
        for (part, table) in departed {
            let Some(_leaving) = self.arrivals.leave(part) else {
                kept.push((part, table));
                continue;
            };
            // It is on one of them.
            for volume in &self.volumes {
                delete_part(volume, table, part).await?;
            }
            tracing::debug!(%part, "deleted the files of a part that has left the catalog");
            self.seen.remove(&part);
        }
        self.seen = present;
        self.seen.extend(kept);
        Ok(())
    }
}

/// The parts whose files a worker's own volumes hold as the catalog has it, with the table in their
/// path; those of inserts that are under way included. A part may show the files of another one;
/// those are kept as long as either is there.
pub fn named(snapshot: &Snapshot, worker: WorkerId) -> BTreeMap<PartId, TableId> {
    let parts = snapshot.tables.values().flat_map(|state| state.parts.values());
    let staged = snapshot.staged.values().flat_map(|insert| insert.parts.iter());
    let parts = parts.map(|part| &**part).chain(staged);
    let here = parts.filter(|part| match &part.location {
        PartLocation::Local { copies, .. } => copies.contains(&worker),
        PartLocation::Shared { .. } => false,
    });
    here.map(|part| part.file_owner()).map(|(table, part)| (part, table)).collect()
}

#[cfg(test)]
mod tests {
    use granary_catalog::MemoryCatalog;
    use granary_common::SystemClock;
    use granary_storage::VolumeKind;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        catalog: Arc<MemoryCatalog>,
        arrivals: Arc<Arrivals>,
        sweeper: Sweeper,
    }

    impl Bench {
        fn start(parts: &[&str]) -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let worker = WorkerId(1);
            let path = folder.path().to_str().unwrap();
            let volume = Volume::open("local", VolumeKind::Local { worker }, path).unwrap();
            let catalog = Arc::new(MemoryCatalog::new("test", SystemClock::shared()).unwrap());
            let shared: Arc<dyn Catalog> = Arc::clone(&catalog) as Arc<dyn Catalog>;
            let ids = Arc::new(LeasedPartIds::new(Arc::clone(&shared), worker, 1));
            let arrivals = Arc::<Arrivals>::default();
            let sweeper = Sweeper::new(
                shared,
                ids,
                worker,
                vec![Arc::new(volume)],
                Replaced::default(),
                Arc::clone(&arrivals),
            );
            let bench = Bench { folder, catalog, arrivals, sweeper };
            for part in parts {
                let file = bench.file(part);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, "x").unwrap();
            }
            bench
        }

        fn file(&self, part: &str) -> std::path::PathBuf {
            self.folder.path().join("parts/7").join(part).join("index")
        }

        fn is_there(&self, part: &str) -> bool {
            self.file(part).exists()
        }
    }

    #[tokio::test]
    async fn parts_that_left_the_catalog_go_and_new_ones_stay() {
        let mut bench = Bench::start(&["70", "71"]);
        bench.sweeper.replaced.lock().insert(PartId(70), TableId(7));
        bench.sweeper.delete_departed(BTreeMap::new()).await.unwrap();
        assert!(!bench.is_there("70"));
        assert!(bench.is_there("71"));
        assert!(bench.sweeper.seen.is_empty());
    }

    #[tokio::test]
    async fn what_comes_in_from_others_stays() {
        let mut bench = Bench::start(&["70", "71", "72"]);
        let arriving = bench.arrivals.arrive(PartId(70)).unwrap();
        // Another worker's id, whose part is not committed yet.
        for (identity, worker) in [("a", 1), ("b", 2)] {
            let register = granary_catalog::CommandBody::RegisterWorker {
                identity: identity.into(),
                address: format!("{identity}:1"),
                zone: String::new(),
                software_version: String::new(),
            };
            bench.catalog.execute(register).await.unwrap();
            let lease = granary_catalog::CommandBody::LeasePartIds {
                worker: WorkerId(worker),
                incarnation: 1,
                count: 71,
            };
            if worker == 2 {
                bench.catalog.execute(lease).await.unwrap();
            }
        }
        bench.sweeper.sweep().await.unwrap();
        assert!(bench.is_there("70"), "it comes in");
        assert!(bench.is_there("71"), "it may be committed");
        assert!(!bench.is_there("72"));
        drop(arriving);
        bench.sweeper.sweep().await.unwrap();
        assert!(bench.is_there("70"), "its id is leased");
    }
}
