//! Rows that are written down: `VALUES (1.0), ('NaN'::double)`.

use std::ops::ControlFlow;

use granary_common::Result;
use sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    Select, SelectItem, SetExpr, SetOperator, SetQuantifier, UnaryOperator, Value, ValueWithSpan,
};

use super::templates;
use crate::walk::visit_expressions;

/// Rows with subqueries in them become one SELECT each: the engine computes VALUES before any query.
pub(super) fn with_subqueries(query: &mut Query) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_ref() else { return Ok(()) };
    let has_subquery = visit_expressions(values, |expression| match expression {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if has_subquery.is_continue() {
        return Ok(());
    }
    let mut all: Option<SetExpr> = None;
    for row in &values.rows {
        let mut one = templates::query("SELECT 1")?;
        if let SetExpr::Select(select) = one.body.as_mut() {
            let cells = row.content.iter().enumerate();
            select.projection = cells
                .map(|(place, cell)| SelectItem::ExprWithAlias {
                    expr: cell.clone(),
                    alias: Ident::new(format!("column{}", place + 1)),
                })
                .collect();
        }
        all = Some(match all {
            None => *one.body,
            Some(before) => SetExpr::SetOperation {
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                left: Box::new(before),
                right: one.body,
            },
        });
    }
    if let Some(all) = all {
        *query.body = all;
    }
    Ok(())
}

/// `SELECT (count(), sum(x))`: a tuple of anything is made by a function, the engine's own syntax takes names
/// and constants only.
pub(super) fn in_projection(select: &mut Select) -> Result<()> {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }) = item
        else {
            continue;
        };
        tuple_as_call(value)?;
    }
    Ok(())
}

/// The same for tuples that functions, arrays and choices are given: `toString((a + 1, b))`.
pub(super) fn tuples_within(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
            list.args.iter_mut().try_for_each(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => tuple_as_call(value),
                _ => Ok(()),
            })
        }
        Expr::Array(array) => array.elem.iter_mut().try_for_each(tuple_as_call),
        Expr::Case { conditions, else_result, .. } => {
            let results = conditions.iter_mut().map(|when| &mut when.result);
            results.chain(else_result.as_deref_mut()).try_for_each(tuple_as_call)
        }
        Expr::Cast { expr, .. } => tuple_as_call(expr),
        Expr::CompoundFieldAccess { root, .. } => tuple_as_call(root),
        _ => Ok(()),
    }
}

fn tuple_as_call(value: &mut Expr) -> Result<()> {
    if let Expr::Tuple(parts) = value
        && !parts.iter().all(|part| matches!(part, Expr::Identifier(_) | Expr::Value(_)))
    {
        parts.iter_mut().try_for_each(tuple_as_call)?;
        *value = super::with_arguments(templates::expression("struct()")?, parts.clone());
    }
    Ok(())
}

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

/// Texts are dates or times in a column of VALUES where any row is written as one.
pub(super) fn times_beside_texts(query: &mut Query) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_mut() else { return Ok(()) };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    for column in 0..width {
        let mut cells = values.rows.iter().filter_map(|row| row.content.get(column));
        let Some(of) = cells.find_map(time_type) else { continue };
        for row in &mut values.rows {
            if let Some(cell) = row.content.get_mut(column)
                && super::zoned::text_of(cell).is_some()
            {
                let text = format!("CAST($1 AS {of})");
                *cell = super::calls::substitute(&text, std::slice::from_ref(cell))?;
            }
        }
    }
    Ok(())
}

fn time_type(cell: &Expr) -> Option<DataType> {
    match cell {
        Expr::TypedString(literal) => Some(&literal.data_type),
        Expr::Cast { data_type, .. } => Some(data_type),
        _ => None,
    }
    .filter(|of| {
        matches!(
            of,
            DataType::Date | DataType::Date32 | DataType::Time(..) | DataType::Timestamp(..)
        )
    })
    .cloned()
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

pub(super) fn is_fraction(cell: &Expr) -> bool {
    match cell {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.contains('.'),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_fraction(expr),
        _ => false,
    }
}
