//! Which earlier versions a plan reads.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use granary_common::{CatalogVersion, Result, TableId};
use granary_execution::error::from_datafusion;

use super::PartTable;

/// The tables of which `plan` reads a version before the query's own. Whoever runs the plan keeps
/// these versions readable for as long.
pub fn past_reads(plan: &LogicalPlan) -> Result<BTreeSet<(CatalogVersion, TableId)>> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let table = provider.as_ref().downcast_ref::<PartTable>();
            let past =
                table.and_then(|table| Some((table.past_version()?, table.state().table.id)));
            found.extend(past);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|error| from_datafusion(&error))?;
    Ok(found)
}
