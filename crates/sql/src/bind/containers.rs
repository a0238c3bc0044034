//! Texts that are cast to arrays, tuples and maps. The engine would take the text for the only element
//! of an array.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, TryCast, lit};
use granary_functions::{FROM_TEXT, FROM_TEXT_OR_NULL, call, is_container, zero_value};

use super::fixed::is_text;

/// A cast of a text to a type whose values hold others, as the function that reads it.
pub(super) fn from_text(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (name, text, wanted) = match &expression {
        Expr::Cast(Cast { expr, field }) => (FROM_TEXT, expr, field.data_type()),
        Expr::TryCast(TryCast { expr, field }) => (FROM_TEXT_OR_NULL, expr, field.data_type()),
        _ => return Ok(Transformed::no(expression)),
    };
    if !is_container(wanted) || !text.get_type(schema).is_ok_and(|of| is_text(&of)) {
        return Ok(Transformed::no(expression));
    }
    // A value of the type says which one is meant.
    let of_type = match zero_value(wanted) {
        Some(zero) => zero,
        None => ScalarValue::try_from(wanted)?,
    };
    call(name, vec![text.as_ref().clone(), lit(of_type)]).map(Transformed::yes)
}
