//! Looks for part files on the volumes that every worker reaches. One worker does it for all: the
//! living one of the lowest id.
//!
//! The other workers' leases are not held meanwhile, so the order counts: a volume is listed before the
//! catalog is read. Whatever was listed has an id that was leased by then, and the catalog tells
//! whether it still is, or was committed, or never will be. The same goes for files of deletions, whose
//! ids are of the same leases; those that were replaced go when no version needs them that can be read.
//!
//! Two workers may take turns for the lowest id while each believes in its own, and sweep at the same
//! time: what one of them may delete nobody needs ever again, so neither harms the other.
//!
//! A volume belongs to one cluster, whose name is written beside its parts. The parts of another one
//! are no orphans, so nothing is swept there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, DeletionFiles, PartLocation, Snapshot, WorkerState};
use granary_common::{Clock, PartId, Result, WorkerId};
use granary_storage::{Owner, PartsOnVolume, Volume};

/// Before the first sweep, so that a start is not slowed down by it.
const FIRST_AFTER: Duration = Duration::from_secs(20);

/// Sweeps the volumes that every worker reaches.
#[derive(Debug)]
pub struct SharedSweeper {
    catalog: Arc<dyn Catalog>,
    worker: WorkerId,
    volumes: Vec<Arc<Volume>>,
    /// The parts on the volumes that the catalog named at the last sweep.
    seen: BTreeSet<PartId>,
    /// The files of deletions that were needed then, by the ids in their names.
    deletions: BTreeSet<PartId>,
}

impl SharedSweeper {
    /// A sweeper that has seen no part yet.
    pub fn new(catalog: Arc<dyn Catalog>, worker: WorkerId, volumes: Vec<Arc<Volume>>) -> Self {
        Self { catalog, worker, volumes, seen: BTreeSet::new(), deletions: BTreeSet::new() }
    }

    /// Sweeps every `interval`, for ever; ends at once where there is nothing to sweep.
    pub async fn run(mut self, clock: Arc<dyn Clock>, interval: Duration) {
        if self.volumes.is_empty() {
            return;
        }
        clock.sleep(FIRST_AFTER.min(interval)).await;
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "orphaned part files were not looked for on shared volumes");
            }
            clock.sleep(interval).await;
        }
    }

    /// Deletes part files that neither the catalog names on a shared volume nor a lease refers to, and
    /// those of parts that have left the catalog since the last sweep, which never come back.
    pub async fn sweep(&mut self) -> Result<()> {
        let before = self.catalog.snapshot();
        let Some(cluster) = before.cluster.as_ref().filter(|_| sweeps_shared(&before, self.worker))
        else {
            // What is seen until the next turn says nothing of the time between.
            self.seen.clear();
            self.deletions.clear();
            return Ok(());
        };
        let mut listed = Vec::new();
        for volume in &self.volumes {
            match Owner::of(volume, &cluster.id).await? {
                Owner::ThisCluster => listed.push((volume, PartsOnVolume::list(volume).await?)),
                Owner::Other(name) => tracing::warn!(
                    volume = volume.name,
                    owner = name,
                    "a shared volume holds the parts of another cluster; it is not swept"
                ),
            }
        }
        let snapshot = self.catalog.read_latest().await?;
        let present = named_shared(&snapshot);
        let deletions = DeletionFiles::of(&snapshot, &self.deletions);
        let is_orphan = |file: PartId| deletions.is_orphan(file, snapshot.is_leased(file));
        for (volume, mut parts) in listed {
            let seen = &self.seen;
            let claim = |part: PartId| {
                let has_left = seen.contains(&part) || !snapshot.is_leased(part);
                (has_left && !present.contains(&part)).then_some(())
            };
            let swept = parts.sweep(volume, claim).await?;
            parts.sweep_deletions(volume, is_orphan, |_| Some(())).await?;
            if !swept.deleted.is_empty() {
                tracing::info!(
                    parts = swept.deleted.len(),
                    bytes = swept.bytes,
                    volume = volume.name,
                    "deleted part files that nothing refers to"
                );
            }
        }
        (self.seen, self.deletions) = (present, deletions.needed);
        Ok(())
    }
}

/// Whether `worker` has the lowest id of the workers that live, and so sweeps for all.
pub fn sweeps_shared(snapshot: &Snapshot, worker: WorkerId) -> bool {
    let mut living = snapshot.workers.values().filter(|row| row.state == WorkerState::Alive);
    living.next().is_some_and(|row| row.id == worker)
}

/// The parts whose files lie on shared volumes; those of inserts that are under
/// way included. A part may show the files of another one; those are kept as long as either is there.
pub fn named_shared(snapshot: &Snapshot) -> BTreeSet<PartId> {
    let parts = snapshot.tables.values().flat_map(|state| state.parts.values());
    let staged = snapshot.staged.values().flat_map(|insert| insert.parts.iter());
    let parts = parts.map(|part| &**part).chain(staged);
    let there = parts.filter(|part| matches!(part.location, PartLocation::Shared { .. }));
    there.map(|part| part.file_owner().1).collect()
}

#[cfg(test)]
mod tests {
    use granary_catalog::{CommandBody, MemoryCatalog};
    use granary_common::{SystemClock, TableId};
    use granary_storage::VolumeKind;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        catalog: Arc<MemoryCatalog>,
    }

    impl Bench {
        /// Files of parts 70, 71 and 72, of which a worker has leased the first two.
        async fn start() -> Bench {
            let catalog = MemoryCatalog::new("test", SystemClock::shared()).unwrap();
            let bench = Bench { folder: tempfile::tempdir().unwrap(), catalog: Arc::new(catalog) };
            for part in ["70", "71", "72"] {
                std::fs::create_dir_all(bench.file(part).parent().unwrap()).unwrap();
                std::fs::write(bench.file(part), "x").unwrap();
            }
            for identity in ["a", "b"] {
                let register = CommandBody::RegisterWorker {
                    identity: identity.into(),
                    address: format!("{identity}:1"),
                    zone: String::new(),
                    software_version: String::new(),
                };
                bench.catalog.execute(register).await.unwrap();
            }
            let lease =
                CommandBody::LeasePartIds { worker: WorkerId(2), incarnation: 1, count: 71 };
            bench.catalog.execute(lease).await.unwrap();
            bench
        }

        fn sweeper(&self, worker: u64) -> SharedSweeper {
            let path = self.folder.path().to_str().unwrap();
            let volume = Volume::open("far", VolumeKind::Shared, path).unwrap();
            let catalog: Arc<dyn Catalog> = Arc::clone(&self.catalog) as Arc<dyn Catalog>;
            SharedSweeper::new(catalog, WorkerId(worker), vec![Arc::new(volume)])
        }

        fn file(&self, part: &str) -> std::path::PathBuf {
            self.folder.path().join("parts").join(TableId(7).to_string()).join(part).join("index")
        }

        fn there(&self) -> Vec<&'static str> {
            let parts = ["70", "71", "72"].into_iter();
            parts.filter(|part| self.file(part).exists()).collect()
        }
    }

    #[tokio::test]
    async fn what_nobody_can_commit_goes() {
        let bench = Bench::start().await;
        bench.sweeper(2).sweep().await.unwrap();
        assert_eq!(bench.there(), ["70", "71", "72"], "another worker does it");
        let mut sweeper = bench.sweeper(1);
        sweeper.sweep().await.unwrap();
        assert_eq!(bench.there(), ["70", "71"]);
        sweeper.seen.insert(PartId(70));
        sweeper.sweep().await.unwrap();
        assert_eq!(bench.there(), ["71"], "it was in the catalog and has left it");
    }

    #[tokio::test]
    async fn the_parts_of_another_cluster_are_left_alone() {
        let bench = Bench::start().await;
        std::fs::write(bench.folder.path().join("cluster"), "another").unwrap();
        bench.sweeper(1).sweep().await.unwrap();
        assert_eq!(bench.there(), ["70", "71", "72"]);
        std::fs::remove_file(bench.folder.path().join("cluster")).unwrap();
        bench.sweeper(1).sweep().await.unwrap();
        assert_eq!(bench.there(), ["70", "71"]);
        let named = std::fs::read_to_string(bench.folder.path().join("cluster")).unwrap();
        let cluster = bench.catalog.snapshot().cluster.as_ref().unwrap().id.clone();
        assert_eq!(named, cluster.0);
    }
}
