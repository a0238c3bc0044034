//! Of rows that are equal in some columns the first stays.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use granary_common::{Error, Result};

use super::collapse::Sourced;
use super::row_map::{RowMapBuilder, RowSource};
use crate::sort_order::comparable_rows;

/// Bytes of the different rows of one sort key, at most.
const BYTES_MAX: usize = 256 << 20;

/// Removes rows that are equal to one before them.
#[derive(Debug)]
pub struct Deduplicator {
    /// Places of the columns of the sort key among `columns`.
    key: Vec<usize>,
    /// Places in the batch of the columns in which rows are compared.
    columns: Vec<usize>,
    /// The key of the rows in `seen`.
    current: Vec<u8>,
    seen: HashMap<Box<[u8]>, Option<RowSource>>,
    seen_bytes: usize,
}

impl Deduplicator {
    /// Compares rows in `columns`, and only with rows of equal `key`, by which they are sorted. Both
    /// are places in the batch.
    pub fn new(columns: Vec<usize>, key: Vec<usize>) -> Deduplicator {
        let (current, seen) = (Vec::new(), HashMap::new());
        Deduplicator { key, columns, current, seen, seen_bytes: 0 }
    }

    /// The rows of the next batch that are not equal to one before. Kind `InvalidInput` for columns
    /// that cannot be compared, `ResourceExhausted` when a key has too many different rows.
    pub fn pass(&mut self, batch: Sourced, map: &mut RowMapBuilder) -> Result<Sourced> {
        let of = |places: &[usize], rows: &RecordBatch| {
            let columns = places.iter().map(|place| Arc::clone(rows.column(*place)));
            let columns: Vec<ArrayRef> = columns.collect();
            (!columns.is_empty()).then(|| comparable_rows(&columns)).transpose()
        };
        let (keys, rows) = (of(&self.key, &batch.rows)?, of(&self.columns, &batch.rows)?);
        let mut stays = Vec::with_capacity(batch.rows.num_rows());
        for (row, source) in batch.sources.iter().enumerate() {
            let key = keys.as_ref().map(|keys| keys.row(row));
            let key = key.as_ref().map_or(&[][..], |key| key.data());
            if self.current != key {
                self.current = key.to_vec();
                self.seen.clear();
                self.seen_bytes = 0;
            }
            let values = rows.as_ref().map(|rows| rows.row(row));
            let values = values.as_ref().map_or(&[][..], |values| values.data());
            let first = self.seen.get(values);
            stays.push(first.is_none());
            match first {
                None => {
                    self.seen_bytes += values.len() + 64;
                    self.seen.insert(values.into(), *source);
                }
                Some(first) => {
                    first.iter().for_each(|first| map.stands_for_others(*first));
                    source.iter().for_each(|source| map.gone(*source));
                }
            }
            if self.seen_bytes > BYTES_MAX {
                return Err(Error::exhausted(format!(
                    "one sort key has different rows of more than {BYTES_MAX} bytes, which is too \
                     much to deduplicate; give fewer columns after BY"
                )));
            }
        }
        if !stays.contains(&false) {
            return Ok(batch);
        }
        let mut next = stays.iter();
        let mut sources = batch.sources;
        sources.retain(|_| next.next().copied().unwrap_or(true));
        let rows = filter_record_batch(&batch.rows, &BooleanArray::from(stays))
            .map_err(|error| Error::internal(format!("cannot deduplicate: {error}")))?;
        Ok(Sourced { rows, sources })
    }
}
