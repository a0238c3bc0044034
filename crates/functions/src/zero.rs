//! What a column holds where nothing was given.

use std::sync::Arc;

use arrow::array::{ListArray, StructArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use datafusion::common::ScalarValue;

/// What a column of this type holds where nothing was given.
pub fn zero_value(data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Utf8 => Some(ScalarValue::Utf8(Some(String::new()))),
        DataType::Utf8View => Some(ScalarValue::Utf8View(Some(String::new()))),
        DataType::LargeUtf8 => Some(ScalarValue::LargeUtf8(Some(String::new()))),
        DataType::BinaryView => Some(ScalarValue::BinaryView(Some(Vec::new()))),
        DataType::Binary => Some(ScalarValue::Binary(Some(Vec::new()))),
        DataType::Time64(TimeUnit::Microsecond) => Some(ScalarValue::Time64Microsecond(Some(0))),
        DataType::Time64(TimeUnit::Nanosecond) => Some(ScalarValue::Time64Nanosecond(Some(0))),
        DataType::List(item) => Some(ScalarValue::List(Arc::new(ListArray::new(
            Arc::clone(item),
            OffsetBuffer::new_zeroed(1),
            new_empty_array(item.data_type()),
            None,
        )))),
        other => ScalarValue::new_zero(other).ok().or_else(|| match other {
            DataType::Boolean => Some(ScalarValue::Boolean(Some(false))),
            DataType::Date32 => Some(ScalarValue::Date32(Some(0))),
            DataType::Struct(fields) => zero_tuple(fields),
            _ => None,
        }),
    }
}

fn zero_tuple(fields: &Fields) -> Option<ScalarValue> {
    let zero = |field: &FieldRef| zero_value(field.data_type())?.to_array().ok();
    let zeros: Option<Vec<_>> = fields.iter().map(zero).collect();
    let tuple = StructArray::try_new(fields.clone(), zeros?, None).ok()?;
    Some(ScalarValue::Struct(Arc::new(tuple)))
}
