//! Arguments of kernels as plain Rust values, row by row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, ListBuilder, StringArray,
    StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::{Result, plan_err};

/// The values as texts.
pub(super) fn texts(values: &ArrayRef) -> Result<StringArray> {
    Ok(cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// The values as whole numbers.
pub(super) fn integers(values: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The values as floats.
pub(super) fn floats(values: &ArrayRef) -> Result<Float64Array> {
    Ok(cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

/// A value that may be NULL for each text; NULL stays NULL.
pub(super) fn each<T>(values: &ArrayRef, of: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
    Ok(texts(values)?.iter().map(|text| text.and_then(&of)).collect())
}

/// A value that may be NULL for each pair of texts; NULL stays NULL.
pub(super) fn each_pair<T>(
    arguments: &[ArrayRef],
    of: impl Fn(&str, &str) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let (left, right) = (texts(&arguments[0])?, texts(&arguments[1])?);
    Ok(left.iter().zip(right.iter()).map(|(left, right)| of(left?, right?)).collect())
}

/// An array of texts for each row.
pub(super) fn text_lists(rows: impl IntoIterator<Item = Option<Vec<String>>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let is_there = row.is_some();
        row.into_iter().flatten().for_each(|text| lists.values().append_value(text));
        lists.append(is_there);
    }
    Arc::new(lists.finish())
}

/// Lists of `items` with a length for each row; no length is NULL.
pub(super) fn list_of(items: ArrayRef, lengths: &[Option<usize>]) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
    let nulls = lengths
        .contains(&None)
        .then(|| lengths.iter().map(Option::is_some).collect::<NullBuffer>());
    Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls)?))
}

/// Where the items of a row are; none for NULL.
pub(super) fn range_of(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    match list.is_null(row) {
        true => 0..0,
        false => list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize,
    }
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
