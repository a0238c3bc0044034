//! Parts answer scans.

mod check;
#[cfg(test)]
mod columns_tests;
#[cfg(test)]
mod computed_tests;
mod constant;
mod damage;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod deletions_tests;
#[cfg(test)]
mod frozen_tests;
mod missing;
mod open_part;
mod part_files;
#[cfg(test)]
mod positions_tests;
mod prune;
mod reads;
mod store;
#[cfg(test)]
mod tests;

use std::ops::Range;

use granary_catalog::{DeletionContent, Part, PartLocation, PartProjection};
use granary_common::{CatalogVersion, ColumnId, PartId, TableId};
use serde::{Deserialize, Serialize};

use crate::filter::Filter;
use crate::skip::SkipHint;

pub(crate) use check::check_file;
pub(crate) use constant::repeated;
pub use damage::{DamageWatch, MetPart};
pub use open_part::OpenPart;
pub(crate) use part_files::read_file;
pub(crate) use prune::{may_compare, may_like};
pub use reads::Reads;
pub use store::{PartStore, PartStoreOptions};

/// A part as a plan names it, at one version of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRef {
    pub id: PartId,
    pub table: TableId,
    /// Table and part that the files are named by.
    pub files: (TableId, PartId),
    pub location: PartLocation,
    /// Deleted ones included.
    pub rows: u64,
    /// How many of them are deleted.
    pub rows_deleted: u64,
    /// Which of them are deleted.
    pub deletions: Option<DeletionContent>,
    /// Of all its files.
    pub bytes: u64,
    pub schema_version: u64,
    /// The fingerprint of the projection that is read in place of the part's rows; `rows` and
    /// `bytes` are its own then.
    #[serde(default)]
    pub projection: Option<u64>,
}

impl PartRef {
    /// `part` as a query at `version` sees it.
    pub fn at(part: &Part, version: CatalogVersion) -> PartRef {
        let deletions = part.deletions_at(version);
        PartRef {
            id: part.id,
            table: part.table,
            files: part.file_owner(),
            location: part.location.clone(),
            rows: part.rows,
            rows_deleted: deletions.map_or(0, |vector| vector.rows),
            deletions: deletions.map(|vector| vector.content.clone()),
            bytes: part.bytes,
            schema_version: part.schema_version,
            projection: None,
        }
    }

    /// The rows of a projection of `part`, which is right for every version that sees no deleted
    /// rows of it.
    pub fn of_projection(part: &Part, projection: &PartProjection) -> PartRef {
        PartRef {
            rows: projection.rows,
            rows_deleted: 0,
            deletions: None,
            bytes: projection.bytes,
            projection: Some(projection.fingerprint),
            ..PartRef::at(part, part.added)
        }
    }

    /// Rows that are not deleted.
    pub fn rows_visible(&self) -> u64 {
        self.rows.saturating_sub(self.rows_deleted)
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
    /// Rows of a batch at most; 0 leaves batches as they are decoded, at most about 100,000 rows.
    pub batch_rows: usize,
    /// Stop after this many rows that pass.
    pub limit: Option<u64>,
    /// What skip indexes may be asked; whether they are changes no result. Those who read choose
    /// `rows` by them before they scan.
    #[serde(default)]
    pub hints: Vec<SkipHint>,
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
        let granularity = granularity.max(1);
        let granules = self.rows().div_ceil(granularity).max(1);
        let target = granules.div_ceil(partitions.max(1) as u64) * granularity;
        let mut pieces: Vec<Vec<Range<u64>>> = Vec::new();
        let mut left = 0;
        for range in &self.ranges {
            let mut start = range.start;
            while start < range.end {
                if left == 0 {
                    pieces.push(Vec::new());
                    left = target;
                }
                let end = range.end.min((start + left).next_multiple_of(granularity));
                left = left.saturating_sub(end - start);
                if let Some(piece) = pieces.last_mut() {
                    piece.push(start..end);
                }
                start = end;
            }
        }
        pieces
    }
}
