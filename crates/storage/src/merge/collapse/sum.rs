//! Sums of groups of values. Integers wrap around in the width of their type; NULL is skipped, and
//! a group of only NULL sums to NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, NullBufferBuilder, PrimitiveArray,
};
use arrow::datatypes::*;
use granary_common::{Error, Result};

use super::failed;
use crate::sort_order::canonical_float_column;

/// Calls `$case!` with the type behind numbers and how two of them are added.
macro_rules! with_number {
    ($data_type:expr, $case:ident) => {
        match $data_type {
            DataType::Int8 => $case!(Int8Type, |a: i8, b: i8| Some(a.wrapping_add(b))),
            DataType::Int16 => $case!(Int16Type, |a: i16, b: i16| Some(a.wrapping_add(b))),
            DataType::Int32 => $case!(Int32Type, |a: i32, b: i32| Some(a.wrapping_add(b))),
            DataType::Int64 => $case!(Int64Type, |a: i64, b: i64| Some(a.wrapping_add(b))),
            DataType::UInt8 => $case!(UInt8Type, |a: u8, b: u8| Some(a.wrapping_add(b))),
            DataType::UInt16 => $case!(UInt16Type, |a: u16, b: u16| Some(a.wrapping_add(b))),
            DataType::UInt32 => $case!(UInt32Type, |a: u32, b: u32| Some(a.wrapping_add(b))),
            DataType::UInt64 => $case!(UInt64Type, |a: u64, b: u64| Some(a.wrapping_add(b))),
            DataType::Float32 => $case!(Float32Type, |a: f32, b: f32| Some(a + b)),
            DataType::Float64 => $case!(Float64Type, |a: f64, b: f64| Some(a + b)),
            DataType::Decimal128(..) => $case!(Decimal128Type, |a: i128, b: i128| a.checked_add(b)),
            DataType::Decimal256(..) => $case!(Decimal256Type, |a: i256, b: i256| a.checked_add(b)),
            other => Err(Error::internal(format!("values of type {other} cannot be added up"))),
        }
    };
}

/// The sums of the groups that begin at `starts`, whose last element is the number of values. Kind
/// `InvalidInput` for a decimal sum that does not fit its type.
pub fn sum(values: &ArrayRef, starts: &[usize]) -> Result<ArrayRef> {
    macro_rules! sum {
        ($arrow:ident, $add:expr) => {
            sum_of::<$arrow>(values.as_primitive(), starts, $add)
        };
    }
    let sums = with_number!(values.data_type(), sum)?;
    // Two zeros or not-numbers may add up to another form of them.
    Ok(canonical_float_column(&sums))
}

fn sum_of<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    starts: &[usize],
    add: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut sums = Vec::with_capacity(starts.len());
    let mut valid = NullBufferBuilder::new(starts.len());
    for group in starts.windows(2) {
        let mut sum = None;
        for row in (group[0]..group[1]).filter(|row| values.is_valid(*row)) {
            let value = values.value(row);
            sum = Some(match sum {
                None => value,
                Some(sum) => add(sum, value).ok_or_else(|| too_large(values.data_type()))?,
            });
        }
        valid.append(sum.is_some());
        sums.push(sum.unwrap_or_default());
    }
    let sums = PrimitiveArray::<T>::try_new(sums.into(), valid.finish()).map_err(failed)?;
    let sums = sums.with_data_type(values.data_type().clone());
    let sums: ArrayRef = Arc::new(sums);
    check_precision(&sums)?;
    Ok(sums)
}

fn check_precision(sums: &ArrayRef) -> Result<()> {
    let fits = match sums.data_type() {
        DataType::Decimal128(precision, _) => {
            sums.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision)
        }
        DataType::Decimal256(precision, _) => {
            sums.as_primitive::<Decimal256Type>().validate_decimal_precision(*precision)
        }
        _ => Ok(()),
    };
    fits.map_err(|_| too_large(sums.data_type()))
}

fn too_large(data_type: &DataType) -> Error {
    Error::invalid(format!(
        "the sum of a key's values does not fit {data_type}; give the column a wider type"
    ))
}

/// Clears the marks of rows whose value is neither zero nor NULL.
pub fn is_zero(values: &ArrayRef, zero: &mut [bool]) -> Result<()> {
    macro_rules! check {
        ($arrow:ident, $add:expr) => {{
            // Only the types matter here.
            let _ = $add;
            let values = values.as_primitive::<$arrow>();
            let none = <$arrow as ArrowPrimitiveType>::Native::default();
            for (row, zero) in zero.iter_mut().enumerate() {
                *zero = *zero && (values.is_null(row) || values.value(row) == none);
            }
            Ok(())
        }};
    }
    with_number!(values.data_type(), check)
}
