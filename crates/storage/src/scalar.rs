//! Canonical values out of Arrow columns and back.
//!
//! | Arrow type | [`Scalar`] |
//! |---|---|
//! | Boolean | `Bool` |
//! | Int8..Int64, Date32 (days), Time64 and Timestamp (ticks of their units) | `Int` |
//! | UInt8..UInt64 | `UInt` |
//! | Decimal128, Decimal256 (unscaled) | `Wide` |
//! | Float32, Float64 | `Float` |
//! | Utf8, LargeUtf8, Utf8View | `Text` |
//! | Binary, LargeBinary, BinaryView | `Bytes` |
//!
//! Nested types have no canonical values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Scalar as ArrowScalar, new_null_array};
use arrow::array::{
    BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array, Decimal256Array, LargeBinaryArray,
    LargeStringArray, PrimitiveArray, StringArray, StringViewArray,
};
use arrow::datatypes::*;
use granary_catalog::Scalar;
use granary_common::{Error, Result};

/// Calls `$case!` with the Arrow primitive type behind `$data_type` and the [`Scalar`] variant that
/// holds its values, or evaluates `$other`.
macro_rules! with_primitive {
    ($data_type:expr, $case:ident, $other:expr) => {
        match $data_type {
            DataType::Int8 => $case!(Int8Type, Int),
            DataType::Int16 => $case!(Int16Type, Int),
            DataType::Int32 => $case!(Int32Type, Int),
            DataType::Int64 => $case!(Int64Type, Int),
            DataType::Date32 => $case!(Date32Type, Int),
            DataType::Time64(TimeUnit::Microsecond) => $case!(Time64MicrosecondType, Int),
            DataType::Time64(TimeUnit::Nanosecond) => $case!(Time64NanosecondType, Int),
            DataType::Timestamp(TimeUnit::Second, _) => $case!(TimestampSecondType, Int),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $case!(TimestampMillisecondType, Int),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $case!(TimestampMicrosecondType, Int),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $case!(TimestampNanosecondType, Int),
            DataType::UInt8 => $case!(UInt8Type, UInt),
            DataType::UInt16 => $case!(UInt16Type, UInt),
            DataType::UInt32 => $case!(UInt32Type, UInt),
            DataType::UInt64 => $case!(UInt64Type, UInt),
            DataType::Float32 => $case!(Float32Type, Float),
            DataType::Float64 => $case!(Float64Type, Float),
            _ => $other,
        }
    };
}

pub(crate) use with_primitive;

/// Whether values of `data_type` have a canonical form.
pub fn has_scalars(data_type: &DataType) -> bool {
    macro_rules! yes {
        ($arrow:ident, $variant:ident) => {
            true
        };
    }
    with_primitive!(
        data_type,
        yes,
        matches!(
            data_type,
            DataType::Boolean
                | DataType::Decimal128(..)
                | DataType::Decimal256(..)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
        )
    )
}

/// The canonical value at `row`, which must be below the array's length. Kind `Unsupported` for
/// nested types and for decimals beyond 128 bits.
pub fn scalar_at(array: &dyn Array, row: usize) -> Result<Scalar> {
    if array.is_null(row) {
        return Ok(Scalar::Null);
    }
    macro_rules! primitive {
        ($arrow:ident, $variant:ident) => {
            Scalar::$variant(array.as_primitive::<$arrow>().value(row).into())
        };
    }
    Ok(with_primitive!(
        array.data_type(),
        primitive,
        match array.data_type() {
            DataType::Boolean => Scalar::Bool(array.as_boolean().value(row)),
            DataType::Decimal128(..) => {
                Scalar::Wide(array.as_primitive::<Decimal128Type>().value(row))
            }
            DataType::Decimal256(..) => array
                .as_primitive::<Decimal256Type>()
                .value(row)
                .to_i128()
                .map(Scalar::Wide)
                .ok_or_else(|| Error::unsupported("the decimal does not fit into 128 bits"))?,
            DataType::Utf8 => Scalar::Text(array.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Scalar::Text(array.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Scalar::Text(array.as_string_view().value(row).to_owned()),
            DataType::Binary => Scalar::Bytes(array.as_binary::<i32>().value(row).to_owned()),
            DataType::LargeBinary => Scalar::Bytes(array.as_binary::<i64>().value(row).to_owned()),
            DataType::BinaryView => Scalar::Bytes(array.as_binary_view().value(row).to_owned()),
            other => return Err(Error::unsupported(format!("{other} values cannot be compared"))),
        }
    ))
}

/// `value` as an Arrow value of `data_type`. Kind `InvalidInput` when it does not fit, `Unsupported`
/// for a type without canonical values.
pub fn to_arrow_scalar(value: &Scalar, data_type: &DataType) -> Result<ArrowScalar<ArrayRef>> {
    if matches!(value, Scalar::Null) {
        return Ok(ArrowScalar::new(new_null_array(data_type, 1)));
    }
    if !has_scalars(data_type) {
        return Err(Error::unsupported(format!("{data_type} values cannot be compared")));
    }
    one_value(value, data_type).map(ArrowScalar::new).ok_or_else(|| {
        Error::invalid(format!("the value {value} does not fit the type {data_type}"))
    })
}

fn one_value(value: &Scalar, data_type: &DataType) -> Option<ArrayRef> {
    macro_rules! primitive {
        ($arrow:ident, $variant:ident) => {{
            let Scalar::$variant(value) = value else { return None };
            let native = narrow::<$arrow>(NativeValue::$variant(*value))?;
            let array = PrimitiveArray::<$arrow>::from_iter_values([native]);
            Some(Arc::new(array.with_data_type(data_type.clone())) as ArrayRef)
        }};
    }
    with_primitive!(
        data_type,
        primitive,
        Some(match (data_type, value) {
            (DataType::Boolean, Scalar::Bool(value)) => Arc::new(BooleanArray::from(vec![*value])),
            (DataType::Decimal128(p, s), Scalar::Wide(value)) => Arc::new(
                Decimal128Array::from_iter_values([*value])
                    .with_precision_and_scale(*p, *s)
                    .ok()?,
            ),
            (DataType::Decimal256(p, s), Scalar::Wide(value)) => Arc::new(
                Decimal256Array::from_iter_values([i256_of(*value)])
                    .with_precision_and_scale(*p, *s)
                    .ok()?,
            ),
            (DataType::Utf8, Scalar::Text(text)) => {
                Arc::new(StringArray::from_iter_values([text]))
            }
            (DataType::LargeUtf8, Scalar::Text(text)) => {
                Arc::new(LargeStringArray::from_iter_values([text]))
            }
            (DataType::Utf8View, Scalar::Text(text)) => {
                Arc::new(StringViewArray::from_iter_values([text]))
            }
            (DataType::Binary, Scalar::Bytes(bytes)) => {
                Arc::new(BinaryArray::from_iter_values([bytes]))
            }
            (DataType::LargeBinary, Scalar::Bytes(bytes)) => {
                Arc::new(LargeBinaryArray::from_iter_values([bytes]))
            }
            (DataType::BinaryView, Scalar::Bytes(bytes)) => {
                Arc::new(BinaryViewArray::from_iter_values([bytes]))
            }
            _ => return None,
        })
    )
}

fn i256_of(value: i128) -> arrow::datatypes::i256 {
    arrow::datatypes::i256::from_i128(value)
}

/// A primitive value before it is narrowed to a column's width.
enum NativeValue {
    Int(i64),
    UInt(u64),
    Float(f64),
}

/// The value in the column's width, when it fits without loss.
fn narrow<T: ArrowPrimitiveType>(value: NativeValue) -> Option<T::Native>
where
    T::Native: arrow::array::ArrowNativeTypeOp + num_cast::FromWide,
{
    use num_cast::FromWide;
    match value {
        NativeValue::Int(value) => T::Native::from_int(value),
        NativeValue::UInt(value) => T::Native::from_uint(value),
        NativeValue::Float(value) => T::Native::from_float(value),
    }
}

/// Narrowing without loss.
mod num_cast {
    /// Each conversion gives `None` when the value does not fit.
    pub trait FromWide: Sized {
        fn from_int(value: i64) -> Option<Self>;
        fn from_uint(value: u64) -> Option<Self>;
        fn from_float(value: f64) -> Option<Self>;
    }

    macro_rules! integers {
        ($($native:ty),*) => {
            $(impl FromWide for $native {
                fn from_int(value: i64) -> Option<Self> {
                    value.try_into().ok()
                }
                fn from_uint(value: u64) -> Option<Self> {
                    value.try_into().ok()
                }
                fn from_float(_: f64) -> Option<Self> {
                    None
                }
            })*
        };
    }
    integers!(i8, i16, i32, i64, u8, u16, u32, u64);

    macro_rules! floats {
        ($($native:ty),*) => {
            $(impl FromWide for $native {
                fn from_int(_: i64) -> Option<Self> {
                    None
                }
                fn from_uint(_: u64) -> Option<Self> {
                    None
                }
                fn from_float(value: f64) -> Option<Self> {
                    let narrow = value as $native;
                    (f64::from(narrow) == value || value.is_nan()).then_some(narrow)
                }
            })*
        };
    }
    floats!(f32, f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Datum;

    #[test]
    fn values_round_trip() {
        let zone: Option<Arc<str>> = Some("Europe/Berlin".into());
        let cases = [
            (DataType::Boolean, Scalar::Bool(true)),
            (DataType::Int8, Scalar::Int(-128)),
            (DataType::Date32, Scalar::Int(19_000)),
            (DataType::Timestamp(TimeUnit::Millisecond, zone), Scalar::Int(1_700_000_000_123)),
            (DataType::Time64(TimeUnit::Microsecond), Scalar::Int(36_000_000_000)),
            (DataType::UInt64, Scalar::UInt(u64::MAX)),
            (DataType::Decimal128(15, 2), Scalar::Wide(-12_345)),
            (DataType::Decimal256(76, 10), Scalar::Wide(i128::MAX)),
            (DataType::Float32, Scalar::Float(0.5)),
            (DataType::Float64, Scalar::Float(f64::NAN)),
            (DataType::Utf8View, Scalar::Text("a longer text than fits a view".into())),
            (DataType::Utf8, Scalar::Text("é".into())),
            (DataType::BinaryView, Scalar::Bytes(vec![0, 255])),
            (DataType::Binary, Scalar::Bytes(vec![])),
            (DataType::Int64, Scalar::Null),
        ];
        for (data_type, value) in cases {
            let arrow = to_arrow_scalar(&value, &data_type).unwrap();
            let (array, _) = arrow.get();
            assert_eq!(array.data_type(), &data_type);
            assert_eq!(scalar_at(array, 0).unwrap(), value);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (data_type, value) in [
            (DataType::Int8, Scalar::Int(128)),
            (DataType::Int8, Scalar::UInt(1)),
            (DataType::UInt32, Scalar::UInt(1 << 32)),
            (DataType::Float32, Scalar::Float(0.1)),
            (DataType::Utf8View, Scalar::Bytes(vec![])),
        ] {
            assert!(to_arrow_scalar(&value, &data_type).is_err(), "{value} as {data_type}");
        }
    }
}
