//! Looks for part files that nothing refers to.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Clock, Result};
use granary_storage::{Volume, sweep_orphans};

use crate::part_ids::LeasedPartIds;

/// Before the first sweep, so that a start is not slowed down by it.
const FIRST_AFTER: Duration = Duration::from_secs(20);

/// Sweeps one local volume.
#[derive(Debug)]
pub struct Sweeper {
    pub catalog: Arc<dyn Catalog>,
    pub ids: Arc<LeasedPartIds>,
    pub volume: Arc<Volume>,
}

impl Sweeper {
    /// Sweeps every `interval`, for ever.
    pub async fn run(self, clock: Arc<dyn Clock>, interval: Duration) {
        clock.sleep(FIRST_AFTER.min(interval)).await;
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "orphaned part files were not looked for");
            }
            clock.sleep(interval).await;
        }
    }

    /// Deletes part files that neither the catalog nor a lease refers to. No range is leased in
    /// between, so the snapshot knows of every id that a file may have.
    pub async fn sweep(&self) -> Result<()> {
        let leases = self.ids.hold_leases().await;
        let snapshot = self.catalog.read_latest().await?;
        let swept = sweep_orphans(&self.volume, &snapshot).await?;
        drop(leases);
        if !swept.deleted.is_empty() {
            tracing::info!(
                parts = swept.deleted.len(),
                bytes = swept.bytes,
                "deleted part files that nothing refers to"
            );
        }
        Ok(())
    }
}
