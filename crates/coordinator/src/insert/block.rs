//! Blocks: a bounded piece of an insert, and its cut into buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use granary_catalog::{Distribution, Table};
use granary_common::{BucketIndex, ColumnId, Error, Result};
use granary_storage::{bucket_of, hash_columns};

/// Rows as the client sent them.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub batches: Vec<RecordBatch>,
    pub rows: u64,
    pub bytes: u64,
    /// The number of its first row in the insert, from 1.
    pub first_row: u64,
}

impl Block {
    /// An empty block that begins with this row.
    pub fn starting_at(first_row: u64) -> Self {
        Self { first_row, ..Self::default() }
    }

    /// Adds rows.
    pub fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch_bytes(&batch);
        self.batches.push(batch);
    }
}

/// Bytes of a batch's values, without what its buffers hold beside them.
pub(super) fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(array_bytes).sum()
}

fn array_bytes(array: &ArrayRef) -> u64 {
    // The lower half of a view begins with its value's length.
    let viewed = |views: &[u128]| {
        views.iter().map(|view| size_of::<u128>() as u64 + u64::from(*view as u32)).sum()
    };
    match array.data_type() {
        DataType::Utf8View => viewed(array.as_string_view().views()),
        DataType::BinaryView => viewed(array.as_binary_view().views()),
        _ => {
            let sliced = array.to_data().get_slice_memory_size();
            sliced.unwrap_or_else(|_| array.get_array_memory_size()) as u64
        }
    }
}

/// Cuts batches in the table's columns into one batch for each bucket that gets rows. `turn` is
/// the bucket of a whole block when the table rotates.
pub(super) fn cut(
    table: &Table,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    turn: u64,
) -> Result<BTreeMap<BucketIndex, RecordBatch>> {
    let whole = |bucket: BucketIndex| {
        let block = concat_batches(schema, batches).map_err(arrow_failed)?;
        Ok(BTreeMap::from([(bucket, block)]))
    };
    match &table.distribution {
        _ if table.buckets <= 1 => whole(BucketIndex(0)),
        Distribution::Rotation => whole(BucketIndex((turn % u64::from(table.buckets)) as u32)),
        Distribution::Hash(columns) => by_hash(table, schema, batches, columns),
    }
}

fn by_hash(
    table: &Table,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    columns: &[ColumnId],
) -> Result<BTreeMap<BucketIndex, RecordBatch>> {
    let position = |id: &ColumnId| {
        table.column_position(*id).ok_or_else(|| {
            Error::internal(format!("the distribution names column {id}, which is gone"))
        })
    };
    let positions = columns.iter().map(position).collect::<Result<Vec<_>>>()?;
    let mut places: BTreeMap<BucketIndex, Vec<(usize, usize)>> = BTreeMap::new();
    for (number, batch) in batches.iter().enumerate() {
        let keys: Vec<ArrayRef> =
            positions.iter().map(|position| Arc::clone(batch.column(*position))).collect();
        for (row, hash) in hash_columns(&keys)?.into_iter().enumerate() {
            places.entry(bucket_of(hash, table.buckets)).or_default().push((number, row));
        }
    }
    places
        .into_iter()
        .map(|(bucket, places)| Ok((bucket, gathered(schema, batches, &places)?)))
        .collect()
}

fn gathered(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    places: &[(usize, usize)],
) -> Result<RecordBatch> {
    let column = |position: usize| -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> =
            batches.iter().map(|batch| batch.column(position).as_ref()).collect();
        let column = interleave(&arrays, places).map_err(arrow_failed)?;
        Ok(compacted(column))
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(arrow_failed)
}

/// Views that no longer hold on to the rows of other buckets, which would all be sent along.
fn compacted(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column,
    }
}

fn arrow_failed(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("a block cannot be cut into buckets: {error}"))
}
