//! Rows become parts.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use granary_catalog::{NewPart, PartLocation};
use granary_common::{Error, PartId, Result};

use crate::schema::PartSchema;
use crate::volume::Volume;

/// Ids for new parts, from the worker's leased range.
#[async_trait]
pub trait PartIds: Send + Sync {
    /// An id that was never given before. Kind `Unavailable` when no lease can be had.
    async fn next(&self) -> Result<PartId>;
}

/// Limits of a write.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// A block that falls into more partitions is refused, since each makes a part.
    pub partitions_per_block_max: usize,
    /// Parts of a block that are encoded at the same time.
    pub concurrent_parts_max: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { partitions_per_block_max: 100, concurrent_parts_max: 4 }
    }
}

/// Writes `block` (its columns in the order of `schema.columns`, with their logical Arrow types) as
/// one part a partition: rows sorted by the sort key, equal keys in the order given, every file and
/// folder synced before it returns. Nothing refers to the parts until they are committed.
///
/// Must run on a tokio runtime; encoding uses all of its threads. Kinds: `InvalidInput` for too many
/// partitions or columns that do not fit the schema, `ResourceExhausted` for a full disk,
/// `Unavailable` for a volume that does not answer.
pub async fn write_block(
    volume: &Volume,
    location: PartLocation,
    schema: &PartSchema,
    ids: &dyn PartIds,
    block: RecordBatch,
    options: &WriteOptions,
) -> Result<Vec<NewPart>> {
    let _ = (volume, location, schema, ids, block, options);
    Err(Error::unsupported("not written yet"))
}
