//! A part that can be scanned.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_common::{Error, ErrorKind, PartId, Result, TableId};
use object_store::ObjectStoreExt;

use super::store::missing_is_corruption;
use super::{PartRef, PartScan, Pruned, missing, prune};
use crate::filter::Filter;
use crate::part::descriptor::Descriptor;
use crate::part::format::{DataFile, DataScan};
use crate::part::index::PartIndex;
use crate::part::statistics::{ColumnStatistics, combine};
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::schema::PartSchema;
use crate::volume::{Volume, store_error};

/// A part whose descriptor, index and footer are in memory.
pub struct OpenPart {
    volume: Arc<Volume>,
    descriptor: Descriptor,
    index: PartIndex,
    statistics: Vec<ColumnStatistics>,
    data: DataFile,
    memory_bytes: u64,
}

impl fmt::Debug for OpenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Descriptor { part, rows, .. } = &self.descriptor;
        write!(f, "OpenPart {{ part: {part}, rows: {rows}, volume: {} }}", self.volume.name)
    }
}

impl OpenPart {
    /// Opens a part of `volume`; checks the descriptor's and the index's checksums and the data's
    /// length.
    pub(super) async fn open(volume: Arc<Volume>, part: &PartRef) -> Result<OpenPart> {
        let read = |file: &'static str| read_file(&volume, part.table, part.id, file);
        let (descriptor, index) = futures::try_join!(read(DESCRIPTOR_FILE), read(INDEX_FILE))?;
        let index_bytes = index.len() as u64;
        let descriptor =
            Descriptor::decode(descriptor).map_err(|error| in_file(error, DESCRIPTOR_FILE))?;
        if descriptor.part != part.id || descriptor.schema.table != part.table {
            return Err(Error::corruption(format!(
                "file {DESCRIPTOR_FILE} describes part {} of table {}",
                descriptor.part, descriptor.schema.table
            )));
        }
        descriptor.file(INDEX_FILE)?.check(&index)?;
        let index = PartIndex::decode(index).map_err(|error| in_file(error, INDEX_FILE))?;
        let data = open_data(&volume, &descriptor).await?;
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
        Ok(OpenPart { volume, descriptor, index, statistics, data, memory_bytes })
    }

    /// Reads the rows of `scan` as batches of `schema.project(&scan.columns)`. `schema` is the
    /// table's at the query's version: columns that it has and the part lacks read as NULL, or as
    /// their type's zero value.
    ///
    /// Must be polled on a tokio runtime; decoding runs where the stream is polled, so parallel
    /// scans of one part take ranges of rows each (see [`Pruned::split`]). Dropping the stream
    /// stops the reading. Kinds: `InvalidInput` for a filter that does not fit the columns,
    /// `Corruption` for data that cannot be decoded, which names the part.
    pub fn scan(
        &self,
        schema: Arc<PartSchema>,
        scan: PartScan,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let part = self.descriptor.part;
        let named = move |error: Error| error.context(format!("part {part}"));
        // A decoder that is given damaged bytes may panic; the query must only fail.
        let undecodable = || Error::corruption(format!("file {DATA_FILE} cannot be decoded"));
        let starting = AssertUnwindSafe(|| self.start_scan(&schema, scan));
        match std::panic::catch_unwind(starting).unwrap_or_else(|_| Err(undecodable())) {
            Ok(batches) => AssertUnwindSafe(batches)
                .catch_unwind()
                .map(move |batch| batch.unwrap_or_else(|_| Err(undecodable())))
                .map_err(named)
                .boxed(),
            Err(error) => stream::once(async move { Err(named(error)) }).boxed(),
        }
    }

    fn start_scan(
        &self,
        schema: &PartSchema,
        scan: PartScan,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let output = schema.project(&scan.columns)?;
        let filter = match scan.filter {
            Some(filter) => missing::resolve(filter, schema, &self.descriptor.schema)?,
            None => None,
        };
        let stored = missing::stored_schema(schema, &self.descriptor.schema);
        let columns: Vec<_> = scan
            .columns
            .iter()
            .copied()
            .filter(|id| stored.columns.iter().any(|column| column.id == *id))
            .collect();
        let all_stored = columns.len() == scan.columns.len();
        let request = DataScan {
            output: schema.project(&columns)?,
            columns,
            filter,
            ordered: scan.ordered,
            rows: scan.rows,
            lazy: scan.limit.is_some(),
        };
        let mut batches = self.data.scan(&stored, request)?;
        if !all_stored {
            batches = missing::fill(batches, schema, output);
        }
        if let Some(limit) = scan.limit {
            batches = limited(batches, limit);
        }
        Ok(cut(batches, scan.batch_rows))
    }

    /// The rows that may pass `filter`, from the sparse index and the granules' statistics.
    pub fn prune(&self, filter: &Filter) -> Pruned {
        prune::prune(&self.index, filter)
    }

    /// Every row, as [`OpenPart::prune`] gives them.
    pub fn all_rows(&self) -> Pruned {
        prune::prune(&self.index, &Filter::And(Vec::new()))
    }

    /// Statistics of the whole part by column.
    pub fn statistics(&self) -> &[ColumnStatistics] {
        &self.statistics
    }

    /// Rows of the part.
    pub fn rows(&self) -> u64 {
        self.descriptor.rows
    }

    /// Rows of a granule.
    pub fn granularity(&self) -> u64 {
        self.index.granularity
    }

    /// What the part's writer wrote down of it.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Reads every file whole and compares lengths and checksums. Kind `Corruption` names the part
    /// and the file.
    pub async fn verify(&self) -> Result<()> {
        let Descriptor { part, schema, files, .. } = &self.descriptor;
        for file in files {
            let content = read_file(&self.volume, schema.table, *part, &file.name).await;
            content
                .and_then(|content| file.check(&content))
                .map_err(|error| error.context(format!("part {part}")))?;
        }
        Ok(())
    }
}

async fn open_data(volume: &Volume, descriptor: &Descriptor) -> Result<DataFile> {
    let entry = descriptor.file(DATA_FILE)?;
    let path = volume.path(&file_path(descriptor.schema.table, descriptor.part, DATA_FILE));
    // The cheap check that the file is whole.
    let bytes = match volume.store.head(&path).await {
        Ok(object) => object.size,
        Err(error) => return Err(missing_is_corruption(store_error(&error), DATA_FILE)),
    };
    if bytes != entry.bytes {
        return Err(Error::corruption(format!(
            "file {DATA_FILE} has {bytes} bytes and not {} as written",
            entry.bytes
        )));
    }
    let opening = async {
        match volume.local_file(&path) {
            Some(file) => DataFile::open_file(&file, bytes).await,
            None => DataFile::open_object(Arc::clone(&volume.store), path, bytes).await,
        }
    };
    let opened = futures::FutureExt::catch_unwind(AssertUnwindSafe(opening)).await;
    opened
        .unwrap_or_else(|_| Err(Error::corruption("the footer cannot be decoded")))
        .map_err(|error| in_file(error, DATA_FILE))
}

async fn read_file(volume: &Volume, table: TableId, part: PartId, file: &str) -> Result<Bytes> {
    let path = volume.path(&file_path(table, part, file));
    let content = async { volume.store.get(&path).await?.bytes().await };
    content.await.map_err(|error| missing_is_corruption(store_error(&error), file))
}

fn in_file(error: Error, file: &str) -> Error {
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::Unsupported => error.context(format!("file {file}")),
        _ => error,
    }
}

/// Ends after `limit` rows.
fn limited(
    batches: BoxStream<'static, Result<RecordBatch>>,
    limit: u64,
) -> BoxStream<'static, Result<RecordBatch>> {
    let mut left = limit;
    batches
        .map_ok(move |batch| {
            let rows = (batch.num_rows() as u64).min(left);
            left -= rows;
            (batch.slice(0, rows as usize), left)
        })
        .scan(false, |done, item| {
            if *done {
                return std::future::ready(None);
            }
            *done = item.as_ref().is_ok_and(|(_, left)| *left == 0);
            std::future::ready(Some(item.map(|(batch, _)| batch)))
        })
        .boxed()
}

/// Cuts batches that have more than `batch_rows` rows; 0 leaves them as they were decoded.
fn cut(
    batches: BoxStream<'static, Result<RecordBatch>>,
    batch_rows: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    if batch_rows == 0 {
        return batches;
    }
    batches
        .map_ok(move |batch| {
            let rows = batch.num_rows();
            let pieces: Vec<_> = (0..rows)
                .step_by(batch_rows)
                .map(|row| Ok(batch.slice(row, batch_rows.min(rows - row))))
                .collect();
            stream::iter(pieces)
        })
        .try_flatten()
        .boxed()
}
