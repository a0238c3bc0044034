//! The sparse primary index and the statistics of each granule.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use granary_catalog::{Scalar, codec};
use granary_common::{ColumnId, Error, Result};
use serde::{Deserialize, Serialize};

use super::envelope::{self, FileKind};
use super::key_range::{lower_bound, upper_bound};
use super::statistics::GranuleStatistics;
use crate::scalar::{has_scalars, scalar_at};
use crate::schema::{PartColumn, PartSchema};

const KIND: FileKind = FileKind { magic: *b"GRNINDX\0", version: 1 };

/// The statistics of a column by granule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnIndex {
    pub column: ColumnId,
    pub granules: Vec<GranuleStatistics>,
}

/// What is known of a part's granules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartIndex {
    pub rows: u64,
    /// Rows of a granule; the last one may have fewer.
    pub granularity: u64,
    /// The columns of the primary key.
    pub key: Vec<ColumnId>,
    /// A bound that is not above the first key of each granule; empty without a comparable key.
    pub first_keys: Vec<Vec<Scalar>>,
    /// A bound that is not below the last key of the part, if there is one.
    pub last_key: Option<Vec<Scalar>>,
    /// Every column of the part.
    pub columns: Vec<ColumnIndex>,
}

impl PartIndex {
    /// The index of `rows`, which are sorted and in the order of `schema.columns`. Floats must be
    /// canonical.
    pub fn of(schema: &PartSchema, rows: &RecordBatch) -> Result<PartIndex> {
        let mut builder = IndexBuilder::new(schema);
        builder.push(schema, rows)?;
        Ok(builder.finish())
    }

    /// The index of a part with the columns of `self`, of which is the key, and those of `others`, in
    /// the order of `schema.columns`. Kind `Internal` when these are not the same rows.
    pub fn beside(mut self, others: Vec<PartIndex>, schema: &PartSchema) -> Result<PartIndex> {
        for other in others {
            if other.rows != self.rows {
                return Err(Error::internal(format!(
                    "some columns of a part have {} rows and others {}",
                    self.rows, other.rows
                )));
            }
            self.columns.extend(other.columns);
        }
        let place = |column: &ColumnIndex| schema.position(column.column).unwrap_or(usize::MAX);
        self.columns.sort_by_cached_key(place);
        Ok(self)
    }

    /// How many granules there are.
    pub fn granules(&self) -> usize {
        self.rows.div_ceil(self.granularity.max(1)) as usize
    }

    /// The rows of granules `first..end`.
    pub fn rows_of(&self, granules: Range<usize>) -> Range<u64> {
        let start = granules.start as u64 * self.granularity;
        let end = granules.end as u64 * self.granularity;
        start..end.min(self.rows)
    }

    /// The statistics of a column, unless the part lacks it.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnIndex> {
        self.columns.iter().find(|column| column.column == id)
    }

    /// The file's bytes.
    pub fn encode(&self) -> Result<Bytes> {
        Ok(envelope::seal(KIND, &codec::encode(self)?))
    }

    /// Reads the file's bytes. Kinds `Corruption` and `Unsupported`.
    pub fn decode(bytes: Bytes) -> Result<PartIndex> {
        let index: PartIndex = codec::decode(&envelope::open(KIND, bytes)?)?;
        let granules = index.granules();
        let whole = index.columns.iter().all(|column| column.granules.len() == granules)
            && (index.first_keys.is_empty() || index.first_keys.len() == granules)
            && index.granularity > 0;
        if !whole {
            return Err(Error::corruption("the index does not fit its own number of granules"));
        }
        Ok(index)
    }
}

/// Makes the index of rows that come in batches.
#[derive(Debug)]
pub struct IndexBuilder {
    index: PartIndex,
}

impl IndexBuilder {
    /// Of a part without rows yet.
    pub fn new(schema: &PartSchema) -> IndexBuilder {
        let column = |column: &PartColumn| ColumnIndex { column: column.id, granules: Vec::new() };
        IndexBuilder {
            index: PartIndex {
                rows: 0,
                granularity: schema.granularity.max(1) as u64,
                key: Vec::new(),
                first_keys: Vec::new(),
                last_key: None,
                columns: schema.columns.iter().map(column).collect(),
            },
        }
    }

    /// The next rows, sorted and in the order of `schema.columns`, with canonical floats: whole
    /// granules, but for the last rows of all.
    pub fn push(&mut self, schema: &PartSchema, rows: &RecordBatch) -> Result<()> {
        let granules = granules(rows.num_rows(), schema.granularity);
        for (known, values) in self.index.columns.iter_mut().zip(rows.columns()) {
            let of =
                |rows: &Range<usize>| GranuleStatistics::of(&values.slice(rows.start, rows.len()));
            known.granules.extend(granules.iter().map(of));
        }
        let key = comparable_key(schema, rows)?;
        let key_at = |row: usize| {
            key.iter().map(|(_, values)| scalar_at(values, row)).collect::<Result<Vec<_>>>()
        };
        if !key.is_empty() && rows.num_rows() > 0 {
            for granule in &granules {
                let first = key_at(granule.start)?;
                self.index.first_keys.push(first.iter().map(lower_bound).collect());
            }
            self.index.last_key = key_at(rows.num_rows() - 1)?.iter().map(upper_bound).collect();
        }
        self.index.key = key.into_iter().map(|(id, _)| id).collect();
        self.index.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// The index of the rows so far.
    pub fn finish(self) -> PartIndex {
        self.index
    }
}

fn granules(rows: usize, granularity: usize) -> Vec<Range<usize>> {
    let granularity = granularity.max(1);
    (0..rows).step_by(granularity).map(|row| row..rows.min(row + granularity)).collect()
}

/// The leading columns of the primary key that have canonical values.
fn comparable_key<'a>(
    schema: &PartSchema,
    rows: &'a RecordBatch,
) -> Result<Vec<(ColumnId, &'a ArrayRef)>> {
    let mut key = Vec::new();
    for id in schema.primary_key() {
        let values = rows.column(schema.position(*id)?);
        if !has_scalars(values.data_type()) {
            break;
        }
        key.push((*id, values));
    }
    Ok(key)
}
