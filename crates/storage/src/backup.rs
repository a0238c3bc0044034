//! A volume that backups are kept on.
//!
//! ```text
//! parts/<table>/<part>/...   files of parts, as on any volume; backups share them
//! backups/<name>             what one backup consists of, written last
//! ```
//!
//! A part that is there is not copied again: its files never change, and its descriptor, which comes
//! last, says which they are. What no backup names is left of one that broke off.

use bytes::Bytes;
use futures::TryStreamExt;
use granary_catalog::{Backup, codec};
use granary_common::{Error, ErrorKind, Result};
use object_store::ObjectStoreExt;

use crate::merge::Throttle;
use crate::part::descriptor::Descriptor;
use crate::part::envelope::{self, FileKind};
use crate::part::{DESCRIPTOR_FILE, file_path};
use crate::read::read_file;
use crate::transfer::{FileSource, PartCopy, copy_part};
use crate::volume::{Volume, store_error};

const KIND: FileKind = FileKind { magic: *b"GRNBACK\0", version: 1 };
const FOLDER: &str = "backups";

/// Writes down what a backup consists of; from then on it counts.
pub async fn put_backup(volume: &Volume, name: &str, backup: &Backup) -> Result<()> {
    let bytes = envelope::seal(KIND, &codec::encode(backup)?);
    let path = volume.path(&format!("{FOLDER}/{name}"));
    volume.store.put(&path, bytes.into()).await.map(drop).map_err(|error| store_error(&error))
}

/// The names of the backups on a volume, in ascending order.
pub async fn backups(volume: &Volume) -> Result<Vec<String>> {
    let folder = volume.path(FOLDER);
    let objects = volume.store.list(Some(&folder));
    let objects: Vec<_> = objects.try_collect().await.map_err(|error| store_error(&error))?;
    let names = objects.iter().filter_map(|object| object.location.filename());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// What a backup consists of. Kinds `NotFound`, `Corruption`, `Unsupported` and `Unavailable`.
pub async fn backup(volume: &Volume, name: &str) -> Result<Backup> {
    let read = async {
        let path = volume.path(&format!("{FOLDER}/{name}"));
        let object = volume.store.get(&path).await.map_err(|error| store_error(&error))?;
        let bytes: Bytes = object.bytes().await.map_err(|error| store_error(&error))?;
        codec::decode(&envelope::open(KIND, bytes)?)
    };
    read.await.map_err(|error: Error| error.context(format!("backup {name}")))
}

/// Copies what the volume lacks of a part; gives whether its own files were among that. Those that are
/// there are not read: their lengths are compared, and their bytes when they are restored. Kinds as of
/// [`copy_part`].
pub async fn back_up_part(
    volume: &Volume,
    wanted: &PartCopy,
    source: &dyn FileSource,
    throttle: &dyn Throttle,
) -> Result<bool> {
    let is_lacking = wanted.whole && !has_files(volume, wanted).await?;
    let lacking = PartCopy { whole: is_lacking, ..wanted.clone() };
    copy_part(volume, &lacking, source, throttle).await?;
    Ok(is_lacking)
}

/// Whether the part's own files are there, each in the length that it was written with.
async fn has_files(volume: &Volume, wanted: &PartCopy) -> Result<bool> {
    let (table, part) = wanted.files;
    let bytes = match read_file(volume, table, part, DESCRIPTOR_FILE).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::Corruption => return Ok(false),
        Err(error) => return Err(error),
    };
    let Ok(descriptor) = Descriptor::decode(bytes) else { return Ok(false) };
    for file in &descriptor.files {
        let path = volume.path(&file_path(table, part, &file.name));
        match volume.store.head(&path).await {
            Ok(found) if found.size == file.bytes => {}
            Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(store_error(&error)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use granary_catalog::BackupPlace;
    use granary_common::{CatalogVersion, PartId, TableId};

    use super::*;
    use crate::test_support::folder;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/backup_v1.bin");

    fn example() -> Backup {
        Backup {
            cluster: "c".into(),
            version: CatalogVersion(7),
            begun_ms: 9,
            databases: vec!["d".into()],
            tables: Vec::new(),
            views: Vec::new(),
            made_of: [(TableId(3), ("d".into(), "t".into()))].into(),
            bases: vec![BackupPlace::Disk { disk: "far".into(), folder: "1".into() }],
            elsewhere: [(PartId(5), 0)].into(),
            functions: Vec::new(),
            user_settings: Vec::new(),
        }
    }

    #[tokio::test]
    async fn backups_are_listed_and_read() {
        let temporary = tempfile::tempdir().unwrap();
        let volume = folder(temporary.path());
        assert!(backups(&volume).await.unwrap().is_empty());
        let made = example();
        put_backup(&volume, "2", &made).await.unwrap();
        put_backup(&volume, "1", &made).await.unwrap();
        assert_eq!(backups(&volume).await.unwrap(), ["1", "2"]);
        assert_eq!(backup(&volume, "2").await.unwrap(), made);
        assert_eq!(backup(&volume, "3").await.unwrap_err().kind(), ErrorKind::NotFound);
        let file = temporary.path().join("backups/1");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[30] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(backup(&volume, "1").await.unwrap_err().kind(), ErrorKind::Corruption);
    }

    /// Frozen, and never overwritten; `GRANARY_WRITE_FIXTURES=1` writes one that is not there.
    #[test]
    fn a_backup_of_the_first_format_is_read() {
        if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !Path::new(FIXTURE).exists() {
            let bytes = envelope::seal(KIND, &codec::encode(&example()).unwrap());
            std::fs::write(FIXTURE, bytes).unwrap();
        }
        let payload = envelope::open(KIND, std::fs::read(FIXTURE).unwrap().into()).unwrap();
        assert_eq!(codec::decode::<Backup>(&payload).unwrap(), example());
    }
}
