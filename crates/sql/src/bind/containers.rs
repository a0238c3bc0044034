//! Casts that the engine does not know: of texts to arrays, tuples and maps, where it would take the text
//! for the only element of an array; of tuples to tuples of other names; of decimals to conditions.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, TryCast, cast, lit};
use granary_functions::{
    FROM_TEXT, FROM_TEXT_OR_NULL, RENAMED, call, is_container, is_renaming, zero_value,
};

use super::fixed::is_text;

/// Such a cast as the function that does it.
pub(super) fn settle(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (from_text, value, wanted) = match &expression {
        Expr::Cast(Cast { expr, field }) => (FROM_TEXT, expr, field.data_type()),
        Expr::TryCast(TryCast { expr, field }) => (FROM_TEXT_OR_NULL, expr, field.data_type()),
        _ => return Ok(Transformed::no(expression)),
    };
    let is_condition = *wanted == DataType::Boolean;
    if !is_condition && !is_container(wanted) {
        return Ok(Transformed::no(expression));
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
    // A value of the type says which one is meant.
    let of_type = match zero_value(wanted) {
        Some(zero) => zero,
        None => ScalarValue::try_from(wanted)?,
    };
    call(function, vec![value.as_ref().clone(), lit(of_type)]).map(Transformed::yes)
}
