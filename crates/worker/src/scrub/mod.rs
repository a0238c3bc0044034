//! Parts that no query reads are read from time to time, slowly, so that damage is found while another
//! copy is whole.
//!
//! ```text
//!   a round, once in a period ─► every part here, in turn, at so many bytes a second
//!       whole ─► on to the next        damaged ─► noted, and mended as what a query meets
//! ```

mod plan;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, Part};
use granary_common::units::{KIB, MIB};
use granary_common::{Clock, PartId, TableId, WorkerId};
use granary_execution::ScrubReport;
use granary_storage::merge::Throttle;
use granary_storage::{MetPart, PartRef};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::local::LocalWorker;
use crate::metrics::count_scrubbed;
use crate::replicate::Pace;
use plan::{Progress, held, looks_after, pause};

/// Before the first look, so that a start is not slowed down by it.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// A part costs as much time as so many bytes, however small it is.
const PART_BYTES_MIN: u64 = 256 * KIB;
/// Between two notes of how far it has come.
const REMEMBER_EVERY_MS: u64 = 10_000;

/// How fast and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Bytes a second that are read; 0: nothing is.
    pub bytes_per_s: u64,
    /// No part is read twice within it.
    pub period: Duration,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        ScrubSettings { bytes_per_s: 8 * MIB, period: Duration::from_secs(14 * 24 * 3600) }
    }
}

/// How far the scrub has come, for others to see.
#[derive(Debug, Default)]
pub struct Scrubbed(Mutex<ScrubReport>);

impl Scrubbed {
    /// What there is to tell.
    pub fn report(&self) -> ScrubReport {
        *self.0.lock()
    }

    fn note(&self, change: impl FnOnce(&mut ScrubReport)) {
        change(&mut self.0.lock());
    }
}

/// Reads this worker's parts.
#[derive(Debug)]
pub struct Scrubber {
    worker: WorkerId,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    local: Arc<LocalWorker>,
    settings: ScrubSettings,
    pace: Pace,
    /// Where it is written down how far it has come.
    file: PathBuf,
}

impl Scrubber {
    /// A scrub of `local`'s parts that remembers in `file` how far it has come.
    pub fn new(
        catalog: &Arc<dyn Catalog>,
        clock: &Arc<dyn Clock>,
        local: &Arc<LocalWorker>,
        settings: ScrubSettings,
        file: PathBuf,
    ) -> Scrubber {
        Scrubber {
            worker: local.worker(),
            catalog: Arc::clone(catalog),
            clock: Arc::clone(clock),
            local: Arc::clone(local),
            settings,
            pace: Pace::new(Arc::clone(clock), settings.bytes_per_s),
            file,
        }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if self.settings.bytes_per_s > 0 {
            stop.run_until_cancelled(self.rounds()).await;
        }
    }

    async fn rounds(&self) {
        let mut progress = self.remembered().await;
        let ended_ms = progress.ended_ms;
        self.local.scrubbed().note(|report| report.finished_ms = ended_ms);
        self.clock.sleep(FIRST_AFTER.min(self.settings.period)).await;
        loop {
            let pause = pause(&progress, self.clock.now_ms(), self.settings.period);
            match pause.is_zero() {
                true => self.round(&mut progress).await,
                false => self.clock.sleep(pause).await,
            }
        }
    }

    /// The parts that are left of a round, to its end.
    async fn round(&self, progress: &mut Progress) {
        let parts = held(&self.catalog.snapshot(), self.worker, progress.last);
        self.local.scrubbed().note(|report| {
            (report.parts_of_round, report.parts_of_round_checked) = (parts.len() as u64, 0);
        });
        let mut remembered_ms = self.clock.monotonic_ms();
        for (part, table) in parts {
            self.look_at(table, part).await;
            progress.last = Some(part);
            self.local.scrubbed().note(|report| report.parts_of_round_checked += 1);
            if self.clock.monotonic_ms() >= remembered_ms + REMEMBER_EVERY_MS {
                self.remember(progress).await;
                remembered_ms = self.clock.monotonic_ms();
            }
        }
        *progress = Progress { last: None, ended_ms: Some(self.clock.now_ms()) };
        let ended_ms = progress.ended_ms;
        self.local.scrubbed().note(|report| report.finished_ms = ended_ms);
        self.remember(progress).await;
    }

    /// Reads a part that is still here and not known to be damaged.
    async fn look_at(&self, table: TableId, part: PartId) {
        let snapshot = self.catalog.snapshot();
        let Some(state) = snapshot.tables.get(&table) else { return };
        let is_here = |part: &&Arc<Part>| looks_after(state, part, self.worker);
        let Some(part) = state.parts.get(&part).filter(is_here) else { return };
        let copy = MetPart::from(&PartRef::at(part, snapshot.version)).copy(self.worker);
        if snapshot.damage.contains_key(&copy) {
            return; // It is known, and seen to.
        }
        self.pace.admit(PART_BYTES_MIN.saturating_sub(part.bytes)).await;
        match self.local.scrub_part(PartRef::at(part, snapshot.version), &self.pace).await {
            Ok(is_damaged) => {
                self.local.scrubbed().note(|report| {
                    report.parts_checked += 1;
                    report.bytes_checked += part.bytes;
                    report.parts_damaged += u64::from(is_damaged);
                });
                count_scrubbed(part.bytes, is_damaged);
            }
            Err(error) => tracing::warn!(part = %part.id, %error, "a part was not looked at"),
        }
    }

    /// A scrub that has forgotten how far it came begins anew.
    async fn remembered(&self) -> Progress {
        let read = tokio::fs::read(&self.file).await.ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Not synced: what a crash loses is only read again.
    async fn remember(&self, progress: &Progress) {
        let written = async {
            let temporary = self.file.with_extension("new");
            tokio::fs::write(&temporary, serde_json::to_vec(progress)?).await?;
            tokio::fs::rename(&temporary, &self.file).await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "how far the scrub has come is not written down");
        }
    }
}
