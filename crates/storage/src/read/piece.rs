//! Pieces of decoded batches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

/// Pieces of so many rows are left as they are: there are few of them, and copying takes time.
const ROWS_LARGE: usize = 4096;

/// Some rows of a batch, as a batch that holds little else. Texts of a slice still hold the buffers of
/// the whole, so whoever kept a few small pieces, a sort for example, would count and hold each whole
/// buffer once for every piece.
pub(super) fn piece(batch: &RecordBatch, start: usize, rows: usize) -> RecordBatch {
    let slice = batch.slice(start, rows);
    if rows >= ROWS_LARGE || 2 * rows > batch.num_rows() {
        return slice;
    }
    let columns: Vec<ArrayRef> = slice.columns().iter().map(compact).collect();
    // The same types and lengths, so there is nothing to refuse.
    RecordBatch::try_new(slice.schema(), columns).unwrap_or(slice)
}

fn compact(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn small_pieces_do_not_hold_the_whole() {
        let text = |number: usize| format!("{number:0>100}");
        let texts = StringViewArray::from_iter_values((0..1000).map(text));
        let batch = RecordBatch::try_from_iter([("t", Arc::new(texts) as ArrayRef)]).unwrap();
        let small = piece(&batch, 900, 100);
        assert_eq!(small, batch.slice(900, 100));
        assert!(small.get_array_memory_size() * 5 < batch.get_array_memory_size());
        let most = piece(&batch, 0, 900);
        assert_eq!(most, batch.slice(0, 900));
    }
}
