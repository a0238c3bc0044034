//! Columns whose values in older rows follow from other columns, and are computed as they are read.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr as Planned, ExprSchemable};
use datafusion::logical_expr::{Volatility, cast};
use granary_catalog::{AddedExpression, Column, ColumnType};
use granary_common::Result;
use sqlparser::ast::Expr;

use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::ttl::{schema_of, settled};

/// How `default` gives the values of `column` in rows that are there, over the columns of the
/// table as the statement has made them so far. `None` where the values have to be written: they
/// would be others each time, or more than a cast makes them values of the type.
pub(super) fn computed(
    column: &Column,
    default: &Expr,
    is_constant: bool,
    (columns, state): (&[Column], &SessionState),
    since: u64,
) -> Result<Option<AddedExpression>> {
    let schema = schema_of(columns)?;
    let bound = bind_expression(state, default, &schema)?;
    let wanted = column.column_type.arrow();
    let data_type = bound.get_type(&schema).map_err(|error| error_from_datafusion(error, None))?;
    let base = column.column_type.base();
    let is_value = is_cast(base) && !data_type.is_nested();
    let is_list = is_list(base) && (data_type == wanted || is_constant);
    if !(is_value || is_list) || changes(&bound)? {
        return Ok(None);
    }
    let Ok(expression) = settled(cast(bound, wanted), &schema, columns, state) else {
        return Ok(None);
    };
    let plain = |column: &Column| Column {
        default: None,
        comment: None,
        codec: None,
        ttl: None,
        ..column.clone()
    };
    let read = columns.iter().filter(|column| expression.columns.contains(&column.id));
    Ok(Some(AddedExpression { inputs: read.map(plain).collect(), expression, since }))
}

/// Whether the expression may be another value for the same row at another time.
fn changes(bound: &Planned) -> Result<bool> {
    let mut found = false;
    let visited = bound.apply(|inner| {
        if let Planned::ScalarFunction(call) = inner {
            found |= call.func.signature().volatility == Volatility::Volatile;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| error_from_datafusion(error, None))?;
    Ok(found)
}

/// Whether an insert makes values of this type by nothing but a cast.
fn is_cast(base: &ColumnType) -> bool {
    matches!(
        base,
        ColumnType::Bool
            | ColumnType::Int8
            | ColumnType::Int16
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::UInt8
            | ColumnType::UInt16
            | ColumnType::UInt32
            | ColumnType::UInt64
            | ColumnType::Float32
            | ColumnType::Float64
            | ColumnType::Decimal(..)
            | ColumnType::String
            | ColumnType::Date
            | ColumnType::DateTime(_)
            | ColumnType::DateTime64(..)
    )
}

/// Lists of such values.
fn is_list(base: &ColumnType) -> bool {
    match base {
        ColumnType::Array(element) => is_cast(element.base()) || is_list(element.base()),
        _ => false,
    }
}
