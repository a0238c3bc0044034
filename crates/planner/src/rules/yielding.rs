//! Joins that make very many batches of one go back to the scheduler now and then.
//!
//! Operators count the batches that leaves give, and go back to the scheduler after some. A join of
//! everything with everything makes so many batches of one that its leaves are hardly ever asked: the
//! aggregate above it would keep its thread for minutes, in which nothing else on the thread is served,
//! not even what cancels the query. So its own batches are counted too.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};

/// Counts the batches of cross joins and nested loop joins.
#[derive(Debug)]
pub struct YieldInJoins;

impl PhysicalOptimizerRule for YieldInJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>() {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node))));
            }
            Ok(Transformed::no(node))
        })
        .data()
    }

    fn name(&self) -> &str {
        "YieldInJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
