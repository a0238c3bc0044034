//! Partitions as users write them: the catalog keeps dates as days and decimals as integers.

use arrow::array::Datum;
use arrow::util::display::array_value_to_string;
use granary_catalog::{PartitionValue, Scalar, Table};
use granary_storage::to_arrow_scalar;

/// The values of a partition of `table`, each in the type of its key expression.
pub(super) fn partition_text(table: &Table, partition: &PartitionValue) -> String {
    let texts: Vec<String> = partition
        .0
        .iter()
        .enumerate()
        .map(|(at, value)| typed(table, at, value).unwrap_or_else(|| value.to_string()))
        .collect();
    match texts.as_slice() {
        [] => partition.to_string(),
        [only] => only.clone(),
        many => format!("({})", many.join(",")),
    }
}

/// `None` for a value that its type cannot show.
fn typed(table: &Table, at: usize, value: &Scalar) -> Option<String> {
    let column = table.column(table.partition_by.get(at)?.column)?;
    let value = to_arrow_scalar(value, &column.column_type.arrow()).ok()?;
    let (array, _) = value.get();
    array_value_to_string(array, 0).ok().filter(|_| array.is_valid(0))
}
