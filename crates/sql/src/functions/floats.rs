//! Floats compared with decimals, as numbers with a point are read: both are compared as floats. The
//! engine would make a decimal of the float, which has no place for large, tiny and infinite ones.

use std::mem::take;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, cast, lit};
use sqlparser::ast::BinaryOperator;

/// Makes a float of the decimal side of a comparison with a float.
pub(super) fn settle(raw: &mut RawBinaryExpr, left: &DataType, right: &DataType) {
    let compares = matches!(
        raw.op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Spaceship
    );
    if !compares {
        return;
    }
    if left.is_floating() && right.is_decimal() {
        raw.right = as_float(take(&mut raw.right), left);
    } else if left.is_decimal() && right.is_floating() {
        raw.left = as_float(take(&mut raw.left), right);
    }
}

/// A decimal as a float of this type. What is written down becomes the float that its digits mean.
pub(crate) fn as_float(value: Expr, float: &DataType) -> Expr {
    match &value {
        Expr::Literal(decimal, _) => match written(decimal, float) {
            Some(number) => lit(number),
            None => cast(value, float.clone()),
        },
        _ => cast(value, float.clone()),
    }
}

fn written(decimal: &ScalarValue, float: &DataType) -> Option<ScalarValue> {
    let digits = decimal.cast_to(&DataType::Utf8).ok()?;
    let digits = digits.try_as_str()??;
    match float {
        DataType::Float64 => Some(ScalarValue::Float64(Some(digits.parse().ok()?))),
        DataType::Float32 => Some(ScalarValue::Float32(Some(digits.parse().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_decimals_are_the_floats_of_their_digits() {
        let decimal = |value, scale| ScalarValue::Decimal128(Some(value), 30, scale);
        for (value, expected) in [
            (decimal(3, 1), 0.3),
            (decimal(-15, 1), -1.5),
            (decimal(9_007_199_254_740_993_000_001, 6), 9_007_199_254_740_993.000_001),
            (decimal(0, 0), 0.0),
        ] {
            let float = ScalarValue::Float64(Some(expected));
            assert_eq!(written(&value, &DataType::Float64), Some(float), "{value}");
        }
        let third = ScalarValue::Float32(Some(0.3));
        assert_eq!(written(&decimal(3, 1), &DataType::Float32), Some(third));
    }
}
