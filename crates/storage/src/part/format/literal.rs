//! Values of a filter in the width of the column that they are compared with.

use arrow::array::{Datum, make_array};
use arrow::datatypes::{DataType, Field};
use granary_catalog::Scalar;
use granary_common::{Error, Result};
use vortex::array::VortexSessionExecute;
use vortex::arrow::ArrowSessionExt;
use vortex::expr::{Expression, lit};
use vortex::scalar::Scalar as VortexScalar;

use super::{SESSION, read_error};
use crate::filter::CompareOp;
use crate::scalar::to_arrow_scalar;
use crate::sort_order::canonical_f64;

/// `value` as a constant of `data_type`.
pub fn literal(value: &Scalar, data_type: &DataType) -> Result<Expression> {
    vortex_scalar(value, data_type).map(lit)
}

/// `value` as the file's scalar of `data_type`.
pub fn vortex_scalar(value: &Scalar, data_type: &DataType) -> Result<VortexScalar> {
    // Floats compare with what is stored, which has neither -0 nor other NaNs.
    let value = &match value {
        Scalar::Float(value) => Scalar::Float(canonical_f64(*value)),
        other => other.clone(),
    };
    let arrow = to_arrow_scalar(value, data_type)?;
    let (array, _) = arrow.get();
    let field = Field::new("", data_type.clone(), matches!(value, Scalar::Null));
    let array = make_array(array.to_data());
    let vortex = SESSION.arrow().from_arrow_array(array, &field).map_err(read_error)?;
    vortex.execute_scalar(0, &mut SESSION.create_execution_ctx()).map_err(read_error)
}

/// A comparison with a value of the column's type that holds for the same rows as the comparison
/// with `value`, which may be too wide for the type. Kind `InvalidInput` when the value is of
/// another kind than the column.
pub fn fit(op: CompareOp, value: &Scalar, data_type: &DataType) -> Result<(CompareOp, Scalar)> {
    if to_arrow_scalar(value, data_type).is_ok_and(|_| in_precision(value, data_type)) {
        return Ok((op, value.clone()));
    }
    let (Some(min), Some(max)) = (extreme(data_type, false), extreme(data_type, true)) else {
        return nearest_float(op, value, data_type).ok_or_else(|| misfit(value, data_type));
    };
    if std::mem::discriminant(value) != std::mem::discriminant(&max) {
        return Err(misfit(value, data_type));
    }
    // Beyond the type's range a comparison is the same for every value of the column, so it
    // becomes one with the end of the range that is as constant.
    let above = *value > max;
    let always = match op {
        CompareOp::Lt | CompareOp::LtEq => above,
        CompareOp::Gt | CompareOp::GtEq => !above,
        CompareOp::NotEq => true,
        CompareOp::Eq => false,
    };
    Ok(if always { (CompareOp::LtEq, max) } else { (CompareOp::Lt, min) })
}

/// Whether some value of `data_type` equals `value`.
pub fn is_of_type(value: &Scalar, data_type: &DataType) -> bool {
    to_arrow_scalar(value, data_type).is_ok() && in_precision(value, data_type)
}

fn misfit(value: &Scalar, data_type: &DataType) -> Error {
    Error::invalid(format!("a column of type {data_type} cannot be compared with {value}"))
}

/// Arrow does not check the digits of decimals.
fn in_precision(value: &Scalar, data_type: &DataType) -> bool {
    match (value, data_type) {
        (Scalar::Wide(value), DataType::Decimal128(p, _) | DataType::Decimal256(p, _)) => 10_i128
            .checked_pow(u32::from(*p))
            .is_none_or(|bound| value.unsigned_abs() < bound.unsigned_abs()),
        _ => true,
    }
}

/// The largest or smallest value of an exact type.
fn extreme(data_type: &DataType, largest: bool) -> Option<Scalar> {
    macro_rules! of {
        ($variant:ident, $native:ty) => {
            Scalar::$variant(if largest { <$native>::MAX } else { <$native>::MIN }.into())
        };
    }
    Some(match data_type {
        DataType::Int8 => of!(Int, i8),
        DataType::Int16 => of!(Int, i16),
        DataType::Int32 | DataType::Date32 => of!(Int, i32),
        DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) => of!(Int, i64),
        DataType::UInt8 => of!(UInt, u8),
        DataType::UInt16 => of!(UInt, u16),
        DataType::UInt32 => of!(UInt, u32),
        DataType::UInt64 => of!(UInt, u64),
        DataType::Decimal128(p, _) | DataType::Decimal256(p, _) => {
            let bound = 10_i128.checked_pow(u32::from(*p)).map_or(i128::MAX, |bound| bound - 1);
            Scalar::Wide(if largest { bound } else { -bound })
        }
        _ => return None,
    })
}

/// The comparison with the 32-bit float next to a 64-bit one that lies between two of them.
fn nearest_float(
    op: CompareOp,
    value: &Scalar,
    data_type: &DataType,
) -> Option<(CompareOp, Scalar)> {
    let (Scalar::Float(value), DataType::Float32) = (value, data_type) else { return None };
    let near = f64::from(*value as f32);
    let below = near < *value;
    Some(match op {
        // No 32-bit float equals it: NULL for NULL, else the constant.
        CompareOp::Eq => (CompareOp::Lt, Scalar::Float(f64::NEG_INFINITY)),
        CompareOp::NotEq => (CompareOp::GtEq, Scalar::Float(f64::NEG_INFINITY)),
        CompareOp::Lt | CompareOp::LtEq if below => (CompareOp::LtEq, Scalar::Float(near)),
        CompareOp::Lt | CompareOp::LtEq => (CompareOp::Lt, Scalar::Float(near)),
        CompareOp::Gt | CompareOp::GtEq if below => (CompareOp::Gt, Scalar::Float(near)),
        CompareOp::Gt | CompareOp::GtEq => (CompareOp::GtEq, Scalar::Float(near)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fitted comparison must agree with the exact one for every value of the column.
    #[test]
    fn fitting_keeps_the_meaning() {
        let ops = [
            CompareOp::Eq,
            CompareOp::NotEq,
            CompareOp::Lt,
            CompareOp::LtEq,
            CompareOp::Gt,
            CompareOp::GtEq,
        ];
        let small: Vec<Scalar> = (-128..=127).map(Scalar::Int).collect();
        let floats: Vec<Scalar> = [
            f32::NEG_INFINITY,
            -1.0,
            0.099_999_994,
            0.1,
            0.100_000_01,
            3e38,
            f32::INFINITY,
            f32::NAN,
        ]
        .map(|v| Scalar::Float(v.into()))
        .to_vec();
        for op in ops {
            for wide in [-1000, -129, -128, 0, 127, 128, 1000] {
                check(op, &Scalar::Int(wide), &DataType::Int8, &small);
            }
            for wide in [0.1, -0.1, 1e300, -1e300, f64::NAN] {
                check(op, &Scalar::Float(wide), &DataType::Float32, &floats);
            }
        }
    }

    fn check(op: CompareOp, wide: &Scalar, data_type: &DataType, column: &[Scalar]) {
        let (fitted_op, fitted) = fit(op, wide, data_type).unwrap();
        for value in column {
            assert_eq!(
                op.holds(value.cmp(wide)),
                fitted_op.holds(value.cmp(&fitted)),
                "{value} {op:?} {wide} became {fitted_op:?} {fitted}"
            );
        }
    }

    #[test]
    fn values_keep_their_type() {
        let scalar = vortex_scalar(&Scalar::Int(7), &DataType::Date32).unwrap();
        assert!(scalar.dtype().is_extension());
    }
}
