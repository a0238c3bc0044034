//! Scalar subqueries as aggregates: one value, NULL without a row, an error with several.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::single_value::single_value;

/// The only row of `plan`, under the same name.
pub fn single_row(plan: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let (qualifier, field) = plan.schema().qualified_field(0);
    let column = Expr::Column((qualifier, field).into());
    let call = AggregateFunction::new_udf(single_value(), vec![column], false, None, vec![], None);
    let call = Expr::AggregateFunction(call);
    let name = call.schema_name().to_string();
    LogicalPlanBuilder::new_from_arc(Arc::clone(plan))
        .aggregate(Vec::<Expr>::new(), vec![call])?
        .project(vec![Expr::Column(Column::from_name(name)).alias(field.name())])?
        .build()
}

/// `plan` with uncorrelated scalar subqueries that may be NULL where their column is not: without a
/// row they are, and DataFusion takes the column's word for it.
pub fn nullable_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    let any_changed = Cell::new(false);
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let plan = plan.map_expressions(|expression| expression.transform_up(nullable))?;
        any_changed.set(any_changed.get() || plan.transformed);
        // What lies above takes its schema from what has changed.
        match any_changed.get() {
            true => Ok(Transformed::yes(plan.data.recompute_schema()?)),
            false => Ok(plan),
        }
    })?;
    Ok(rewritten.data)
}

fn nullable(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = expression else {
        return Ok(Transformed::no(expression));
    };
    let is_nullable = subquery.subquery.schema().field(0).is_nullable();
    let is_correlated = !subquery.outer_ref_columns.is_empty();
    if is_nullable || is_correlated || gives_one_row(&subquery.subquery) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let plan = single_row(&subquery.subquery)?;
    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery })))
}

/// Whether there is always exactly one row.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch != Some(0) && gives_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}
