//! Parts on other volumes: a copy under an id of its own, which takes the place of the part in one
//! commit. Queries that have the earlier one go on with it until nobody can need it any more.

use std::sync::Arc;

use futures::TryStreamExt;
use granary_catalog::{NewPart, PartLocation};
use granary_common::{Error, Result};
use object_store::ObjectStoreExt;

use crate::merge::MergeProgress;
use crate::part::descriptor::{Descriptor, FileEntry};
use crate::part::format::ByteSink;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, PARTS_FOLDER, file_path};
use crate::read::{PartRef, PartStore};
use crate::skip::is_skip_file;
use crate::volume::{Volume, store_error};
use crate::write::{PartIds, Upload, put};

/// Copies the files of `part` to `volume`, every file and folder synced before it returns, each
/// compared with its checksum on the way. Deleted rows are not written down beside the copy. Nothing
/// refers to it until it is committed; a copy that fails or is dropped is left to the sweep.
///
/// Kinds: those of [`PartStore::open`], `ResourceExhausted` for a full disk, `Unavailable`.
pub async fn relocate_part(
    store: &PartStore,
    part: &PartRef,
    volume: &Volume,
    location: PartLocation,
    ids: &dyn PartIds,
    progress: &MergeProgress,
) -> Result<NewPart> {
    let open = store.open(part).await?;
    let source = store.volumes().holding(&part.location).ok_or_else(|| {
        Error::unavailable(format!("part {} is not on a volume of this worker", part.id))
    })?;
    volume.check_room(part.bytes)?;
    let (id, rows) = (ids.next().await?, part.rows.max(1));
    let mut descriptor = Descriptor::clone(open.descriptor());
    descriptor.part = id;
    descriptor.schema.table = part.table;
    let copying = Copying { source, part, volume, progress, id };
    let mut bytes = copying.skip_files().await?;
    for entry in &mut descriptor.files {
        let copied = copying.file(entry).await;
        *entry = copied.map_err(|error| error.context(format!("part {}", part.id)))?;
        bytes += entry.bytes;
    }
    progress.note_rows(rows);
    let encoded = descriptor.encode()?;
    bytes += encoded.len() as u64;
    put(volume, part.table, id, DESCRIPTOR_FILE, encoded).await?;
    let projections = descriptor.listed_projections()?;
    let Descriptor { partition, key_range, .. } = descriptor;
    Ok(NewPart { id, partition, rows: part.rows, bytes, key_range, location, projections })
}

struct Copying<'a> {
    source: &'a Arc<Volume>,
    part: &'a PartRef,
    volume: &'a Volume,
    progress: &'a MergeProgress,
    id: granary_common::PartId,
}

impl Copying<'_> {
    /// Copies the skip indexes, which stand beside the part without its descriptor knowing, and check
    /// themselves when they are read. Gives their bytes.
    async fn skip_files(&self) -> Result<u64> {
        let (table, owner) = self.part.files;
        let within = |error: &object_store::Error| {
            store_error(error).context(format!("the skip indexes of part {}", self.part.id))
        };
        let folder = self.source.path(&format!("{PARTS_FOLDER}/{table}/{owner}"));
        let mut listing = self.source.store.list(Some(&folder));
        let mut bytes = 0;
        while let Some(object) = listing.try_next().await.map_err(|error| within(&error))? {
            let Some(name) = object.location.filename().filter(|name| is_skip_file(name)) else {
                continue;
            };
            let content = self.source.store.get(&object.location).await;
            let content = content.map_err(|error| within(&error))?.bytes().await;
            let content = content.map_err(|error| within(&error))?;
            bytes += content.len() as u64;
            self.progress.admit(content.len() as u64).await;
            put(self.volume, self.part.table, self.id, name, content).await?;
        }
        Ok(bytes)
    }

    /// The entry of the copy; one that is read in pieces has checksums of its blocks, also when the
    /// part is of a build that made none.
    async fn file(&self, entry: &FileEntry) -> Result<FileEntry> {
        let (table, owner) = self.part.files;
        let path = self.source.path(&file_path(table, owner, &entry.name));
        let within = |error: &object_store::Error| {
            store_error(error).context(format!("file {}", entry.name))
        };
        let written = Arc::clone(&self.progress.bytes_written);
        let mut upload = Upload::new(self.volume, self.part.table, self.id, &entry.name, written);
        let mut content =
            self.source.store.get(&path).await.map_err(|error| within(&error))?.into_stream();
        while let Some(bytes) = content.try_next().await.map_err(|error| within(&error))? {
            self.progress.admit(bytes.len() as u64).await;
            upload.write(&bytes).await?;
        }
        let mut copied = upload.finish().await?;
        if entry.blocks.is_none() && entry.name != DATA_FILE {
            copied.blocks = None;
        }
        let is_same = (copied.bytes, copied.crc32c) == (entry.bytes, entry.crc32c);
        match is_same && entry.blocks.as_ref().is_none_or(|_| entry.blocks == copied.blocks) {
            true => Ok(copied),
            false => Err(Error::corruption(format!(
                "file {} has {} bytes with the checksum {:08x}, not {} with {:08x} as written",
                entry.name, copied.bytes, copied.crc32c, entry.bytes, entry.crc32c
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use granary_catalog::Scalar;
    use granary_common::WorkerId;

    use super::*;
    use crate::read::PartStoreOptions;
    use crate::test_support::{
        Counter, block, folder, part_ref, rows, scanned, table, whole, write,
    };
    use crate::volume::{VolumeKind, Volumes};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_reads_the_same_and_a_damaged_part_is_not_copied() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let hot = folder(here.path());
        let kind = VolumeKind::Local { worker: WorkerId(1) };
        let path = there.path().to_str().unwrap();
        let cold = Arc::new(Volume::open("cold", kind, path).unwrap().as_disk());
        let schema = table(&["Int64", "String"], &[0], &[], 8192);
        let data: Vec<_> = (0..20_000_i64)
            .map(|row| vec![Scalar::Int(row), Scalar::Text(format!("{row:09}"))])
            .collect();
        let made = write(&hot, &schema, block(&schema, &data)).await.unwrap().remove(0);
        std::fs::write(here.path().join(format!("parts/7/{}/skip-07", made.id)), "index").unwrap();
        let volumes = Volumes::new([Arc::clone(&hot), Arc::clone(&cold)]);
        let store = PartStore::new(volumes, PartStoreOptions::default());
        let ids = Counter::default();
        ids.next().await.unwrap();
        let progress = MergeProgress::default();
        let part = part_ref(&schema, &made);
        let copied = relocate_part(&store, &part, &cold, cold.part_location(), &ids, &progress)
            .await
            .unwrap();
        assert_ne!(copied.id, made.id);
        assert_eq!((copied.rows, &copied.key_range), (made.rows, &made.key_range));
        assert!(there.path().join(format!("parts/7/{}/data.vortex", copied.id)).exists());
        let skip = there.path().join(format!("parts/7/{}/skip-07", copied.id));
        assert_eq!(std::fs::read_to_string(skip).unwrap(), "index");
        let open = store.open(&part_ref(&schema, &copied)).await.unwrap();
        open.verify().await.unwrap();
        assert_eq!(rows(&scanned(&open, &schema, whole(&schema)).await.unwrap()), data);

        let damaged = here.path().join(format!("parts/7/{}/index", made.id));
        let mut bytes = std::fs::read(&damaged).unwrap();
        bytes[30] ^= 1;
        std::fs::write(&damaged, bytes).unwrap();
        let copying = relocate_part(&store, &part, &cold, cold.part_location(), &ids, &progress);
        let error = copying.boxed().await.unwrap_err();
        assert_eq!(error.kind(), granary_common::ErrorKind::Corruption, "{error}");
    }
}
