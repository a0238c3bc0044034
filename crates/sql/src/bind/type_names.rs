//! `toTypeName(x)` where the plan tells the type: also whether it has NULL, which values do not show.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use granary_functions::column_type_from_arrow;

/// The name of the type of `value`; `fixed_length` is that of its values if they are FixedStrings.
/// `None` when only the values tell.
pub(super) fn name(value: &Expr, schema: &DFSchema, fixed_length: Option<usize>) -> Option<Expr> {
    let data_type = value.get_type(schema).ok()?;
    let nullable = may_be_null(value, schema);
    let name = match (&data_type, fixed_length) {
        (DataType::Null, _) => return None,
        (DataType::BinaryView, None) => return None,
        (DataType::BinaryView, Some(length)) if nullable => {
            format!("Nullable(FixedString({length}))")
        }
        (DataType::BinaryView, Some(length)) => format!("FixedString({length})"),
        _ => column_type_from_arrow(&data_type, nullable).ok()?.to_string(),
    };
    Some(lit(name))
}

/// Whether a value may be NULL where the columns that it is computed from say so. The engine takes
/// most functions to give NULL now and then, which would make every type nullable.
pub(crate) fn may_be_null(value: &Expr, schema: &DFSchema) -> bool {
    let any = |values: &[Expr]| values.iter().any(|value| may_be_null(value, schema));
    match value {
        Expr::Alias(alias) => may_be_null(&alias.expr, schema),
        Expr::Cast(cast) => may_be_null(&cast.expr, schema),
        Expr::Literal(value, _) => ScalarValue::is_null(value),
        Expr::BinaryExpr(binary) => {
            may_be_null(&binary.left, schema) || may_be_null(&binary.right, schema)
        }
        Expr::Case(case) => {
            let mut results = case.when_then_expr.iter().map(|(_, result)| result);
            let otherwise = case.else_expr.as_ref();
            otherwise.is_none_or(|value| may_be_null(value, schema))
                || results.any(|result| may_be_null(result, schema))
        }
        Expr::ScalarFunction(function) => match function.func.name() {
            "coalesce" => function.args.iter().all(|value| may_be_null(value, schema)),
            "nullif" | "toNullable" | "array_element" => true,
            name if name.ends_with("OrNull") || name.ends_with("Nullable") => true,
            _ => any(&function.args),
        },
        other => other.nullable(schema).unwrap_or(true),
    }
}
