//! Counts of different values are counted: the engine's rule that answers aggregates from statistics
//! takes a column of NULL alone for one with one value.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

use super::Rule;

/// The name of the engine's rule.
const FROM_STATISTICS: &str = "aggregate_statistics";

/// The rules, that one only for plans that count nothing different.
pub(super) fn counting_distinct(rules: Vec<Rule>) -> Vec<Rule> {
    let kept = |rule: Rule| -> Rule {
        match rule.name() == FROM_STATISTICS {
            true => Arc::new(UnlessDistinct(rule)),
            false => rule,
        }
    };
    rules.into_iter().map(kept).collect()
}

#[derive(Debug)]
struct UnlessDistinct(Rule);

impl PhysicalOptimizerRule for UnlessDistinct {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut distinct = false;
        plan.apply(|node| {
            let aggregates = node.downcast_ref::<AggregateExec>();
            distinct |=
                aggregates.is_some_and(|node| node.aggr_expr().iter().any(|of| of.is_distinct()));
            Ok(if distinct { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        match distinct {
            true => Ok(plan),
            false => self.0.optimize(plan, config),
        }
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}
