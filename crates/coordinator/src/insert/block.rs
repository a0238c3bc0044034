//! Blocks: a bounded piece of an insert, and its cut into buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{concat, concat_batches, take};
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

/// The rows of a block that go to one bucket. Gathered when they are written, so that buckets are
/// gathered beside each other and not all of them are held.
pub(super) enum Share {
    Whole,
    Pieces(Vec<Piece>),
}

/// Rows of one batch.
pub(super) struct Piece {
    batch: usize,
    rows: UInt32Array,
}

/// Cuts batches in the table's columns into the share of each bucket that gets rows. `turn` is the
/// bucket of a whole block when the table rotates.
pub(super) fn cut(
    table: &Table,
    batches: &[RecordBatch],
    turn: u64,
) -> Result<BTreeMap<BucketIndex, Share>> {
    let whole = |bucket: BucketIndex| Ok(BTreeMap::from([(bucket, Share::Whole)]));
    match &table.distribution {
        _ if table.buckets <= 1 => whole(table.bucket_at(0)),
        Distribution::Rotation => whole(table.bucket_at((turn % u64::from(table.buckets)) as u32)),
        Distribution::Hash(columns) => by_hash(table, batches, columns),
    }
}

fn by_hash(
    table: &Table,
    batches: &[RecordBatch],
    columns: &[ColumnId],
) -> Result<BTreeMap<BucketIndex, Share>> {
    let position = |id: &ColumnId| {
        table.column_position(*id).ok_or_else(|| {
            Error::internal(format!("the distribution names column {id}, which is gone"))
        })
    };
    let positions = columns.iter().map(position).collect::<Result<Vec<_>>>()?;
    let mut pieces: BTreeMap<BucketIndex, Vec<Piece>> = BTreeMap::new();
    for (batch, rows) in batches.iter().enumerate() {
        let keys: Vec<ArrayRef> =
            positions.iter().map(|position| Arc::clone(rows.column(*position))).collect();
        let mut rows_of: BTreeMap<BucketIndex, Vec<u32>> = BTreeMap::new();
        for (row, hash) in hash_columns(&keys)?.into_iter().enumerate() {
            let bucket = table.bucket_at(bucket_of(hash, table.buckets).0);
            rows_of.entry(bucket).or_default().push(row as u32);
        }
        for (bucket, rows) in rows_of {
            pieces.entry(bucket).or_default().push(Piece { batch, rows: rows.into() });
        }
    }
    Ok(pieces.into_iter().map(|(bucket, pieces)| (bucket, Share::Pieces(pieces))).collect())
}

impl Share {
    /// Its rows as one batch.
    pub fn gather(&self, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
        match self {
            Share::Whole => concat_batches(schema, batches).map_err(arrow_failed),
            Share::Pieces(pieces) => gathered(schema, batches, pieces),
        }
    }
}

fn gathered(schema: &SchemaRef, batches: &[RecordBatch], pieces: &[Piece]) -> Result<RecordBatch> {
    let column = |position: usize| -> Result<ArrayRef> {
        // Piece by piece, while a batch is in the processor's cache.
        let of = |piece: &Piece| take(batches[piece.batch].column(position), &piece.rows, None);
        let taken = pieces.iter().map(of).collect::<Result<Vec<_>, _>>().map_err(arrow_failed)?;
        let taken: Vec<&dyn Array> = taken.iter().map(AsRef::as_ref).collect();
        Ok(without_others(concat(&taken).map_err(arrow_failed)?))
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(arrow_failed)
}

/// Views into the batches would hold on to the rows of other buckets, which would all be sent along.
fn without_others(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array,
    }
}

fn arrow_failed(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("a block cannot be cut into buckets: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, StringViewArray};
    use arrow::compute::{cast, concat_batches};

    fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
        let texts: StringArray = rows
            .clone()
            .map(|row| (row % 5 > 0).then(|| format!("{row}{}", ".".repeat(row as usize % 20))))
            .collect();
        let texts: ArrayRef = Arc::new(texts);
        let numbers: Int64Array = rows.clone().map(|row| (row % 3 > 0).then_some(row)).collect();
        let views = cast(&texts, &DataType::Utf8View).unwrap();
        let bytes = cast(&texts, &DataType::BinaryView).unwrap();
        let columns =
            [("n", Arc::new(numbers) as ArrayRef), ("t", texts), ("v", views), ("b", bytes)];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    #[test]
    fn pieces_are_gathered_in_order_and_without_the_others() {
        let batches = [batch(0..100), batch(100..300)];
        let schema = batches[0].schema();
        let pieces = [
            Piece { batch: 0, rows: vec![3, 4, 5, 99].into() },
            Piece { batch: 1, rows: vec![0, 7, 199].into() },
        ];
        let gathered = gathered(&schema, &batches, &pieces).unwrap();
        let all = concat_batches(&schema, &batches).unwrap();
        let rows = UInt32Array::from(vec![3, 4, 5, 99, 100, 107, 299]);
        let expected = arrow::compute::take_record_batch(&all, &rows).unwrap();
        assert_eq!(gathered, expected);
        let kept = |batch: &RecordBatch| -> usize {
            let views: &StringViewArray = batch.column(2).as_string_view();
            views.data_buffers().iter().map(|buffer| buffer.len()).sum()
        };
        let long = expected.column(1).as_string::<i32>().iter().flatten().map(str::len);
        assert_eq!(kept(&gathered), long.filter(|length| *length > 12).sum::<usize>());
    }
}
