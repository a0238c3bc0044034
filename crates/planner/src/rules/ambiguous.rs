//! Columns of one name in the output of one operator, as joins of two tables with a column `id` have
//! them. The engine's rules that move filters towards the scans find columns below by their names, and
//! would move a filter on one of them to the other. While they run, filters stop above such operators.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::Rule;

/// How the names of the rules begin that move filters.
const MOVERS: &str = "FilterPushdown";

/// The rules, those that move filters with bars in their way.
pub(super) fn with_bars(rules: Vec<Rule>) -> Vec<Rule> {
    let barred = |rule: Rule| -> Rule {
        match rule.name().starts_with(MOVERS) {
            true => Arc::new(Barred(rule)),
            false => rule,
        }
    };
    rules.into_iter().map(barred).collect()
}

/// A rule that runs on a plan with bars, which are gone afterwards.
#[derive(Debug)]
struct Barred(Rule);

impl PhysicalOptimizerRule for Barred {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !has_ambiguous(&plan)? {
            return self.0.optimize(plan, config);
        }
        let with_bars = plan.transform_up(|node| {
            Ok(match is_ambiguous(&node) {
                true => Transformed::yes(Arc::new(BarExec(node)) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(node),
            })
        })?;
        let moved = self.0.optimize(with_bars.data, config)?;
        let without_bars = moved.transform_up(|node| {
            Ok(match node.downcast_ref::<BarExec>() {
                Some(bar) => Transformed::yes(Arc::clone(&bar.0)),
                None => Transformed::no(node),
            })
        })?;
        Ok(without_bars.data)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

fn has_ambiguous(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= is_ambiguous(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn is_ambiguous(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = plan.schema();
    let mut names = HashSet::with_capacity(schema.fields().len());
    !schema.fields().iter().all(|field| names.insert(field.name()))
}

/// Its input, which no filter gets into.
#[derive(Debug)]
struct BarExec(Arc<dyn ExecutionPlan>);

impl DisplayAs for BarExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BarExec")
    }
}

impl ExecutionPlan for BarExec {
    fn name(&self) -> &str {
        "BarExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(BarExec(input))),
            _ => internal_err!("BarExec has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.0.execute(partition, context)
    }
}
