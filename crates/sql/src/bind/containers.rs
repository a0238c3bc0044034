//! Casts that the engine does not know: of texts to arrays, tuples and maps, where it would take the text
//! for the only element of an array; of tuples to tuples of other names; of decimals to conditions; and
//! those that it does in another way, of numbers to decimals, of times to numbers and back.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, TryCast, cast, lit, try_cast};
use granary_functions::{
    CONVERTED, CONVERTED_OR_NULL, FROM_TEXT, FROM_TEXT_OR_NULL, RENAMED, call, full_time,
    is_container, is_converted, is_renaming, zero_value,
};

use super::fixed::is_text;
use super::spelled::written;

/// Such a cast as the function that does it.
pub(super) fn settle(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (from_text, value, wanted) = match &expression {
        Expr::Cast(Cast { expr, field }) => (FROM_TEXT, expr, field.data_type()),
        Expr::TryCast(TryCast { expr, field }) => (FROM_TEXT_OR_NULL, expr, field.data_type()),
        _ => return Ok(Transformed::no(expression)),
    };
    let is_condition = *wanted == DataType::Boolean;
    if !is_condition && !is_container(wanted) {
        let is_tried = from_text == FROM_TEXT_OR_NULL;
        return match convert(value, wanted, schema, is_tried)? {
            Some(converted) => Ok(Transformed::yes(converted)),
            None => Ok(Transformed::no(expression)),
        };
    }
    let Ok(of) = value.get_type(schema) else { return Ok(Transformed::no(expression)) };
    if is_condition {
        return Ok(match of.is_decimal() {
            true => {
                let zero = cast(lit(0_i64), of);
                Transformed::yes(value.as_ref().clone().not_eq(zero))
            }
            false => Transformed::no(expression),
        });
    }
    let function = match is_text(&of) {
        true => from_text,
        false if from_text == FROM_TEXT && is_renaming(&of, wanted) => RENAMED,
        false => return Ok(Transformed::no(expression)),
    };
    call(function, vec![value.as_ref().clone(), of_type(wanted)?]).map(Transformed::yes)
}

/// A value of the type says which one is meant.
fn of_type(wanted: &DataType) -> Result<Expr> {
    Ok(lit(match zero_value(wanted) {
        Some(zero) => zero,
        None => ScalarValue::try_from(wanted)?,
    }))
}

/// A cast that is done in another way than the engine's.
fn convert(
    value: &Expr,
    wanted: &DataType,
    schema: &DFSchema,
    is_tried: bool,
) -> Result<Option<Expr>> {
    if !matches!(wanted, DataType::Timestamp(..)) && !wanted.is_numeric() {
        return Ok(None);
    }
    let Ok(of) = value.get_type(schema) else { return Ok(None) };
    if !is_converted(&of, wanted) {
        return Ok(None);
    }
    // What is written down stays a constant for those who look for one.
    if let Some(text) = written(value)
        && matches!(wanted, DataType::Timestamp(..))
    {
        return Ok(match (full_time(text), is_tried) {
            (None, _) => None,
            (Some(full), false) => Some(cast(lit(full), wanted.clone())),
            (Some(full), true) => Some(try_cast(lit(full), wanted.clone())),
        });
    }
    let function = if is_tried { CONVERTED_OR_NULL } else { CONVERTED };
    call(function, vec![value.clone(), of_type(wanted)?]).map(Some)
}
