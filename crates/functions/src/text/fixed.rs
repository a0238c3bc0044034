//! Texts of one length, as columns of FixedString have them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};

use crate::rows::integers;
use crate::scalar::{TWO, Typed};

/// `toFixedString(text, length)`.
pub(super) const TO_FIXED_STRING: Typed = Typed {
    name: "toFixedString",
    arity: TWO,
    returns: |_, constants| match constants.get(1) {
        Some(Some(_)) => Ok(DataType::BinaryView),
        _ => plan_err!("the length of toFixedString is a constant"),
    },
    kernel: |arguments, _| {
        let length = integers(&arguments[1])?.iter().flatten().next().unwrap_or_default();
        let values = cast(&arguments[0], &DataType::BinaryView)?;
        match usize::try_from(length).ok().filter(|length| *length > 0) {
            Some(length) => filled(values.as_binary_view(), length),
            None if values.is_empty() => Ok(values),
            None => exec_err!("toFixedString: {length} is no length"),
        }
    },
};

fn filled(values: &BinaryViewArray, length: usize) -> Result<ArrayRef> {
    match fixed_strings(values, length) {
        Ok(filled) => Ok(Arc::new(filled)),
        Err(TooLong { bytes, .. }) => {
            exec_err!("toFixedString: {bytes} bytes are too long for FixedString({length})")
        }
    }
}

/// A value that has more bytes than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    pub row: usize,
    pub bytes: usize,
}

/// The values, in `length` bytes each: shorter ones are filled with zero bytes.
///
/// # Errors
/// The first value that is longer.
pub fn fixed_strings(values: &BinaryViewArray, length: usize) -> Result<BinaryViewArray, TooLong> {
    let mut filled = BinaryViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        match value {
            None => filled.append_null(),
            Some(value) if value.len() == length => filled.append_value(value),
            Some(value) if value.len() < length => {
                let mut bytes = value.to_vec();
                bytes.resize(length, 0);
                filled.append_value(bytes);
            }
            Some(value) => return Err(TooLong { row, bytes: value.len() }),
        }
    }
    Ok(filled.finish())
}
