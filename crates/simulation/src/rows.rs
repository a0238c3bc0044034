//! Rows: a number that says which row it is, and a value that updates change.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use granary_common::Result;
use granary_storage::hash_columns;

const VALUE_BITS: u32 = 24;

/// The row of this number with this value; rows sort by their numbers.
pub fn row(id: u64, value: u64) -> u64 {
    (id << VALUE_BITS) | value
}

/// Which row it is.
pub fn id_of(row: u64) -> u64 {
    row >> VALUE_BITS
}

/// Its value.
pub fn value_of(row: u64) -> u64 {
    row & ((1 << VALUE_BITS) - 1)
}

/// The hashes that say in which buckets rows are.
pub fn hashes(rows: &[u64]) -> Result<Vec<u64>> {
    let ids: Int64Array = rows.iter().map(|row| Some(id_of(*row) as i64)).collect();
    hash_columns(&[Arc::new(ids) as ArrayRef])
}
