//! Rows become parts.
//!
//! ```text
//! block ─ sort by the sort key ─ split by partition ─┬─ encode, index, describe ─ sync ─► part
//!                                                    └─ …
//! ```

mod abandoned;
mod part;
mod partition;
mod projected;
pub(crate) mod sorted;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use granary_catalog::{NewPart, PartLocation};
use granary_common::{ColumnId, Error, PartId, Result};

use crate::documents::DocumentReader;
use crate::part::format::compute;
use crate::projection::Projections;
use crate::schema::PartSchema;
use crate::skip::SkipIndexes;
use crate::sort_order::{canonical_floats, sort_permutation};
use crate::volume::Volume;
pub(crate) use abandoned::Begun;
pub(crate) use part::put;
use partition::{Slice, split};
pub(crate) use upload::Upload;

/// Ids for new parts, from the worker's leased range.
#[async_trait]
pub trait PartIds: Send + Sync {
    /// An id that was never given before. Kind `Unavailable` when no lease can be had.
    async fn next(&self) -> Result<PartId>;
}

/// Limits of a write.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// A block that falls into more partitions is refused, since each makes a part; default 100.
    pub partitions_per_block_max: usize,
    /// Parts of a block that are made at the same time; default 4.
    pub concurrent_parts_max: usize,
    /// The indexes that parts get.
    pub skip: Option<SkipIndexes>,
    /// The projections that parts get.
    pub projections: Option<Projections>,
    /// How documents are read of which parts get columns.
    pub documents: Option<Arc<dyn DocumentReader>>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            partitions_per_block_max: 100,
            concurrent_parts_max: 4,
            skip: None,
            projections: None,
            documents: None,
        }
    }
}

/// Writes `block` (its columns in the order of `schema.columns`, with their logical Arrow types) as
/// one part a partition: rows sorted by the sort key, equal keys in the order given, every file and
/// folder synced before it returns. Nothing refers to the parts until they are committed; those of a
/// write that fails are deleted, or left to the sweep. A block without rows makes no part.
///
/// Must run on a tokio runtime; sorting and encoding use its threads. Memory in proportion to the
/// block. Kinds: `InvalidInput` for too many partitions or columns that do not fit the schema,
/// `ResourceExhausted` for a full disk, `Unavailable` for a volume that does not answer.
pub async fn write_block(
    volume: &Volume,
    location: PartLocation,
    schema: &PartSchema,
    ids: &dyn PartIds,
    block: RecordBatch,
    options: &WriteOptions,
) -> Result<Vec<NewPart>> {
    if block.num_rows() == 0 {
        return Ok(Vec::new());
    }
    // What is encoded is smaller.
    volume.check_room(block.get_array_memory_size() as u64)?;
    let schema = Arc::new(schema.clone());
    let partitions_max = options.partitions_per_block_max.max(1);
    let preparing = Arc::clone(&schema);
    let (block, slices) = compute(move || prepare(&preparing, block, partitions_max)).await??;
    let begun = Begun::default();
    let writes = slices.into_iter().map(|slice| {
        let (schema, block, location) = (Arc::clone(&schema), block.clone(), location.clone());
        let begun = &begun;
        async move {
            let id = ids.next().await?;
            begun.note(id);
            part::write(volume, location, schema, id, block, slice, options).await
        }
    });
    let concurrent = options.concurrent_parts_max.max(1);
    let written = stream::iter(writes).buffered(concurrent).try_collect().await;
    if written.is_err() {
        begun.delete(volume, schema.table).await;
    }
    written
}

/// The block in its stored form, and which of its rows make each part, in sort order.
fn prepare(
    schema: &PartSchema,
    block: RecordBatch,
    partitions_max: usize,
) -> Result<(RecordBatch, Vec<Slice>)> {
    check_columns(schema, &block)?;
    let block = canonical_floats(block)?;
    let order = sort_permutation(&columns(schema, &block, &schema.sort_key)?)?;
    let partition = columns(schema, &block, &schema.partition)?;
    let slices = split(&partition, order, block.num_rows(), partitions_max)?;
    Ok((block, slices))
}

fn columns(schema: &PartSchema, block: &RecordBatch, ids: &[ColumnId]) -> Result<Vec<ArrayRef>> {
    ids.iter().map(|id| Ok(Arc::clone(block.column(schema.position(*id)?)))).collect()
}

/// Refuses a block whose columns are not those of the schema.
fn check_columns(schema: &PartSchema, block: &RecordBatch) -> Result<()> {
    if block.num_columns() != schema.columns.len() {
        return Err(Error::invalid(format!(
            "the block has {} columns and the table {}",
            block.num_columns(),
            schema.columns.len()
        )));
    }
    for (column, array) in schema.columns.iter().zip(block.columns()) {
        let expected = column.column_type.arrow();
        if *array.data_type() != expected {
            return Err(Error::invalid(format!(
                "column {} has the type {} and not {expected}",
                column.name,
                array.data_type()
            )));
        }
        if !column.column_type.is_nullable() && array.null_count() > 0 {
            return Err(Error::invalid(format!("column {} holds NULL", column.name)));
        }
    }
    Ok(())
}
