//! What plans that are cut say of themselves, before and after they ran.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{
    DistributedExec, DistributedExt, DistributedMetricsFormat, display_plan_ascii,
    rewrite_distributed_plan_with_metrics,
};
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;

/// How long to wait for what the workers say of their operators.
const METRICS_WAIT_MAX: Duration = Duration::from_secs(10);

/// Has the workers tell what each operator of the session's query did, for [`display_executed`].
pub fn measure(state: &mut SessionState) -> Result<()> {
    let measured = state.config_mut().set_distributed_metrics_collection(true);
    measured.map_err(|error| from_datafusion(&error))
}

/// The plan as text, stage by stage.
pub fn display(plan: &Arc<dyn ExecutionPlan>) -> String {
    display_plan_ascii(plan.as_ref(), false)
}

/// What went between nodes while a plan ran, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Between tasks: shuffles, broadcasts and parts read from afar.
    pub exchanged: u64,
    /// Results on their way to the coordinator.
    pub gathered: u64,
}

/// The plan that ran in a session that was to [`measure`], with what each operator did, and the traffic.
pub async fn display_executed(plan: &Arc<dyn ExecutionPlan>) -> Result<(String, Traffic)> {
    let executed = match plan.is::<DistributedExec>() {
        true => {
            let format = DistributedMetricsFormat::Aggregated;
            let rewritten = rewrite_distributed_plan_with_metrics(Arc::clone(plan), format);
            let in_time = tokio::time::timeout(METRICS_WAIT_MAX, rewritten).await;
            in_time
                .map_err(|_| Error::unavailable("a worker did not say what it has done"))?
                .map_err(|error| from_datafusion(&error))?
        }
        false => Arc::clone(plan),
    };
    let mut traffic = Traffic::default();
    count_traffic(&executed, true, &mut traffic);
    Ok((display_plan_ascii(executed.as_ref(), true), traffic))
}

/// Adds up what boundaries and scans below `plan` moved.
fn count_traffic(plan: &Arc<dyn ExecutionPlan>, in_head: bool, traffic: &mut Traffic) {
    let sum = |name: &str| {
        let metrics = plan.metrics().unwrap_or_default();
        let values = metrics.iter().filter(|metric| metric.value().name() == name);
        values.map(|metric| metric.value().as_usize() as u64).sum::<u64>()
    };
    let boundary = plan.name().starts_with("Network");
    if boundary {
        let bytes = sum("bytes_transferred");
        if in_head && plan.name() == "NetworkCoalesceExec" {
            traffic.gathered += bytes;
        } else {
            traffic.exchanged += bytes;
        }
    }
    if plan.children().is_empty() {
        traffic.exchanged += sum("remote_bytes");
    }
    for child in plan.children() {
        count_traffic(child, in_head && !boundary, traffic);
    }
}
