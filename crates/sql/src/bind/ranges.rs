//! `RANGE BETWEEN 3600 PRECEDING ...` over times: seconds, over dates days, as numbers beside them are
//! everywhere. The engine would take the number for an interval without a unit.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits,
};

use super::each;

/// Gives the numbers in frames over times and dates their unit.
pub(super) fn settle(plan: LogicalPlan) -> Result<LogicalPlan> {
    each::of_plan(plan, with_units)
}

fn with_units(mut expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(call) = &mut expression else { return Transformed::no(expression) };
    let unit = match call.params.order_by.as_slice() {
        [key] => match key.expr.get_type(schema) {
            Ok(DataType::Timestamp(..)) => "seconds",
            Ok(DataType::Date32) => "days",
            _ => return Transformed::no(expression),
        },
        _ => return Transformed::no(expression),
    };
    let frame = &mut call.params.window_frame;
    if frame.units != WindowFrameUnits::Range {
        return Transformed::no(expression);
    }
    let mut changed = false;
    for bound in [&mut frame.start_bound, &mut frame.end_bound] {
        if let WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) = bound
            && let Some(digits) = digits(offset)
        {
            *offset = ScalarValue::Utf8(Some(format!("{digits} {unit}")));
            changed = true;
        }
    }
    Transformed::new_transformed(expression, changed)
}

/// The number that a frame says, without a unit.
fn digits(offset: &ScalarValue) -> Option<String> {
    let text = match offset {
        ScalarValue::Utf8(Some(text)) => text.clone(),
        number if number.data_type().is_integer() && !number.is_null() => number.to_string(),
        _ => return None,
    };
    text.chars().all(|digit| digit.is_ascii_digit()).then_some(text)
}
