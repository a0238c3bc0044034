//! A volume that backups are kept on.
//!
//! ```text
//! parts/<table>/<part>/...   files of parts, as on any volume; backups share them
//! backups/<name>             what one backup consists of, written last
//! ```
//!
//! A part that is there is not copied again: its files never change, and its descriptor, which comes
//! last, says that all of them are there. What no backup names is left of one that broke off.

use bytes::Bytes;
use futures::TryStreamExt;
use granary_catalog::{Backup, codec};
use granary_common::{Error, Result};
use object_store::ObjectStoreExt;

use crate::part::envelope::{self, FileKind};
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
    let objects: Vec<_> = volume
        .store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|error| store_error(&error))?;
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

#[cfg(test)]
mod tests {
    use granary_common::{CatalogVersion, ErrorKind};

    use super::*;
    use crate::test_support::folder;

    #[tokio::test]
    async fn backups_are_listed_and_read() {
        let temporary = tempfile::tempdir().unwrap();
        let volume = folder(temporary.path());
        assert!(backups(&volume).await.unwrap().is_empty());
        let made = Backup {
            cluster: "c".into(),
            version: CatalogVersion(7),
            begun_ms: 9,
            databases: vec!["d".into()],
            tables: Vec::new(),
            views: Vec::new(),
        };
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
}
