//! Expressions that are settled one by one, wherever they stand in a plan.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The plan with every expression, and every part of it, as `settle` leaves it over what its operator
/// reads. Columns keep their names.
pub(super) fn of_plan(
    plan: LogicalPlan,
    settle: impl Fn(Expr, &DFSchema) -> Transformed<Expr>,
) -> Result<LogicalPlan> {
    let settled = plan.transform_up_with_subqueries(|plan| {
        let schema = read_by(&plan);
        of_operator(plan, |inner| Ok(settle(inner, &schema)))
    })?;
    Ok(settled.data)
}

/// The same for one operator.
pub(super) fn of_operator(
    operator: LogicalPlan,
    settle: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let preserver = NamePreserver::new(&operator);
    operator.map_expressions(|expression| {
        let name = preserver.save(&expression);
        let changed = expression.transform_up(&settle)?;
        Ok(match changed.transformed {
            true => changed.update_data(|expression| name.restore(expression)),
            false => changed,
        })
    })
}

/// The columns that the expressions of an operator are over.
pub(super) fn read_by(operator: &LogicalPlan) -> DFSchema {
    match operator.inputs().as_slice() {
        [] => operator.schema().as_ref().clone(),
        inputs => merge_schema(inputs),
    }
}
