//! Windows say what they are sorted by in their own words.
//!
//! A sort below a window may name another column than the window is partitioned by, one that a join
//! further down has found equal. Where the plan is cut between the join and the sort, nothing says any
//! more that both are equal, and the window refuses its input. So the sort names the window's columns
//! as well: rows that are sorted by an equal column are sorted by them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::BoundedWindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, InputOrderMode, ReplaceChildrenOptions,
};

/// Puts the columns that a window is partitioned by into the sort below it.
#[derive(Debug)]
pub struct SortByWindowKeys;

/// The sort below `window` by what it is partitioned by too; `None` where it names all of that.
fn named(window: &BoundedWindowAggExec) -> Option<SortExec> {
    let sort = window.input().downcast_ref::<SortExec>()?;
    if window.input_order_mode != InputOrderMode::Sorted {
        return None;
    }
    let keys = window.window_expr().first()?.partition_by();
    let is_named = |key| sort.expr().iter().any(|sorted| sorted.expr.eq(key));
    let missing: Vec<_> = keys.iter().filter(|key| !is_named(*key)).collect();
    if missing.is_empty() {
        return None;
    }
    let missing = missing.into_iter().cloned().map(PhysicalSortExpr::new_default);
    let ordering = LexOrdering::new(missing.chain(sort.expr().iter().cloned()))?;
    let named = SortExec::new(ordering, Arc::clone(sort.input()));
    let named = named.with_preserve_partitioning(sort.preserve_partitioning());
    Some(named.with_fetch(sort.fetch()))
}

impl PhysicalOptimizerRule for SortByWindowKeys {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(sort) = node.downcast_ref::<BoundedWindowAggExec>().and_then(named) else {
                return Ok(Transformed::no(node));
            };
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(vec![Arc::new(sort)], options)?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "SortByWindowKeys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
