//! A part that can be scanned.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_common::{ColumnId, Error, ErrorKind, Result};

use super::check::check_files;
use super::damage::Named;
use super::missing::Missing;
use super::part_files::PartFiles;
use super::{PartScan, Pruned, missing, prune};
use crate::deletions::Deletions;
use crate::documents::known_columns;
use crate::filter::Filter;
use crate::merge::Unthrottled;
use crate::part::DATA_FILE;
use crate::part::descriptor::Descriptor;
use crate::part::format::DataScan;
use crate::part::index::PartIndex;
use crate::part::statistics::ColumnStatistics;
use crate::schema::PartSchema;
use crate::ttl::RowEvaluator;

/// A part whose descriptor, index and footer are in memory, with the rows that are deleted in it.
pub struct OpenPart {
    named: Named,
    files: Arc<PartFiles>,
    deletions: Option<Arc<Deletions>>,
    evaluator: Arc<dyn RowEvaluator>,
}

impl fmt::Debug for OpenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenPart { named, files, deletions, .. } = self;
        let id = named.part.part;
        let (rows, volume) = (files.descriptor.rows, &files.volume.name);
        let deleted = deletions.as_ref().map_or(0, |deletions| deletions.len());
        write!(f, "OpenPart {{ part: {id}, rows: {rows}, deleted: {deleted}, volume: {volume} }}")
    }
}

impl OpenPart {
    pub(super) fn new(
        named: Named,
        files: Arc<PartFiles>,
        deletions: Option<Arc<Deletions>>,
        evaluator: Arc<dyn RowEvaluator>,
    ) -> OpenPart {
        OpenPart { named, files, deletions, evaluator }
    }

    /// Reads the rows of `scan` that are not deleted, as batches of
    /// `schema.project(&scan.columns)`. `schema` is the
    /// table's at the query's version: columns that it has and the part lacks read as NULL, or as
    /// what the table says, see [`crate::PartColumn`].
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
        self.scan_of(&schema, scan, false)
    }

    /// [`OpenPart::scan`] for columns that nobody reads soon again: nothing of them is kept.
    pub(crate) fn scan_once(
        &self,
        schema: &PartSchema,
        scan: PartScan,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        self.scan_of(schema, scan, true)
    }

    fn scan_of(
        &self,
        schema: &PartSchema,
        scan: PartScan,
        is_once: bool,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let named = self.named.clone();
        let named = move |error: Error| match error.kind() {
            ErrorKind::Corruption => named.error(error.context(format!("file {DATA_FILE}"))),
            _ => named.error(error),
        };
        // A decoder that is given damaged bytes may panic; the query must only fail.
        let undecodable = || Error::corruption("it cannot be decoded");
        let starting = AssertUnwindSafe(|| self.start_scan(schema, scan, is_once));
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
        is_once: bool,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let output = schema.project(&scan.columns)?;
        let known = known_columns(schema, &self.files.descriptor.schema);
        let part = &*known;
        let filter = match scan.filter {
            Some(filter) => missing::resolve(filter, schema, part, self.named.part.part)?,
            None => None,
        };
        let stored = missing::stored_schema(schema, part);
        let columns = missing::columns_to_read(schema, part, &scan.columns)?;
        let read = columns.clone();
        let request = DataScan {
            output: stored.project(&columns)?,
            columns,
            filter,
            ordered: scan.ordered,
            rows: scan.rows,
            deletions: self.deletions.clone(),
            lazy: scan.limit.is_some(),
            is_once,
        };
        let mut batches = self.files.data.scan(&stored, request)?;
        if read != scan.columns {
            let evaluator = &*self.evaluator;
            let missing = Missing { table: schema, part, read: &read, evaluator };
            batches = missing.fill(batches, &scan.columns, output, self.named.part.part)?;
        }
        if let Some(limit) = scan.limit {
            batches = limited(batches, limit);
        }
        Ok(cut(batches, scan.batch_rows))
    }

    /// The rows that may pass `filter`, from the sparse index and the granules' statistics.
    pub fn prune(&self, filter: &Filter) -> Pruned {
        prune::prune(&self.files.index, filter)
    }

    /// Every row, as [`OpenPart::prune`] gives them.
    pub fn all_rows(&self) -> Pruned {
        prune::prune(&self.files.index, &Filter::And(Vec::new()))
    }

    /// The first key and the statistics of every granule.
    pub(crate) fn index(&self) -> &PartIndex {
        &self.files.index
    }

    /// Statistics of the whole part by column, deleted rows included.
    pub fn statistics(&self) -> &[ColumnStatistics] {
        &self.files.statistics
    }

    /// Rows of the part, deleted ones included.
    pub fn rows(&self) -> u64 {
        self.files.descriptor.rows
    }

    /// Bytes of the file by column. Kind `Corruption` for a file that cannot be read.
    pub(crate) fn encoded_bytes(&self) -> Result<BTreeMap<ColumnId, u64>> {
        let named = |error| self.named.error(error);
        self.files.data.encoded_bytes(&self.files.descriptor.schema).map_err(named)
    }

    /// The rows that scans leave out.
    pub fn deletions(&self) -> Option<&Arc<Deletions>> {
        self.deletions.as_ref()
    }

    /// Rows of a granule.
    pub fn granularity(&self) -> u64 {
        self.files.index.granularity
    }

    /// What the part's writer wrote down of it.
    pub fn descriptor(&self) -> &Descriptor {
        &self.files.descriptor
    }

    /// Reads every file whole and compares lengths and checksums. Kind `Corruption` names the part
    /// and the file.
    pub async fn verify(&self) -> Result<()> {
        let checked = check_files(&self.files.volume, &self.files.descriptor, &Unthrottled).await;
        checked.map_err(|error| error.context(format!("part {}", self.files.descriptor.part)))
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
