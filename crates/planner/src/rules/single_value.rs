//! Scalar subqueries keep their promise of at most one row when they become joins.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use granary_execution::single_value::single_value;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// The engine's logical rules, and before them the check of scalar subqueries.
pub fn logical_rules() -> Vec<Rule> {
    let mut rules = Optimizer::new().rules;
    rules.insert(0, Arc::new(SingleValueSubqueries));
    rules
}

/// Puts `single_value` around every uncorrelated scalar subquery that may give several rows, where
/// it is about to become a join. Correlated ones are refused unless they aggregate.
#[derive(Debug)]
struct SingleValueSubqueries;

impl OptimizerRule for SingleValueSubqueries {
    fn name(&self) -> &str {
        "single_value_subqueries"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if config.options().optimizer.enable_physical_uncorrelated_scalar_subquery {
            return Ok(Transformed::no(plan)); // The operator that runs them checks them.
        }
        plan.map_expressions(|expression| expression.transform_up(checked))
    }
}

fn checked(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = expression else {
        return Ok(Transformed::no(expression));
    };
    let may_give_more = subquery.subquery.max_rows().is_none_or(|rows| rows > 1);
    if !may_give_more || !subquery.outer_ref_columns.is_empty() {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let plan = single_row(&subquery.subquery)?;
    let checked = Subquery { subquery: Arc::new(plan), ..subquery };
    Ok(Transformed::yes(Expr::ScalarSubquery(checked)))
}

/// The only row of `plan`, under the same name.
fn single_row(plan: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
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
