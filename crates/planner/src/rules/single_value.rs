//! Scalar subqueries keep their promise of at most one row when they become joins.

use std::sync::Arc;

use super::values_below::ValuesBelow;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use granary_execution::subqueries::{nullable_subqueries, single_row};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// The engine's logical rules, and before them the check of scalar subqueries and those in aggregates.
pub fn logical_rules() -> Vec<Rule> {
    let mut rules = Optimizer::new().rules;
    rules.insert(0, Arc::new(SingleValueSubqueries));
    rules.insert(1, Arc::new(ValuesBelow));
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

/// Scalar subqueries that may give no row are NULL then, whatever their column says.
#[derive(Debug)]
pub struct NullableSubqueries;

impl AnalyzerRule for NullableSubqueries {
    fn name(&self) -> &str {
        "nullable_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        nullable_subqueries(plan)
    }
}
