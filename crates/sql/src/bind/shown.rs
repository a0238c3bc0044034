//! Rows as clients see them: an address (IPv4) is kept as a number and shown as its text.

use datafusion::common::{Column, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use granary_catalog::ColumnType;
use granary_functions::call;

use super::declared::declared_type;
use super::names::Names;
use crate::error_from_datafusion;

/// `plan` with its addresses as texts. For what leaves the server: within it they are numbers.
///
/// # Errors
/// None but internal ones.
pub fn as_shown(plan: LogicalPlan, state: &SessionState) -> granary_common::Result<LogicalPlan> {
    shown(plan, state).map_err(|error| error_from_datafusion(error, None))
}

fn shown(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let names = Names::of(state, "");
    let columns: Vec<Column> = plan.schema().iter().map(Column::from).collect();
    let is_address = |column: &Column| {
        let declared = declared_type(column, &plan, &names);
        declared.is_some_and(|declared| *declared.base() == ColumnType::Ipv4)
    };
    let addresses: Vec<bool> = columns.iter().map(is_address).collect();
    if !addresses.contains(&true) {
        return Ok(plan);
    }
    let expressions =
        columns.into_iter().zip(addresses).map(|(column, is_address)| {
            let value = Expr::Column(column.clone());
            match is_address {
                true => Ok(call("IPv4NumToString", vec![value])?
                    .alias_qualified(column.relation, column.name)),
                false => Ok(value),
            }
        });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(expressions)?.build()
}
