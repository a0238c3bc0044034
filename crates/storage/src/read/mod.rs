//! Parts answer scans.

use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use granary_catalog::{Part, PartLocation};
use granary_common::{Error, PartId, Result, TableId};
use granary_common::ColumnId;
use serde::{Deserialize, Serialize};

use crate::filter::Filter;
use crate::part::statistics::ColumnStatistics;
use crate::schema::PartSchema;
use crate::volume::Volumes;

/// A part as a plan names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRef {
    pub id: PartId,
    pub table: TableId,
    pub location: PartLocation,
    pub rows: u64,
    /// Of all its files.
    pub bytes: u64,
    pub schema_version: u64,
}

impl From<&Part> for PartRef {
    fn from(part: &Part) -> Self {
        PartRef {
            id: part.id,
            table: part.table,
            location: part.location.clone(),
            rows: part.rows,
            bytes: part.bytes,
            schema_version: part.schema_version,
        }
    }
}

/// What to read of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartScan {
    /// The columns of the result, in this order; none for a result of rows without columns.
    pub columns: Vec<ColumnId>,
    /// Only rows for which it is TRUE.
    pub filter: Option<Filter>,
    /// Whether batches come in the part's sort order; else as soon as they are decoded.
    pub ordered: bool,
    /// Only these rows: ascending ranges that do not overlap, as [`OpenPart::prune`] gives them.
    pub rows: Option<Vec<Range<u64>>>,
    /// Rows of a batch at most.
    pub batch_rows: usize,
    /// Stop after this many rows that pass.
    pub limit: Option<u64>,
}

/// What is left of a part after its index and statistics were consulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The rows that may pass: ascending, not empty, not touching.
    pub ranges: Vec<Range<u64>>,
    pub granules_total: u64,
    pub granules_selected: u64,
}

impl Pruned {
    /// Rows of the ranges.
    pub fn rows(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Cuts the ranges into at most `partitions` pieces of about equal rows, each a list of ranges
    /// for one [`PartScan::rows`], in ascending order. Cuts fall on multiples of `granularity`.
    pub fn split(&self, partitions: usize, granularity: u64) -> Vec<Vec<Range<u64>>> {
        let _ = (partitions, granularity);
        vec![self.ranges.clone()]
    }
}

/// Bounds of what a store keeps in memory.
#[derive(Clone, Debug)]
pub struct PartStoreOptions {
    /// Of descriptors, indexes and footers of open parts.
    pub open_parts_bytes_max: u64,
}

impl Default for PartStoreOptions {
    fn default() -> Self {
        Self { open_parts_bytes_max: 256 << 20 }
    }
}

/// Opens parts on the volumes of a worker and keeps the recently used ones open.
#[derive(Debug)]
pub struct PartStore {
    volumes: Volumes,
}

impl PartStore {
    /// A store over `volumes`.
    pub fn new(volumes: Volumes, options: PartStoreOptions) -> PartStore {
        let _ = options;
        PartStore { volumes }
    }

    /// The volumes it reads.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Whether this worker can read parts at `location` itself.
    pub fn holds(&self, location: &PartLocation) -> bool {
        self.volumes.holding(location).is_some()
    }

    /// Opens a part. Kinds: `Unavailable` when no volume of this worker holds it, `Corruption` when
    /// its files are missing, cut or damaged.
    pub async fn open(&self, part: &PartRef) -> Result<Arc<OpenPart>> {
        let _ = part;
        Err(Error::unsupported("not written yet"))
    }
}

/// A part whose descriptor, index and footer are in memory.
#[derive(Debug)]
pub struct OpenPart {}

impl OpenPart {
    /// Reads the rows of `scan` as batches of `schema.project(&scan.columns)`. `schema` is the
    /// table's at the query's version: columns that it has and the part lacks read as NULL, or as
    /// their type's zero value.
    ///
    /// Must be polled on a tokio runtime. Dropping the stream stops the reading. Kind `Corruption`
    /// names the part.
    pub fn scan(
        &self,
        schema: Arc<PartSchema>,
        scan: PartScan,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let _ = (schema, scan);
        Box::pin(futures::stream::empty())
    }

    /// The rows that may pass `filter`, from the sparse index and the granules' statistics.
    pub fn prune(&self, filter: &Filter) -> Pruned {
        let _ = filter;
        Pruned { ranges: vec![], granules_total: 0, granules_selected: 0 }
    }

    /// Statistics of the whole part by column.
    pub fn statistics(&self) -> &[ColumnStatistics] {
        &[]
    }

    /// Rows of the part.
    pub fn rows(&self) -> u64 {
        0
    }

    /// Rows of a granule.
    pub fn granularity(&self) -> u64 {
        8192
    }

    /// Reads every file whole and compares lengths and checksums. Kind `Corruption` names the part
    /// and the file.
    pub async fn verify(&self) -> Result<()> {
        Ok(())
    }
}
