//! Texts of one length, as columns of FixedString have them. Plans carry them as views of bytes, and
//! they are filled with zero bytes, which count for their length and not when they are compared.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::rows::integers;
use crate::scalar::{ONE, Scalar, TWO, Typed};

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

/// Stands in a statement around what a function of texts takes, and is gone from its plan: there a
/// FixedString becomes a text with all of its bytes, and everything else stays what it is.
pub const TEXT_OF: &str = "__granary_text_of";

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextOf(Signature);

/// [`TEXT_OF`] as DataFusion takes it.
pub(crate) fn text_of() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(TextOf(Signature::any(1, Volatility::Immutable))))
}

impl ScalarUDFImpl for TextOf {
    fn name(&self) -> &str {
        TEXT_OF
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    /// Columns are named as if it were not there.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments {
            [only] => Ok(only.schema_name().to_string()),
            _ => internal_err!("{TEXT_OF} takes one value"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types.first() {
            Some(DataType::BinaryView) => DataType::Utf8View,
            Some(other) => other.clone(),
            None => DataType::Null,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.into_iter().next() {
            Some(value) if value.data_type() == DataType::BinaryView => {
                value.cast_to(&DataType::Utf8View, None)
            }
            Some(value) => Ok(value),
            None => internal_err!("{TEXT_OF} takes one value"),
        }
    }
}

/// The bytes of a text without the zero bytes at its end: two that are equal then are equal as
/// FixedString, whatever their lengths, and they have the same order.
pub const WITHOUT_ZEROS: &str = "__granary_without_zeros";

pub(super) const CUT_ZEROS: Scalar = Scalar {
    name: WITHOUT_ZEROS,
    arity: ONE,
    returns: |_| Ok(DataType::BinaryView),
    kernel: |arguments| {
        let values = cast(&arguments[0], &DataType::BinaryView)?;
        let cut = values.as_binary_view().iter().map(|value| value.map(without_zeros));
        Ok(Arc::new(cut.collect::<BinaryViewArray>()))
    },
};

fn without_zeros(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &value[..end]
}

/// The bytes of a text that is compared with values of FixedString of this length. One that is longer
/// for other reasons than zero bytes stays so, and equals none.
pub fn filled_to(text: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = without_zeros(text).to_vec();
    bytes.resize(bytes.len().max(length), 0);
    bytes
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to compare give what comparing with zero bytes behind the shorter one gives.
    #[test]
    fn zero_bytes_at_the_end_do_not_count() {
        for (one, other) in [("a", "a\0"), ("a", "a\0b"), ("", "\0\0"), ("ab", "b"), ("a\0b", "b")]
        {
            let padded = |text: &str| {
                let mut bytes = text.as_bytes().to_vec();
                bytes.resize(8, 0);
                bytes
            };
            let expected = padded(one).cmp(&padded(other));
            let (one, other) = (one.as_bytes(), other.as_bytes());
            assert_eq!(without_zeros(one).cmp(without_zeros(other)), expected);
            assert_eq!(filled_to(one, 4).cmp(&filled_to(other, 4)), expected);
        }
        assert_eq!(filled_to(b"abc", 2), b"abc");
        assert_eq!(filled_to(b"a\0\0", 2), b"a\0");
    }
}
