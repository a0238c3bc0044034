//! The files of a part, opened.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use granary_common::{Error, ErrorKind, PartId, Result, TableId};
use object_store::ObjectStoreExt;

use super::PartRef;
use super::store::missing_is_corruption;
use crate::part::descriptor::Descriptor;
use crate::part::format::DataFile;
use crate::part::index::PartIndex;
use crate::part::statistics::{ColumnStatistics, combine};
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::projection::{data_file, index_file};
use crate::volume::{Volume, store_error};

/// The descriptor, index and footer of a part, in memory. Several parts may show the same files.
pub struct PartFiles {
    pub volume: Arc<Volume>,
    pub descriptor: Descriptor,
    pub index: PartIndex,
    pub statistics: Vec<ColumnStatistics>,
    pub data: DataFile,
    /// About.
    pub memory_bytes: u64,
}

impl fmt::Debug for PartFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Descriptor { part, rows, .. } = &self.descriptor;
        write!(f, "PartFiles {{ part: {part}, rows: {rows}, volume: {} }}", self.volume.name)
    }
}

impl PartFiles {
    /// Opens a part of `volume`; checks the descriptor's and the index's checksums and the data's
    /// length.
    pub(super) async fn open(volume: Arc<Volume>, part: &PartRef) -> Result<PartFiles> {
        let (table, id) = part.files;
        let index_name = part.projection.map_or_else(|| INDEX_FILE.to_owned(), index_file);
        let read = |file| read_file(&volume, table, id, file);
        let (descriptor, index) =
            futures::try_join!(read(DESCRIPTOR_FILE), read(index_name.as_str()))?;
        let index_bytes = index.len() as u64;
        let descriptor =
            Descriptor::decode(descriptor).map_err(|error| in_file(error, DESCRIPTOR_FILE))?;
        if descriptor.part != id || descriptor.schema.table != table {
            return Err(Error::corruption(format!(
                "file {DESCRIPTOR_FILE} describes part {} of table {}",
                descriptor.part, descriptor.schema.table
            )));
        }
        let (descriptor, data_name) = match part.projection {
            None => (descriptor, DATA_FILE.to_owned()),
            Some(fingerprint) => (descriptor.of_projection(fingerprint)?, data_file(fingerprint)),
        };
        descriptor.file(&index_name)?.check(&index)?;
        let index = PartIndex::decode(index).map_err(|error| in_file(error, &index_name))?;
        let data = open_data(&volume, &descriptor, &data_name).await?;
        if descriptor.rows != part.rows
            || index.rows != descriptor.rows
            || data.rows() != descriptor.rows
        {
            return Err(Error::corruption(format!(
                "the catalog counts {} rows, the descriptor {}, the index {} and the data {}",
                part.rows,
                descriptor.rows,
                index.rows,
                data.rows()
            )));
        }
        let statistics =
            index.columns.iter().map(|column| combine(column.column, &column.granules)).collect();
        // Values take about thrice their encoded bytes once they are decoded.
        let memory_bytes = 3 * index_bytes + 4 * data.memory_bytes();
        Ok(PartFiles { volume, descriptor, index, statistics, data, memory_bytes })
    }
}

async fn open_data(volume: &Volume, descriptor: &Descriptor, name: &str) -> Result<DataFile> {
    let entry = descriptor.file(name)?;
    let path = volume.path(&file_path(descriptor.schema.table, descriptor.part, name));
    // The cheap check that the file is whole.
    let bytes = match volume.reads().head(&path).await {
        Ok(object) => object.size,
        Err(error) => return Err(missing_is_corruption(store_error(&error), name)),
    };
    if bytes != entry.bytes {
        return Err(Error::corruption(format!(
            "file {name} has {bytes} bytes and not {} as written",
            entry.bytes
        )));
    }
    let opening = async {
        match volume.local_file(&path) {
            Some(file) => DataFile::open_file(&file, entry).await,
            None => DataFile::open_object(Arc::clone(volume.reads()), path, entry).await,
        }
    };
    let opened = futures::FutureExt::catch_unwind(AssertUnwindSafe(opening)).await;
    opened
        .unwrap_or_else(|_| Err(Error::corruption("the footer cannot be decoded")))
        .map_err(|error| in_file(error, name))
}

/// A whole file of a part.
pub async fn read_file(volume: &Volume, table: TableId, part: PartId, file: &str) -> Result<Bytes> {
    let path = volume.path(&file_path(table, part, file));
    let content = async { volume.reads().get(&path).await?.bytes().await };
    content.await.map_err(|error| missing_is_corruption(store_error(&error), file))
}

fn in_file(error: Error, file: &str) -> Error {
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::Unsupported => error.context(format!("file {file}")),
        _ => error,
    }
}
