//! `a || b` where an operand is no text.

use std::mem::take;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast};

use granary_functions::call;

/// What is no text is joined as `toString` writes it.
pub(super) fn joined(
    raw: &mut RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Result<Option<Expr>> {
    let is_other = |data_type: &DataType| {
        data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::BinaryView
    };
    if (!is_other(left) && !is_other(right)) || left.is_nested() || right.is_nested() {
        return Ok(None);
    }
    let text = |operand: &mut Expr, data_type: &DataType| match data_type {
        DataType::BinaryView => Ok(cast(take(operand), DataType::Utf8View)),
        other if is_other(other) => call("toString", vec![take(operand)]),
        _ => Ok(take(operand)),
    };
    let (first, second) = (text(&mut raw.left, left)?, text(&mut raw.right, right)?);
    Ok(Some(binary_expr(first, Operator::StringConcat, second)))
}
