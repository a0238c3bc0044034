//! Part files that nothing refers to are deleted.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use granary_catalog::DeletionContent;
use granary_common::{PartId, Result, TableId};
use object_store::path::Path;

use crate::part::{PARTS_FOLDER, owner_of};
use crate::volume::{Volume, store_error};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweptParts {
    /// Deleted, in ascending order.
    pub deleted: Vec<PartId>,
    /// Bytes that were freed.
    pub bytes: u64,
}

/// The files of one part.
#[derive(Debug, Default)]
struct Files {
    paths: Vec<Path>,
    bytes: u64,
}

/// The part folders that a volume had when they were listed.
///
/// What is being written is safe only through the lease of its id: who says what goes must go by a
/// state of the catalog that was read after the writers of this volume got their current leases, and
/// leases must be kept until their last commit is answered. Where others write whose leases nobody
/// holds, the volume has to be listed before the catalog is read.
#[derive(Debug, Default)]
pub struct PartsOnVolume(BTreeMap<PartId, Files>);

impl PartsOnVolume {
    /// Lists the part folders of `volume`. Kind `Unavailable`.
    pub async fn list(volume: &Volume) -> Result<PartsOnVolume> {
        let root = volume.path(PARTS_FOLDER);
        let mut found = PartsOnVolume::default();
        let mut listing = volume.store.list(Some(&root));
        while let Some(object) = listing.next().await {
            let object = object.map_err(|error| store_error(&error))?;
            let below = object.location.as_ref().strip_prefix(root.as_ref()).unwrap_or_default();
            let Some((_, part)) = owner_of(below.trim_start_matches('/')) else { continue };
            let files = found.0.entry(part).or_default();
            files.bytes += object.size;
            files.paths.push(object.location);
        }
        Ok(found)
    }

    /// Deletes the folders of the parts that `claim` gives away; what it gives is held while the files
    /// of the part are deleted. It is asked just before. Kind `Unavailable`; what was deleted until
    /// then stays deleted.
    pub async fn sweep<G>(
        &mut self,
        volume: &Volume,
        mut claim: impl FnMut(PartId) -> Option<G>,
    ) -> Result<SweptParts> {
        let mut swept = SweptParts::default();
        let parts: Vec<PartId> = self.0.keys().copied().collect();
        for part in parts {
            let Some(_claimed) = claim(part) else { continue };
            let Some(files) = self.0.remove(&part) else { continue };
            let deleted = delete_files(volume, files.paths).await;
            deleted.map_err(|error| error.context(format!("part {part}")))?;
            tracing::info!(%part, bytes = files.bytes, volume = volume.name, "swept an orphan part");
            swept.deleted.push(part);
            swept.bytes += files.bytes;
        }
        Ok(swept)
    }

    /// Deletes those files of deletions beside the parts that are left of which `is_orphan`, by the id
    /// in their name, says that nobody can read them any more, nor commit them; gives how many. Files
    /// may also come in from another worker, under ids of a lease that is newer than what `is_orphan`
    /// knows: `claim` gives none of the parts for which that may be so, and what it gives is held while
    /// files of the part are deleted. Kind `Unavailable`; what was deleted until then stays deleted.
    pub async fn sweep_deletions<G>(
        &self,
        volume: &Volume,
        is_orphan: impl Fn(PartId) -> bool,
        mut claim: impl FnMut(PartId) -> Option<G>,
    ) -> Result<u64> {
        let mut swept = 0;
        for (part, files) in &self.0 {
            let id = |path: &Path| DeletionContent::id_of_file(path.filename()?);
            let goes = |path: &&Path| id(path).is_some_and(&is_orphan);
            let orphans: Vec<Path> = files.paths.iter().filter(goes).cloned().collect();
            if orphans.is_empty() {
                continue;
            }
            let Some(_claimed) = claim(*part) else { continue };
            swept += orphans.len() as u64;
            let deleted = delete_files(volume, orphans).await;
            deleted.map_err(|error| error.context(format!("deletions of part {part}")))?;
        }
        if swept > 0 {
            let volume = &volume.name;
            tracing::info!(files = swept, volume, "deleted files of deletions that nobody needs");
        }
        Ok(swept)
    }
}

async fn delete_files(volume: &Volume, paths: Vec<Path>) -> Result<()> {
    let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
    match volume.store.delete_stream(paths).try_for_each(|_| async { Ok(()) }).await {
        // Somebody else sweeps too.
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(store_error(&error)),
    }
}

/// Deletes the files of a part that nothing refers to or ever will. One that is not there is no
/// error. Kind `Unavailable`; a sweep deletes what was left.
pub async fn delete_part(volume: &Volume, table: TableId, part: PartId) -> Result<()> {
    let folder = volume.path(&format!("{PARTS_FOLDER}/{table}/{part}"));
    let files = volume.store.list(Some(&folder)).map_ok(|object| object.location).boxed();
    let deleted = volume.store.delete_stream(files).try_for_each(|_| async { Ok(()) }).await;
    match deleted {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(store_error(&error).context(format!("part {part}"))),
    }
}

#[cfg(test)]
mod tests {
    use granary_catalog::{Change, PartIdRange, Row, Snapshot};
    use granary_common::{CatalogVersion, WorkerId};
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::test_support::folder;

    #[tokio::test]
    async fn only_expired_orphans_go() {
        let temporary = tempfile::tempdir().unwrap();
        let volume = folder(temporary.path());
        for path in [
            "parts/1/5/data.vortex",
            "parts/1/5/index",
            "parts/1/12/index",
            "parts/x",
            "other/1/5/y",
        ] {
            volume.store.put(&volume.path(path), "1234".into()).await.unwrap();
        }
        let lease = Row::PartIdRange(PartIdRange {
            start: 10,
            end: 20,
            worker: WorkerId(1),
            incarnation: 1,
        });
        let snapshot = Snapshot::default().with_changes(CatalogVersion(1), &[Change::Put(lease)]);
        let claim = |part| (!snapshot.may_reference_part(part)).then_some(());
        let mut parts = PartsOnVolume::list(&volume).await.unwrap();
        let swept = parts.sweep(&volume, claim).await.unwrap();
        assert_eq!(swept, SweptParts { deleted: vec![PartId(5)], bytes: 8 });
        assert!(!temporary.path().join("parts/1/5").exists());
        for kept in ["parts/1/12/index", "parts/x", "other/1/5/y"] {
            assert!(temporary.path().join(kept).exists(), "{kept}");
        }
    }

    #[tokio::test]
    async fn deletions_go_beside_parts_that_stay() {
        let temporary = tempfile::tempdir().unwrap();
        let volume = folder(temporary.path());
        for path in [
            "parts/1/5/deletions-20",
            "parts/1/6/data.vortex",
            "parts/1/6/deletions-20",
            "parts/1/6/deletions-21",
            "parts/1/6/deletions-x",
            "parts/1/7/deletions-20",
        ] {
            volume.store.put(&volume.path(path), "1234".into()).await.unwrap();
        }
        let mut parts = PartsOnVolume::list(&volume).await.unwrap();
        parts.sweep(&volume, |part| (part == PartId(5)).then_some(())).await.unwrap();
        // For part 7, files come in.
        let swept = parts
            .sweep_deletions(
                &volume,
                |file| file == PartId(20),
                |part| (part != PartId(7)).then_some(()),
            )
            .await
            .unwrap();
        assert_eq!(swept, 1);
        let is_there = |path: &str| temporary.path().join("parts/1").join(path).exists();
        assert!(!is_there("5") && !is_there("6/deletions-20"));
        for kept in ["6/data.vortex", "6/deletions-21", "6/deletions-x", "7/deletions-20"] {
            assert!(is_there(kept), "{kept}");
        }
    }
}
