//! Queries to DataFusion's logical plans.

use std::collections::HashMap;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as PlannerStatement;
use granary_common::Result;
use sqlparser::ast::{Query, Statement as Tree};

use crate::error_from_datafusion;

/// Binds a query at the session's catalog. `sql` is its text, for errors.
///
/// # Errors
/// InvalidInput for unknown names and wrong types, NotFound for unknown tables, Unsupported for
/// clauses that are not offered.
pub async fn bind_query(state: &SessionState, query: &Query, sql: &str) -> Result<LogicalPlan> {
    let tree = Tree::Query(Box::new(query.clone()));
    state
        .statement_to_plan(PlannerStatement::Statement(Box::new(tree)))
        .await
        .map_err(|error| error_from_datafusion(error, Some(sql)))
}

/// Binds the rows of an INSERT: the plan's columns are the named columns, or all visible ones.
pub async fn bind_insert_source(
    state: &SessionState,
    query: &Query,
    sql: &str,
) -> Result<LogicalPlan> {
    bind_query(state, query, sql).await
}

/// The placeholders of a plan with their types as far as they can be inferred, in order.
pub fn parameter_types(plan: &LogicalPlan) -> Result<Vec<(String, Option<DataType>)>> {
    let types = plan.get_parameter_fields().map_err(|error| error_from_datafusion(error, None))?;
    let types: HashMap<String, Option<FieldRef>> = types;
    let mut named: Vec<(String, Option<DataType>)> = types
        .into_iter()
        .map(|(name, field)| (name, field.map(|field| field.data_type().clone())))
        .collect();
    named.sort_by_key(|(name, _)| {
        let number = name.trim_start_matches('$').parse::<u64>().unwrap_or(u64::MAX);
        (number, name.clone())
    });
    Ok(named)
}

/// The plan with its placeholders replaced. `values` are in the order of [`parameter_types`].
pub fn with_parameters(plan: LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    let values = ParamValues::from(values);
    plan.with_param_values(values).map_err(|error| error_from_datafusion(error, None))
}
