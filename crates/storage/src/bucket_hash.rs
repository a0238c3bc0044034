//! How rows find their bucket.

use arrow::array::ArrayRef;
use granary_common::{BucketIndex, Error, Result};

/// The hash of every row over `columns`.
pub fn hash_columns(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let _ = columns;
    Err(Error::unsupported("not written yet"))
}

/// The bucket of a hash in a table of `buckets`.
pub fn bucket_of(hash: u64, buckets: u32) -> BucketIndex {
    BucketIndex((hash % u64::from(buckets.max(1))) as u32)
}
