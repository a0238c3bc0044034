//! Files of indexes that were made after their part: they stand in no descriptor, so that copies of the
//! part do not bring them.

use bytes::BytesMut;
use futures::TryStreamExt;
use granary_common::{Error, ErrorKind, PartId, Result, TableId};
use object_store::ObjectStoreExt;

use super::SkipFile;
use crate::part::file_path;
use crate::transfer::FileSource;
use crate::volume::Volume;
use crate::write::put;

/// Fetches those of the files `names` of a part that are not on `volume` and that `source` has. Gives
/// the names of those that came.
///
/// Kinds: `Corruption` for bytes that are no index, and those of the source.
pub async fn copy_index_files(
    volume: &Volume,
    (table, part): (TableId, PartId),
    names: &[String],
    source: &dyn FileSource,
) -> Result<Vec<String>> {
    let mut fetched = Vec::new();
    for name in names {
        if volume.store.head(&volume.path(&file_path(table, part, name))).await.is_ok() {
            continue;
        }
        let reading = async {
            let mut pieces = source.read(name, 0).await?;
            let mut whole = BytesMut::new();
            while let Some(piece) = pieces.try_next().await? {
                whole.extend_from_slice(&piece);
            }
            Ok::<_, Error>(whole.freeze())
        };
        let content = match reading.await {
            Ok(content) => content,
            Err(error) if ErrorKind::NotFound == error.kind() => continue,
            Err(error) => return Err(error.context(format!("copying file {name} of part {part}"))),
        };
        SkipFile::decode(content.clone())?;
        volume.check_room(content.len() as u64)?;
        put(volume, table, part, name, content).await?;
        fetched.push(name.clone());
    }
    Ok(fetched)
}
