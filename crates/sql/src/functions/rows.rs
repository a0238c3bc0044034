//! Arguments of kernels as plain Rust values, row by row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, plan_err};

/// The values as texts.
pub(super) fn texts(values: &ArrayRef) -> Result<StringArray> {
    Ok(cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// The values as whole numbers.
pub(super) fn integers(values: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The values as lists; of NULLs alone, NULL lists.
pub(super) fn lists(values: &ArrayRef) -> Result<ListArray> {
    match values.data_type() {
        DataType::List(_) => Ok(values.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let list = DataType::List(Arc::clone(item));
            Ok(cast(values, &list)?.as_list::<i32>().clone())
        }
        other => plan_err!("an array is expected, not {other}"),
    }
}

/// The type of the elements of an array type.
pub(super) fn item_type(data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Ok(item.data_type().clone())
        }
        other => plan_err!("an array is expected, not {other}"),
    }
}

/// A text for each text; NULL stays NULL.
pub(super) fn map_texts(
    values: &ArrayRef,
    of: impl Fn(&str) -> Option<String>,
) -> Result<ArrayRef> {
    let mapped: StringArray = texts(values)?.iter().map(|text| text.and_then(&of)).collect();
    Ok(Arc::new(mapped))
}

/// A text for each pair of texts; NULL stays NULL.
pub(super) fn map_text_pairs(
    arguments: &[ArrayRef],
    of: impl Fn(&str, &str) -> Option<String>,
) -> Result<ArrayRef> {
    let (left, right) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let mapped: StringArray =
        left.iter().zip(right.iter()).map(|(left, right)| of(left?, right?)).collect();
    Ok(Arc::new(mapped))
}
