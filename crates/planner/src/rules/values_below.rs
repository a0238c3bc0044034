//! Scalar subqueries inside of aggregates and windows, where the engine makes no join of them.
//!
//! ```text
//!   Aggregate: count(x = (SELECT ...))          Aggregate: count(x = value)
//!     input                               ──►     Projection: input's columns, (SELECT ...) AS value
//!                                                   input
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Puts them into a projection below, whose subqueries become joins.
#[derive(Debug)]
pub(super) struct ValuesBelow;

impl OptimizerRule for ValuesBelow {
    fn name(&self) -> &str {
        "values_below"
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
        let concerned = matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_));
        if !concerned || config.options().optimizer.enable_physical_uncorrelated_scalar_subquery {
            return Ok(Transformed::no(plan));
        }
        let subqueries = subqueries_of(&plan)?;
        let inputs = plan.inputs();
        let ([input], false) = (inputs.as_slice(), subqueries.is_empty()) else {
            return Ok(Transformed::no(plan));
        };
        let names = config.alias_generator();
        let named: Vec<(Subquery, String)> =
            subqueries.into_iter().map(|of| (of, names.next("__granary_value"))).collect();
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let values = named.iter().map(|(of, name)| Expr::ScalarSubquery(of.clone()).alias(name));
        let below = LogicalPlanBuilder::from((*input).clone())
            .project(columns.chain(values).collect::<Vec<_>>())?
            .build()?;
        let expressions =
            plan.expressions().into_iter().map(|expression| above(expression, &named));
        let expressions = expressions.collect::<Result<Vec<Expr>>>()?;
        let schema = Arc::clone(plan.schema());
        let changed = plan.with_new_exprs(expressions, vec![below])?;
        // A window also gives what its input has, which is more now.
        let shown = schema.columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
        LogicalPlanBuilder::from(changed).project(shown)?.build().map(Transformed::yes)
    }
}

/// The uncorrelated ones of one node.
fn subqueries_of(plan: &LogicalPlan) -> Result<Vec<Subquery>> {
    let mut found = Vec::new();
    for expression in plan.expressions() {
        expression.apply(|inner| {
            if let Expr::ScalarSubquery(subquery) = inner
                && subquery.outer_ref_columns.is_empty()
                && !found.contains(subquery)
            {
                found.push(subquery.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

/// The expression with the columns of the projection, under the name that it had.
fn above(expression: Expr, named: &[(Subquery, String)]) -> Result<Expr> {
    let (relation, name) = expression.qualified_name();
    let changed = expression.transform_up(|inner| {
        let known = match &inner {
            Expr::ScalarSubquery(subquery) => named.iter().find(|(of, _)| of == subquery),
            _ => None,
        };
        Ok(match known {
            Some((_, column)) => Transformed::yes(col(column)),
            None => Transformed::no(inner),
        })
    })?;
    Ok(match changed.transformed {
        true => changed.data.alias_qualified(relation, name),
        false => changed.data,
    })
}
