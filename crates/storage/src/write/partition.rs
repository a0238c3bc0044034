//! The rows of a block by the partition that they belong to.

use std::collections::HashMap;

use arrow::array::{ArrayRef, UInt32Array};
use granary_catalog::PartitionValue;
use granary_common::{Error, Result};

use crate::scalar::scalar_at;
use crate::sort_order::comparable_rows;

/// The rows of one partition.
pub struct Slice {
    pub partition: PartitionValue,
    /// In the order in which they are stored; `None` for every row as it is.
    pub rows: Option<UInt32Array>,
}

/// Splits the rows of a block, in the order `order` (`None` for the order given), by the values of
/// the `partition` columns. Partitions come in the order of their first row. Kind `InvalidInput`
/// for more than `partitions_max` of them.
pub fn split(
    partition: &[ArrayRef],
    order: Option<UInt32Array>,
    rows: usize,
    partitions_max: usize,
) -> Result<Vec<Slice>> {
    if partition.is_empty() {
        return Ok(vec![Slice { partition: PartitionValue::default(), rows: order }]);
    }
    let values = comparable_rows(partition)?;
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let row_at = |place: usize| order.as_ref().map_or(place as u32, |order| order.value(place));
    for place in 0..rows {
        let row = row_at(place);
        let next = groups.len();
        let group = *places.entry(values.row(row as usize).data()).or_insert(next);
        if group == next {
            if next == partitions_max {
                return Err(too_many(partitions_max));
            }
            groups.push(Vec::new());
        }
        groups[group].push(row);
    }
    if groups.len() == 1 {
        let partition = value_at(partition, 0)?;
        return Ok(vec![Slice { partition, rows: order }]);
    }
    let slice = |rows: Vec<u32>| {
        let partition = value_at(partition, rows.first().map_or(0, |row| *row as usize))?;
        Ok(Slice { partition, rows: Some(UInt32Array::from(rows)) })
    };
    groups.into_iter().map(slice).collect()
}

fn value_at(partition: &[ArrayRef], row: usize) -> Result<PartitionValue> {
    let values = partition.iter().map(|column| scalar_at(column, row));
    values.collect::<Result<_>>().map(PartitionValue).map_err(|error| {
        Error::invalid(format!("PARTITION BY has a value that cannot be compared: {error}"))
    })
}

fn too_many(partitions_max: usize) -> Error {
    Error::invalid(format!(
        "a block of this insert falls into more than {partitions_max} partitions, and each would \
         make a part: insert rows of fewer partitions at a time, raise the setting \
         max_partitions_per_insert_block, or partition the table more coarsely"
    ))
}
