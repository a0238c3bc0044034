//! How many tasks read files from outside, and which of them.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{
    DesiredTaskCountEventResponse, DistributedLeafExec, ScaleUpLeafNodeEventResponse,
};
use granary_execution::OutsideScanExec;

use super::EngineResult;
use crate::topology::Topology;

/// Files from outside are waited for more than they are worked on, so each worker takes some of them,
/// and of long ones that can be cut a part each.
pub(super) fn outside_tasks(
    scan: &OutsideScanExec,
    topology: &Topology,
) -> DesiredTaskCountEventResponse {
    let workers = topology.workers.len().max(1);
    if scan.spec().groups.len() <= 1 {
        return DesiredTaskCountEventResponse::maximum(1);
    }
    let worth_it = scan.spec().scan.deal(workers).iter().filter(|group| !group.is_empty()).count();
    DesiredTaskCountEventResponse::desired(worth_it.max(1))
}

/// The scan dealt out to `tasks`.
pub(super) fn outside_over_tasks(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &OutsideScanExec,
    tasks: usize,
    topology: &Topology,
) -> EngineResult<ScaleUpLeafNodeEventResponse> {
    let variants = scan.dealt(tasks, topology.task_partitions)?.into_iter();
    let variants: Vec<_> = variants.map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>).collect();
    let leaf = DistributedLeafExec::try_new(Arc::clone(plan), variants)?;
    Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
}
