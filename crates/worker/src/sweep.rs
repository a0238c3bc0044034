//! Looks for part files that nothing refers to.
//!
//! Ids of ranges that are still leased may yet be committed, so files under them are left alone, with
//! one exception: a part that was in the catalog and has left it (merged away or dropped, and no
//! query can see it any more) never comes back. Without it, what merges replace would stay until the
//! worker starts again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, PartLocation, Snapshot};
use granary_common::{Clock, PartId, Result, TableId, WorkerId};
use granary_storage::{Volume, delete_part, sweep_orphans};

use crate::merge::Replaced;
use crate::part_ids::LeasedPartIds;

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
    /// Parts that were merged away since.
    replaced: Replaced,
}

impl Sweeper {
    /// A sweeper that has seen no part yet; `replaced` tells it of parts that are gone soon.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        ids: Arc<LeasedPartIds>,
        worker: WorkerId,
        volumes: Vec<Arc<Volume>>,
        replaced: Replaced,
    ) -> Self {
        Self { catalog, ids, volumes, worker, seen: BTreeMap::new(), replaced }
    }

    /// Sweeps every `interval`, for ever.
    pub async fn run(mut self, clock: Arc<dyn Clock>, interval: Duration) {
        clock.sleep(FIRST_AFTER.min(interval)).await;
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "orphaned part files were not looked for");
            }
            clock.sleep(interval).await;
        }
    }

    /// Deletes part files that neither the catalog nor a lease refers to. No range is leased in
    /// between, so the snapshot knows of every id that a file may have.
    pub async fn sweep(&mut self) -> Result<()> {
        let leases = self.ids.hold_leases().await;
        let snapshot = self.catalog.read_latest().await?;
        for volume in &self.volumes {
            let swept = sweep_orphans(volume, &snapshot).await?;
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
        self.delete_departed(&snapshot).await
    }

    /// Deletes the files of parts that have left the catalog since the last sweep.
    async fn delete_departed(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.seen.extend(std::mem::take(&mut *self.replaced.lock()));
        let present = named(snapshot, self.worker);
        let staged = |part: PartId| {
            snapshot.staged.values().any(|insert| insert.parts.iter().any(|p| p.id == part))
        };
        let departed: Vec<(PartId, TableId)> = self
            .seen
            .iter()
            .filter(|(part, _)| !present.contains_key(part) && !staged(**part))
            .map(|(part, table)| (*part, *table))
            .collect();
        for (part, table) in departed {
            // It is on one of them.
            for volume in &self.volumes {
                delete_part(volume, table, part).await?;
            }
            tracing::debug!(%part, "deleted the files of a part that has left the catalog");
            self.seen.remove(&part);
        }
        self.seen = present;
        Ok(())
    }
}

/// The parts whose files a worker's own volumes hold as the catalog has it, with the table in their path. A part
/// may show the files of another one; those are kept as long as either is there.
fn named(snapshot: &Snapshot, worker: WorkerId) -> BTreeMap<PartId, TableId> {
    let parts = snapshot.tables.values().flat_map(|state| state.parts.values());
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

    #[tokio::test]
    async fn parts_that_left_the_catalog_go_and_new_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let worker = WorkerId(1);
        let path = folder.path().to_str().unwrap();
        let volume = Volume::open("local", VolumeKind::Local { worker }, path).unwrap();
        let file = |part: &str| folder.path().join("parts/7").join(part).join("index");
        for part in ["70", "71"] {
            std::fs::create_dir_all(file(part).parent().unwrap()).unwrap();
            std::fs::write(file(part), "x").unwrap();
        }
        let catalog: Arc<dyn Catalog> =
            Arc::new(MemoryCatalog::new("test", SystemClock::shared()).unwrap());
        let ids = Arc::new(LeasedPartIds::new(Arc::clone(&catalog), worker, 1));
        let mut sweeper = Sweeper::new(
            Arc::clone(&catalog),
            ids,
            worker,
            vec![Arc::new(volume)],
            Replaced::default(),
        );
        sweeper.replaced.lock().insert(PartId(70), TableId(7));
        sweeper.delete_departed(&catalog.snapshot()).await.unwrap();
        assert!(!file("70").exists());
        assert!(file("71").exists());
        assert!(sweeper.seen.is_empty());
    }
}
