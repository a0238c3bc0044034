//! The types of results that do not depend on the arguments.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result;

pub(super) fn text(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Utf8)
}

pub(super) fn texts(_: &[DataType]) -> Result<DataType> {
    Ok(list(DataType::Utf8))
}

pub(super) fn float(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Float64)
}

pub(super) fn flag(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Boolean)
}

pub(super) fn number(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::UInt64)
}

/// The type of the first argument.
pub(super) fn same(types: &[DataType]) -> Result<DataType> {
    Ok(types.first().cloned().unwrap_or(DataType::Null))
}

/// An array of these.
pub(super) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The entries of a map of these.
pub(super) fn map_entries(key: &DataType, value: &DataType) -> FieldRef {
    let fields = Fields::from(vec![
        Field::new("key", key.clone(), false),
        Field::new("value", value.clone(), true),
    ]);
    Arc::new(Field::new("entries", DataType::Struct(fields), false))
}
