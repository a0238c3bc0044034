//! Partitions that statements name, as values of the table's partition key.

use arrow::array::ArrayRef;
use datafusion::execution::SessionState;
use granary_catalog::{Column, Table};
use granary_common::{Error, Result};
use sqlparser::ast::{BinaryOperator, Expr};

use crate::insert::one_value;
use crate::statement::{PartitionClause, parse_expression};

/// One value, as an array of one row, for each expression of the partition key.
///
/// # Errors
/// InvalidInput for another number of values than the key has, and for a value that is none of the
/// key's type.
pub fn partition_values(
    table: &Table,
    values: &[Expr],
    state: &SessionState,
) -> Result<Vec<ArrayRef>> {
    check_shape(table, values)?;
    let keys = key_columns(table)?;
    let value = |(column, value): (&&Column, &Expr)| {
        one_value(column, value, state).map_err(|error| {
            error.context(format!("'{value}' is no partition of table '{}'", table.name))
        })
    };
    keys.iter().zip(values).map(value).collect()
}

/// The condition that a row is in the partition; `None` when every row is.
pub(crate) fn partition_condition(table: &Table, clause: &PartitionClause) -> Result<Option<Expr>> {
    let values = match clause {
        PartitionClause::All => return Ok(None),
        PartitionClause::Id(_) => {
            let message = "IN PARTITION takes a partition's value here, not its ID";
            return Err(Error::unsupported(message));
        }
        PartitionClause::Values(values) => values,
    };
    check_shape(table, values)?;
    let mut conditions = Vec::with_capacity(values.len());
    for (key, value) in table.partition_by.iter().zip(values) {
        conditions.push(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(parse_expression(&key.text)?))),
            op: BinaryOperator::Eq,
            right: Box::new(Expr::Nested(Box::new(value.clone()))),
        });
    }
    Ok(conditions.into_iter().reduce(both))
}

/// `left AND right`.
pub(crate) fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op: BinaryOperator::And,
        right: Box::new(Expr::Nested(Box::new(right))),
    }
}

fn check_shape(table: &Table, values: &[Expr]) -> Result<()> {
    let keys: Vec<&str> = table.partition_by.iter().map(|key| key.text.as_str()).collect();
    match (keys.len(), values.len()) {
        (expected, given) if expected == given => Ok(()),
        (0, _) => Err(Error::invalid(format!(
            "table '{}' has no PARTITION BY: name its only partition tuple(), or write PARTITION ALL",
            table.name
        ))),
        (expected, given) => Err(Error::invalid(format!(
            "a partition of table '{}' has {expected} values ({}), {given} given",
            table.name,
            keys.join(", ")
        ))),
    }
}

fn key_columns(table: &Table) -> Result<Vec<&Column>> {
    let column = |key: &granary_catalog::KeyExpression| {
        table.column(key.column).ok_or_else(|| {
            Error::internal(format!("the partition key names column {}, which is gone", key.column))
        })
    };
    table.partition_by.iter().map(column).collect()
}
