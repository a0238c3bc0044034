//! Rows that are written down: `VALUES (1.0), ('NaN'::double)`.

use granary_common::Result;
use sqlparser::ast::{DataType, Expr, Query, SetExpr, UnaryOperator, Value, ValueWithSpan};

/// Numbers with a fraction are floats in a column of VALUES where any row is cast to a float: as
/// decimals they would make a decimal of the whole column, which holds no NaN.
pub(super) fn floats_beside_floats(query: &mut Query) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_mut() else { return Ok(()) };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    for column in 0..width {
        let mut cells = values.rows.iter().filter_map(|row| row.content.get(column));
        if !cells.any(is_cast_to_float) {
            continue;
        }
        for row in &mut values.rows {
            if let Some(cell) = row.content.get_mut(column)
                && is_fraction(cell)
            {
                *cell =
                    super::calls::substitute("CAST($1 AS Float64)", std::slice::from_ref(cell))?;
            }
        }
    }
    Ok(())
}

fn is_cast_to_float(cell: &Expr) -> bool {
    matches!(
        cell,
        Expr::Cast {
            data_type: DataType::Float(_)
                | DataType::Real
                | DataType::Double(_)
                | DataType::DoublePrecision
                | DataType::Float4
                | DataType::Float8
                | DataType::Float32
                | DataType::Float64,
            ..
        }
    )
}

fn is_fraction(cell: &Expr) -> bool {
    match cell {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.contains('.'),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_fraction(expr),
        _ => false,
    }
}
