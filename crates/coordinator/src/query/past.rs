//! Earlier versions stay readable while a plan that reads them runs.

use std::sync::Arc;
use std::time::Duration;

use datafusion::logical_expr::LogicalPlan;
use granary_common::{Error, Result};
use granary_planner::past_reads;

use super::Pin;
use crate::core::Coordinator;

/// For how long a heartbeat is waited for.
const BEAT_MAX: Duration = Duration::from_secs(10);

/// Pins the lowest version that `plan` reads below its own; `None` when it reads none.
///
/// The pin counts once a heartbeat has carried it to the metadata group. What the tables' histories
/// are after that holds for as long as the pin does: see `granary_catalog::history`. Kind
/// `InvalidInput` when a version went meanwhile.
pub async fn hold_past(core: &Arc<Coordinator>, plan: &LogicalPlan) -> Result<Option<Pin>> {
    let reads = past_reads(plan)?;
    let Some((lowest, _)) = reads.first().copied() else { return Ok(None) };
    let pin = core.pins.pin(lowest);
    tokio::select! {
        () = core.pins.reported(lowest) => {}
        () = core.with.clock.sleep(BEAT_MAX) => {
            return Err(Error::unavailable("the metadata group did not answer in time"));
        }
    }
    let latest = core.with.catalog.read_latest().await?;
    if !core.holds_lease() {
        return Err(Error::unavailable("this coordinator has lost the metadata group"));
    }
    for (version, table) in reads {
        let state = latest.tables.get(&table);
        if state.is_none_or(|state| latest.readable_from(state) > version) {
            return Err(Error::invalid(format!(
                "version {version} went while the query was planned: it is not kept any more"
            )));
        }
    }
    Ok(Some(pin))
}
