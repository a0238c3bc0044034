//! Merges of the buckets that this worker leads.
//!
//! ```text
//!   snapshot ─ lanes ─ choose ─► book ─ job ─► MergeParts
//!                                 ▲
//!   OPTIMIZE ─────────────────────┘   waits for whoever works on its parts
//! ```
//!
//! [`choose`] decides, without clock and I/O; the loop here performs. Results that cannot be
//! committed leave no trace, so a merge may be dropped at any await.

mod book;
mod choose;
mod job;
mod lanes;
mod lives;
mod optimize;
mod rewrite;
#[cfg(test)]
mod simulation;
mod split;
#[cfg(test)]
mod split_tests;
mod stored;
mod stored_split;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use granary_catalog::{Catalog, Part, PartLocation, Snapshot, TableState, TtlPlace};
use granary_common::{Clock, ErrorKind, PartId, TaskOwner, WorkerId};
use granary_execution::{ActiveWork, RunningMerge};
use granary_storage::Tiers;
use granary_storage::merge::MergeProgress;
use granary_storage::merge_pick::{PickLimits, Pool, Reason};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use book::{Book, Entry, Place};
use choose::{Start, choose, may_start, parts_for_memory};
pub use job::Replaced;
use job::{Committer, Ended, Job};
use lanes::{Look, Memory};
use lives::Lives;
use stored::MakesRoom;

pub use job::Merger;

/// What decides here, and what runs a merge to its commit.
pub mod decisions {
    pub use super::book::Lane;
    pub use super::job::{CarryOver, Committer, Ended, Job, Made, Merger, Replaced};
    pub use super::lanes::led;
    pub use super::split::{SplitCarryOver, SplitDeletions, SplitJob, SplitMade, choose_splits};
}
pub use stored::{StoredParts, bound_indexes, made_projections, skip_indexes};

use crate::replicate::Pace;

/// Between two looks at the catalog at least.
const ROUND_MIN: Duration = Duration::from_millis(250);
/// Between two looks when nothing changes; parts grow old meanwhile.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// How often a merge that makes room looks whether it may start.
const CALM_INTERVAL: Duration = Duration::from_millis(50);
/// Background merges together read so many times what one may.
const POOL_FACTOR: u64 = 2;

/// What bounds the merges of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeSettings {
    /// Merges at a time; 0 leaves only those that a statement asks for, one at a time.
    pub merges_max: usize,
    /// Bytes of memory of all merges together, about.
    pub memory_bytes_max: u64,
    /// Bytes that a background merge reads at most, unless the table says it itself.
    pub merge_bytes_max: u64,
    /// Bytes a second that background merges read together at most; 0: no limit.
    pub bytes_per_s_max: u64,
    /// Threads that queries run on; while more queries and inserts are active, merges make room.
    pub threads: usize,
    /// Where parts may move.
    pub tiers: Arc<Tiers>,
}

impl MergeSettings {
    /// Bytes of memory of one merge, about.
    pub fn memory_bytes_of_one(&self) -> u64 {
        self.memory_bytes_max / self.merges_max.max(1) as u64
    }
}

impl Default for MergeSettings {
    fn default() -> Self {
        Self {
            merges_max: 1,
            memory_bytes_max: 512 << 20,
            merge_bytes_max: 10 << 30,
            bytes_per_s_max: 0,
            threads: 2,
            tiers: Arc::default(),
        }
    }
}

/// The merges of a worker.
#[derive(Debug)]
pub struct Merges {
    worker: WorkerId,
    settings: MergeSettings,
    committer: Committer,
    active: ActiveWork,
    book: Arc<Book>,
    turns: Arc<Semaphore>,
    /// Of background merges.
    pace: Option<Arc<Pace>>,
    memory: Mutex<Memory>,
    lives: Lives,
    /// Told when the life of a part became known.
    looked: Notify,
    leaving: CancellationToken,
    /// Whether the last turn was of a split: merges and splits take turns.
    has_split: AtomicBool,
}

/// A merge's place in the book, with how far it is.
#[derive(Debug)]
struct Entered {
    progress: Arc<MergeProgress>,
    _place: Place,
}

impl Entered {
    fn progress(&self) -> &Arc<MergeProgress> {
        &self.progress
    }
}

impl Merges {
    /// The merges of `worker`. Nothing runs until [`Merges::run`] or somebody asks.
    pub fn new(
        worker: WorkerId,
        settings: MergeSettings,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        merger: Arc<dyn Merger>,
        active: ActiveWork,
    ) -> Merges {
        let pace = (settings.bytes_per_s_max > 0)
            .then(|| Arc::new(Pace::new(Arc::clone(&clock), settings.bytes_per_s_max)));
        Merges {
            worker,
            pace,
            turns: Arc::new(Semaphore::new(settings.merges_max.max(1))),
            settings,
            committer: Committer { catalog, clock, merger, replaced: Replaced::default() },
            active,
            book: Arc::default(),
            memory: Mutex::default(),
            lives: Lives::default(),
            looked: Notify::new(),
            leaving: CancellationToken::new(),
            has_split: AtomicBool::new(false),
        }
    }

    /// Parts that were merged away.
    pub fn replaced(&self) -> Replaced {
        Arc::clone(&self.committer.replaced)
    }

    /// What runs now.
    pub fn running(&self) -> Vec<RunningMerge> {
        self.book.list(self.worker, self.committer.clock.monotonic_ms())
    }

    /// Stops every merge and starts no other one.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Picks and runs background merges until the worker leaves.
    pub async fn run(self: Arc<Self>, tasks: TaskOwner) {
        if self.settings.merges_max > 0 {
            let leaving = self.leaving.clone();
            let looking = Arc::clone(&self).looks();
            let both = futures::future::join(self.rounds(tasks), looking);
            leaving.run_until_cancelled(both).await;
        }
    }

    /// Looks when rows of parts are due, for ever.
    async fn looks(self: Arc<Self>) {
        let mut versions = self.committer.catalog.watch();
        let clock = Arc::clone(&self.committer.clock);
        loop {
            let snapshot = self.committer.catalog.snapshot();
            let (busy, now_ms) = (self.book.busy(), clock.monotonic_ms());
            let merger = &*self.committer.merger;
            if self.lives.look(&snapshot, self.worker, &busy, merger, now_ms).await {
                self.looked.notify_one();
            }
            tokio::select! {
                changed = versions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = clock.sleep(ROUND_MAX) => {}
            }
            clock.sleep(ROUND_MIN).await;
        }
    }

    async fn rounds(self: Arc<Self>, tasks: TaskOwner) {
        let mut versions = self.committer.catalog.watch();
        let clock = Arc::clone(&self.committer.clock);
        loop {
            self.wait_for_calm().await;
            self.start_merges(&tasks);
            tokio::select! {
                changed = versions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.book.one_ended() => {}
                () = self.looked.notified() => {}
                () = clock.sleep(ROUND_MAX) => {}
            }
            clock.sleep(ROUND_MIN).await;
        }
    }

    async fn wait_for_calm(&self) {
        let clock = &self.committer.clock;
        let since_ms = clock.monotonic_ms();
        let waited_ms = || clock.monotonic_ms().saturating_sub(since_ms);
        while !may_start(self.active.count(), self.settings.threads, waited_ms()) {
            clock.sleep(CALM_INTERVAL).await;
        }
    }

    /// Seconds since the epoch.
    fn now_s(&self) -> i64 {
        (self.committer.clock.now_ms() / 1000) as i64
    }

    fn limits(&self) -> PickLimits {
        let merge_bytes_max = self.settings.merge_bytes_max;
        let merge_parts_max = parts_for_memory(self.settings.memory_bytes_of_one());
        PickLimits { merge_bytes_max, merge_parts_max, ..PickLimits::default() }
    }

    fn start_merges(self: &Arc<Self>, tasks: &TaskOwner) {
        if self.turns.available_permits() == 0 {
            return;
        }
        let snapshot = self.committer.catalog.snapshot();
        let mut busy = self.book.busy();
        // They would fail again and again, and keep the rest of their lanes from being merged.
        busy.extend(snapshot.damaged_on(self.worker));
        let mut has_split = !self.has_split.load(Ordering::Relaxed)
            && self.start_splits(&snapshot, &busy, tasks, 1);
        self.start_merges_of(&snapshot, &busy, tasks);
        // Whatever turns are left.
        has_split |= self.start_splits(&snapshot, &busy, tasks, usize::MAX);
        self.has_split.store(has_split, Ordering::Relaxed);
    }

    fn start_merges_of(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        busy: &HashSet<PartId>,
        tasks: &TaskOwner,
    ) {
        let now_ms = self.committer.clock.monotonic_ms();
        let limits = self.limits();
        let look = Look {
            worker: self.worker,
            busy,
            lives: &self.lives,
            now_ms,
            now_s: self.now_s(),
            tiers: &self.settings.tiers,
        };
        let lanes = self.memory.lock().lanes(snapshot, &limits, &look);
        let (merges_running, bytes_running) = self.book.load();
        let pool = Pool {
            merges_max: self.settings.merges_max,
            merges_running,
            bytes_running,
            bytes_max: self.settings.merge_bytes_max.saturating_mul(POOL_FACTOR),
        };
        for start in choose(lanes, pool) {
            let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return };
            if let Some(job) = self.job_of(snapshot, &start)
                && let Some(entered) = self.enter(&job, false)
            {
                if start.reason == Reason::Due {
                    self.memory.lock().treated(&job, now_ms);
                }
                tracing::debug!(
                    table = job.table.name, bucket = %job.lane.bucket, parts = job.inputs.len(),
                    bytes = start.bytes, reason = ?start.reason, "a merge begins"
                );
                let task = Arc::clone(self).merge_in_background(job, entered, turn);
                tasks.spawn(task);
            }
        }
    }

    fn enter(&self, job: &Job, is_optimize: bool) -> Option<Entered> {
        let throttle = MakesRoom {
            active: self.active.clone(),
            clock: Arc::clone(&self.committer.clock),
            threads: self.settings.threads,
            pace: self.pace.clone().filter(|_| !is_optimize),
            bytes: AtomicU64::new(0),
        };
        let progress = Arc::new(MergeProgress::new(Arc::new(throttle)));
        let place = self.book.enter(Entry {
            lane: job.lane.clone(),
            parts: job.parts(),
            bytes: job.bytes(),
            rows: job.inputs.iter().map(|part| part.rows).sum(),
            progress: Arc::clone(&progress),
            started_ms: self.committer.clock.monotonic_ms(),
            is_optimize,
        })?;
        Some(Entered { progress, _place: place })
    }

    async fn merge_in_background(
        self: Arc<Self>,
        job: Job,
        entered: Entered,
        _turn: OwnedSemaphorePermit,
    ) {
        let merging = self.committer.run(&job, entered.progress());
        let Some(ended) = self.leaving.run_until_cancelled(merging).await else { return };
        let now_ms = self.committer.clock.monotonic_ms();
        match ended {
            Ok(ended) => {
                self.memory.lock().succeeded(&job.lane);
                let is_merged = ended == Ended::Merged;
                tracing::debug!(table = job.table.name, is_merged, "a merge ended");
            }
            Err(error) => {
                self.memory.lock().failed(&job.lane, now_ms);
                let (table, bucket) = (&job.table.name, job.lane.bucket);
                // Somebody else was faster; nothing is wrong.
                match error.kind() {
                    ErrorKind::Conflict => tracing::debug!(table, %bucket, %error, "no merge"),
                    _ => tracing::warn!(table, %bucket, %error, "parts were not merged"),
                }
            }
        }
    }

    /// The merge that was chosen from `snapshot`.
    fn job_of(&self, snapshot: &Snapshot, start: &Start) -> Option<Job> {
        let state = snapshot.tables.get(&start.lane.table)?;
        let part = |id| state.parts.get(id).map(Arc::clone);
        let inputs = start.parts.iter().map(part).collect::<Option<Vec<_>>>()?;
        let job = Job::of(snapshot, state, &start.lane, inputs)?;
        let target = match (start.reason, job.inputs.as_slice()) {
            (Reason::Move, [part]) => {
                let life = self.lives.known(state, part.id)?;
                Some(self.target(state, life.place(self.now_s())?, part)?)
            }
            _ => None,
        };
        let recompression = match (start.reason, job.inputs.as_slice()) {
            (Reason::Recompress, [part]) => {
                let life = self.lives.known(state, part.id)?;
                Some(life.recompression(self.now_s())?.clone())
            }
            _ => None,
        };
        Some(Job { is_expired: start.reason == Reason::Expired, recompression, target, ..job })
    }

    /// Where a part moves so that it is at `place`; `None` when it is there, or nowhere.
    fn target(&self, state: &TableState, place: &TtlPlace, part: &Part) -> Option<PartLocation> {
        let tiers = &self.settings.tiers;
        let disk = tiers.destination(&state.table, place, part)?;
        Some(tiers.location(disk, self.worker))
    }
}
