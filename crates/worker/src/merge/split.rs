//! Parts in buckets that a table had before it got another number of them: their rows move to the
//! buckets that they belong to now.
//!
//! ```text
//!   lanes of earlier buckets ─ choose_splits ─► book ─ SplitJob ─► BucketChange::Split
//! ```
//!
//! A split is a merge whose output is several parts, of other buckets. What it is to do follows from the
//! catalog alone, so whoever leads the bucket goes on where another one stopped.
//!
//! Where engines collapse rows, which of two equal keys is newer follows from the order of their parts'
//! beginnings ([`Part::inserted`]). Splits and merges keep it: a split takes the oldest parts of its
//! bucket, and several at once only if all of them are older than whatever was inserted into the new
//! buckets; merges leave alone what is not newer than every part that is still to be split.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use granary_catalog::layout::targets;
use granary_catalog::replication::{CopyTargets, holds};
use granary_catalog::{
    BucketChange, CommandBody, DeletionContent, Distribution, KnownPart, MergedPart, NewPart, Part,
    Snapshot, SplitParts, TableState,
};
use granary_common::{
    BucketIndex, CatalogVersion, Error, ErrorKind, PartId, Result, TaskOwner, WorkerId,
};
use granary_storage::merge::{Dealing, MergeProgress};
use granary_storage::merge_pick::PickLimits;
use tokio::sync::OwnedSemaphorePermit;

use super::book::Lane;
use super::job::{COMMIT_PAUSE, COMMITS_MAX, Committer, Ended, Found, Job, look_again, newest};
use super::lanes::{led, limits_of, may_merge};
use super::{Entered, Merges};
use crate::metrics::count_merge;

/// Bytes that a split reads at most, unless one part has more: what is lost when it has to begin anew.
const SPLIT_BYTES_MAX: u64 = 1 << 30;
/// Rows that stay together where rows are dealt out in turn; see [`Dealing::Turns`].
const TURN_ROWS: u64 = granary_storage::merge::TURN_ROWS;

/// The next split of each lane of earlier buckets that `worker` leads: its oldest parts.
pub fn choose_splits(
    snapshot: &Snapshot,
    worker: WorkerId,
    busy: &HashSet<PartId>,
    limits: &PickLimits,
) -> Vec<(Lane, Vec<Arc<Part>>)> {
    let mut chosen = Vec::new();
    let tables = snapshot.tables.values().filter(|state| may_merge(snapshot, &state.table));
    for state in tables.filter(|state| state.is_splitting(snapshot.version)) {
        let limits = limits_of(&state.table, limits);
        for (lane, parts) in led(snapshot, state, worker) {
            if state.table.takes_rows_in(lane.bucket) {
                continue;
            }
            let is_free =
                |part: &Arc<Part>| !busy.contains(&part.id) && holds(&part.location, worker);
            let inputs = oldest(parts, together(state, snapshot.version), &limits, is_free);
            if !inputs.is_empty() {
                chosen.push((lane, inputs));
            }
        }
    }
    chosen
}

/// Before which version parts must be inserted that are split together; `None` when none may be: parts
/// of several earlier numberings, whose orders are not known to each other.
fn together(state: &TableState, version: CatalogVersion) -> Option<CatalogVersion> {
    let numberings: BTreeSet<Option<(u32, u32)>> =
        state.parts_to_split(version).map(|part| state.table.numbering_of(part.bucket)).collect();
    (numberings.len() <= 1).then(|| state.table.buckets_since())
}

/// The first parts of a lane, as far as they may be split together.
pub(super) fn oldest(
    parts: Vec<Arc<Part>>,
    before: Option<CatalogVersion>,
    limits: &PickLimits,
    is_free: impl Fn(&Arc<Part>) -> bool,
) -> Vec<Arc<Part>> {
    let bytes_max = limits.merge_bytes_max.min(SPLIT_BYTES_MAX);
    // Each output takes as much memory as several inputs.
    let parts_max = (limits.merge_parts_max / 2).max(1);
    let mut inputs: Vec<Arc<Part>> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        let is_old = |part: &Part| before.is_some_and(|before| part.inserted.1.0 < before);
        bytes += part.bytes;
        let fits = match inputs.first() {
            None => true,
            Some(first) => {
                is_old(first) && is_old(&part) && bytes <= bytes_max && inputs.len() < parts_max
            }
        };
        if !fits || !is_free(&part) {
            break;
        }
        inputs.push(part);
    }
    inputs
}

/// Parts of a table that merges of several must leave alone while rows move: `inserted` begins at or
/// before this.
pub(super) fn merges_after(
    state: &TableState,
    version: CatalogVersion,
) -> Option<(CatalogVersion, u32)> {
    if !state.table.engine.kind.collapses() {
        return None;
    }
    state.parts_to_split(version).map(|part| part.inserted.0).max()
}

/// What to split, as one snapshot has it.
#[derive(Clone, Debug)]
pub struct SplitJob {
    pub job: Job,
    pub dealing: Dealing,
    /// Positions of the buckets that rows may go to.
    pub targets: Vec<u32>,
    /// Who gets copies of what goes to each of them.
    pub copies: BTreeMap<u32, CopyTargets>,
}

impl SplitJob {
    /// A split of `inputs`, which are parts of `state` in `lane`. `None` when a bucket is gone.
    pub fn of(
        snapshot: &Snapshot,
        state: &TableState,
        lane: &Lane,
        inputs: Vec<Arc<Part>>,
    ) -> Option<SplitJob> {
        let job = Job::of(snapshot, state, lane, inputs)?;
        let table = &job.table;
        let (first, before) = table.numbering_of(lane.bucket)?;
        let (dealing, targets) = match &table.distribution {
            Distribution::Hash(columns) => {
                let position = lane.bucket.0 - first;
                (Dealing::Hash(columns.clone()), targets(position, before, table.buckets))
            }
            Distribution::Rotation => {
                let turn = job.inputs.first().map_or(0, |part| part.id.0);
                let from = (turn % u64::from(table.buckets.max(1))) as u32;
                let rows: u64 = job.inputs.iter().map(|part| part.rows).sum();
                let turns = rows.div_ceil(TURN_ROWS).clamp(1, u64::from(table.buckets)) as u32;
                let targets = (0..turns).map(|turn| (from + turn) % table.buckets);
                (Dealing::Turns(from), targets.collect())
            }
        };
        let copies = |target: &u32| {
            let bucket = state.buckets.get(&table.bucket_at(*target))?;
            let copies = CopyTargets::of_writer(snapshot, state, bucket, job.bucket.leader);
            Some((*target, copies))
        };
        let copies = targets.iter().map(copies).collect::<Option<_>>()?;
        Some(SplitJob { dealing, targets, copies, job })
    }
}

/// What a split made. Nothing refers to it yet.
#[derive(Debug)]
pub struct SplitMade {
    pub parts: Vec<(BucketIndex, NewPart)>,
    pub rows: Box<dyn SplitCarryOver>,
}

/// Deletions of new parts, by their buckets.
pub type SplitDeletions = BTreeMap<BucketIndex, (u64, DeletionContent)>;

/// Where the rows of a split's inputs are in its results.
#[async_trait]
pub trait SplitCarryOver: Debug + Send + Sync {
    /// Deletions of the new parts for what was deleted from the inputs since they were read: `inputs`
    /// are they as they are at `version`.
    async fn carry(&self, inputs: &[Arc<Part>], version: CatalogVersion) -> Result<SplitDeletions>;
}

impl Committer {
    /// Splits and commits. A result that cannot be committed leaves no trace.
    ///
    /// Kind `Conflict` when rows were deleted so often that the split never fitted.
    pub async fn run_split(&self, job: &SplitJob, progress: &Arc<MergeProgress>) -> Result<Ended> {
        let made = self.merger.split(job, progress).await?;
        let mut is_unknown = false;
        let ended = self.commit_split(&job.job, &made, &mut is_unknown).await;
        if matches!(ended, Ok(Ended::Merged)) {
            count_merge(job.job.bytes(), made.parts.iter().map(|(_, part)| part.bytes).sum());
            let owners = job.job.inputs.iter().map(|part| part.file_owner());
            self.replaced.lock().extend(owners.map(|(table, part)| (part, table)));
        } else if !is_unknown {
            // A commit of unknown outcome may still come true.
            for (_, part) in &made.parts {
                self.merger.discard(part, &job.job).await;
            }
        }
        ended
    }

    async fn commit_split(
        &self,
        job: &Job,
        made: &SplitMade,
        is_unknown: &mut bool,
    ) -> Result<Ended> {
        let mut inputs = job.inputs.clone();
        let mut deletions = SplitDeletions::new();
        let mut last = Error::conflict("a split was not committed");
        for _ in 0..COMMITS_MAX {
            let command = BucketChange::Split(command(job, &inputs, made, &deletions));
            match self.catalog.execute(CommandBody::Buckets(command)).await {
                Ok(_) => return Ok(Ended::Merged),
                Err(error) if error.kind().is_retryable() => last = error,
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
                    *is_unknown = true;
                    last = error;
                }
                Err(error) => return Err(error),
            }
            let Ok(snapshot) = self.catalog.read_latest().await else {
                self.clock.sleep(COMMIT_PAUSE).await;
                continue;
            };
            let first = made.parts.first().map(|(_, part)| part);
            let state = snapshot.tables.get(&job.table.id);
            let is_same =
                state.is_some_and(|state| state.table.options.layout == job.table.options.layout);
            let known = match look_again(&snapshot, job, first) {
                Found::Committed => return Ok(Ended::Merged),
                Found::There(now) if is_same => std::mem::replace(&mut inputs, now),
                Found::Overtaken | Found::There(_) => return Ok(Ended::Overtaken),
            };
            if inputs.iter().zip(&known).any(|(now, then)| newest(now) != newest(then)) {
                // Again at once: whoever deletes all the time would be faster after a pause.
                deletions = made.rows.carry(&inputs, snapshot.version).await?;
                continue;
            }
            self.clock.sleep(COMMIT_PAUSE).await;
        }
        Err(last.context("a split could not be committed"))
    }
}

fn command(
    job: &Job,
    inputs: &[Arc<Part>],
    made: &SplitMade,
    deletions: &SplitDeletions,
) -> SplitParts {
    let output = |(bucket, part): &(BucketIndex, NewPart)| {
        let deletions = deletions.get(bucket).filter(|(rows, _)| *rows > 0).cloned();
        (*bucket, MergedPart { part: part.clone(), deletions })
    };
    let known = |part: &Arc<Part>| KnownPart { part: part.id, deletions: newest(part) };
    SplitParts {
        table: job.table.id,
        schema_version: job.table.schema_version,
        bucket: job.lane.bucket,
        epoch: job.bucket.epoch,
        inputs: inputs.iter().map(known).collect(),
        outputs: made.parts.iter().map(output).collect(),
    }
}

impl Merges {
    /// Starts as many splits as there are turns for; `false` when there is nothing to split now.
    pub(super) fn start_splits(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        busy: &HashSet<PartId>,
        tasks: &TaskOwner,
        splits_max: usize,
    ) -> bool {
        let now_ms = self.committer.clock.monotonic_ms();
        let mut started = false;
        let chosen = choose_splits(snapshot, self.worker, busy, &self.limits());
        let is_due = |(lane, _): &(Lane, _)| !self.memory.lock().is_left_alone(lane, now_ms);
        for (lane, inputs) in chosen.into_iter().filter(is_due).take(splits_max) {
            let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { break };
            let state = snapshot.tables.get(&lane.table);
            let job = state.and_then(|state| SplitJob::of(snapshot, state, &lane, inputs));
            if let Some(job) = job
                && let Some(entered) = self.enter(&job.job, false)
            {
                tracing::debug!(
                    table = job.job.table.name, bucket = %lane.bucket,
                    parts = job.job.inputs.len(), bytes = job.job.bytes(), "a split begins"
                );
                started = true;
                tasks.spawn(Arc::clone(self).split_in_background(job, entered, turn));
            }
        }
        started
    }

    async fn split_in_background(
        self: Arc<Self>,
        job: SplitJob,
        entered: Entered,
        _turn: OwnedSemaphorePermit,
    ) {
        let splitting = self.committer.run_split(&job, entered.progress());
        let Some(ended) = self.leaving.run_until_cancelled(splitting).await else { return };
        let (job, now_ms) = (&job.job, self.committer.clock.monotonic_ms());
        match ended {
            Ok(ended) => {
                self.memory.lock().succeeded(&job.lane);
                let is_split = ended == Ended::Merged;
                tracing::debug!(table = job.table.name, is_split, "a split ended");
            }
            Err(error) => {
                self.memory.lock().failed(&job.lane, now_ms);
                let (table, bucket) = (&job.table.name, job.lane.bucket);
                tracing::warn!(table, %bucket, %error, "parts were not split");
            }
        }
    }
}
