//! `length` of texts, arrays and maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length as lengths;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};

use crate::scalar::{Arity, Scalar};

pub(super) const LENGTH: Scalar = Scalar {
    name: "length",
    arity: Arity::Exactly(1),
    returns: |arguments| match &arguments[0] {
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView
        | DataType::List(_)
        | DataType::Map(..)
        | DataType::Null => Ok(DataType::Int64),
        other => plan_err!("length takes a text, an array or a map, not {other}"),
    },
    kernel: length,
};

fn length(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = &arguments[0];
    match values.data_type() {
        DataType::Map(..) => {
            let map = values.as_map();
            let counts: Int64Array = (0..map.len())
                .map(|row| map.is_valid(row).then(|| i64::from(map.value_length(row))))
                .collect();
            Ok(Arc::new(counts))
        }
        DataType::Null => Ok(Arc::new(Int64Array::new_null(values.len()))),
        DataType::Utf8View => {
            let texts = values.as_string_view();
            let counts: Int64Array =
                texts.iter().map(|text| text.map(|text| text.len() as i64)).collect();
            Ok(Arc::new(counts))
        }
        DataType::Binary => {
            let bytes = values.as_binary::<i32>();
            let counts: Int64Array =
                bytes.iter().map(|value| value.map(|value| value.len() as i64)).collect();
            Ok(Arc::new(counts))
        }
        DataType::BinaryView => {
            let bytes = values.as_binary_view();
            let counts: Int64Array =
                bytes.iter().map(|value| value.map(|value| value.len() as i64)).collect();
            Ok(Arc::new(counts))
        }
        _ => Ok(cast(&lengths(values.as_ref())?, &DataType::Int64)?),
    }
}
