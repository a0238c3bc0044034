//! One merge: read, write, commit; and again when deletions moved meanwhile.
//!
//! ```text
//!   inputs at a version ─ Merger ─► a part ─ MergeParts ─┬─► done
//!                                       ▲                └─ Conflict ─ look again ─┬─ an input is gone: drop it
//!                                       └── deletions carried over ◄───────────────┘
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use granary_catalog::replication::{CopyTargets, leave_behind};
use granary_catalog::{
    BoundIndex, Bucket, Catalog, CommandBody, DeletionContent, KnownPart, MergeParts, MergedPart,
    NewPart, Part, PartLocation, Snapshot, Table, TableState,
};
use granary_common::{
    CatalogVersion, Clock, ColumnId, Error, ErrorKind, PartId, Result, TableId, WorkerId,
};
use granary_storage::merge::MergeProgress;
use granary_storage::ttl::{PartLife, Recompression};
use parking_lot::Mutex;

use super::book::Lane;
use super::split::{SplitJob, SplitMade};
use crate::metrics::count_merge;

/// Commits of one merge at most; each further one means that rows were deleted meanwhile.
pub(super) const COMMITS_MAX: u32 = 32;
/// Between two of them, when it is not known what went wrong.
pub(super) const COMMIT_PAUSE: Duration = Duration::from_millis(200);

/// What to merge, as one snapshot has it.
#[derive(Clone, Debug)]
pub struct Job {
    pub table: Arc<Table>,
    pub bucket: Arc<Bucket>,
    pub lane: Lane,
    /// Neighbours in insert order.
    pub inputs: Vec<Arc<Part>>,
    /// At which the inputs' deletions are taken.
    pub version: CatalogVersion,
    /// Whether every row is due by a TTL that deletes rows, so that nothing need be read.
    pub is_expired: bool,
    /// How the rows are encoded, where RECOMPRESS says it.
    pub recompression: Option<Recompression>,
    /// Whether rows that the engine marks as deleted go as well.
    pub is_cleanup: bool,
    pub deduplicate_by: Option<Vec<ColumnId>>,
    /// Who gets copies of the result.
    pub copies: CopyTargets,
    /// Where the one input moves as it is.
    pub target: Option<PartLocation>,
}

impl Job {
    /// A merge of `inputs`, which are parts of `state` in `lane`. `None` when the bucket is gone.
    pub fn of(
        snapshot: &Snapshot,
        state: &TableState,
        lane: &Lane,
        inputs: Vec<Arc<Part>>,
    ) -> Option<Job> {
        let bucket = state.buckets.get(&lane.bucket)?;
        Some(Job {
            table: Arc::clone(&state.table),
            bucket: Arc::clone(bucket),
            lane: lane.clone(),
            inputs,
            version: snapshot.version,
            is_expired: false,
            recompression: None,
            is_cleanup: false,
            deduplicate_by: None,
            copies: CopyTargets::of(snapshot, state, bucket),
            target: None,
        })
    }

    /// The inputs' ids.
    pub fn parts(&self) -> Vec<PartId> {
        self.inputs.iter().map(|part| part.id).collect()
    }

    /// Bytes of the inputs.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|part| part.bytes).sum()
    }

    /// Where the merged part is written: where the newest input is, before it is copied.
    pub fn location(&self) -> PartLocation {
        if let Some(target) = &self.target {
            return target.clone();
        }
        match self.inputs.last().map(|part| &part.location) {
            Some(PartLocation::Shared { volume }) => {
                PartLocation::Shared { volume: volume.clone() }
            }
            Some(PartLocation::Local { disk, .. }) => {
                PartLocation::Local { copies: vec![self.bucket.leader], disk: disk.clone() }
            }
            None => PartLocation::Local { copies: vec![self.bucket.leader], disk: None },
        }
    }
}

/// What a merge made. Nothing refers to it yet.
#[derive(Debug)]
pub struct Made {
    /// `None` when no row is left.
    pub part: Option<NewPart>,
    /// Rows of it that are deleted from the beginning.
    pub deletions: Option<(u64, DeletionContent)>,
    pub rows: Box<dyn CarryOver>,
}

impl Made {
    /// The workers that hold the result; `None` when that is whoever is in sync.
    fn synced(&self) -> Option<&[WorkerId]> {
        match self.part.as_ref().map(|part| &part.location)? {
            PartLocation::Local { copies, .. } => Some(copies),
            PartLocation::Shared { .. } => None,
        }
    }
}

/// Where the rows of a merge's inputs are in its result.
#[async_trait]
pub trait CarryOver: Debug + Send + Sync {
    /// Deletions of the merged part for what was deleted from the inputs since they were read:
    /// `inputs` are they as they are at `version`. `None` when the merge must be done again,
    /// because such a row was merged with others.
    async fn carry(
        &self,
        inputs: &[Arc<Part>],
        version: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>>;
}

/// Merges parts of this worker's volumes.
#[async_trait]
pub trait Merger: Debug + Send + Sync {
    /// Reads the inputs and writes what becomes of them.
    async fn merge(&self, job: &Job, progress: &Arc<MergeProgress>) -> Result<Made>;

    /// Reads the inputs and writes what becomes of them in other buckets.
    async fn split(&self, job: &SplitJob, progress: &Arc<MergeProgress>) -> Result<SplitMade>;

    /// When rows of the part are due by the table's TTL.
    async fn life(&self, table: &Table, part: &Part, version: CatalogVersion) -> Result<PartLife>;

    /// Gives the part an index that it was written without; whether there was anything to do.
    async fn build_index(
        &self,
        table: &Table,
        part: &Part,
        version: CatalogVersion,
        index: &BoundIndex,
    ) -> Result<bool>;

    /// Deletes the files of a part that will never be committed. Failing that, a sweep does.
    async fn discard(&self, part: &NewPart, job: &Job);
}

/// How a merge ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Merged,
    /// Somebody replaced or dropped an input, or the bucket has another leader.
    Overtaken,
}

/// What became of a merge's inputs while it ran.
#[derive(Debug)]
pub(super) enum Found {
    /// Our commit is there.
    Committed,
    /// An input is gone, or the bucket is not led as it was.
    Overtaken,
    /// All are there, perhaps with other deletions.
    There(Vec<Arc<Part>>),
}

/// Owners of files that merges have no more use for, with the tables in their paths. The sweep takes
/// them out once the catalog has forgotten them.
pub type Replaced = Arc<Mutex<BTreeMap<PartId, TableId>>>;

/// Runs merges to their commit.
#[derive(Clone, Debug)]
pub struct Committer {
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    pub merger: Arc<dyn Merger>,
    /// Parts that were merged away, for the sweep.
    pub replaced: Replaced,
}

impl Committer {
    /// Merges and commits. A result that cannot be committed leaves no trace.
    ///
    /// Kind `Conflict` when rows were deleted so often that the merge never fitted.
    pub async fn run(&self, job: &Job, progress: &Arc<MergeProgress>) -> Result<Ended> {
        let made = self.merger.merge(job, progress).await?;
        let mut is_unknown = false;
        let ended = self.commit(job, &made, &mut is_unknown).await;
        if matches!(ended, Ok(Ended::Merged)) {
            let read = job.inputs.iter().map(|part| part.bytes).sum();
            count_merge(read, made.part.as_ref().map_or(0, |part| part.bytes));
            let owners = job.inputs.iter().map(|part| part.file_owner());
            self.replaced.lock().extend(owners.map(|(table, part)| (part, table)));
        }
        // A commit of unknown outcome may still come true.
        if let (false, Some(part)) = (is_unknown || matches!(ended, Ok(Ended::Merged)), &made.part)
        {
            self.merger.discard(part, job).await;
        }
        ended
    }

    async fn commit(&self, job: &Job, made: &Made, is_unknown: &mut bool) -> Result<Ended> {
        let mut inputs = job.inputs.clone();
        let mut deletions = made.deletions.clone();
        let mut last = Error::conflict("a merge was not committed");
        for _ in 0..COMMITS_MAX {
            let under = match self.under(job, made).await {
                Ok(under) => under,
                Err(error) if error.kind() == ErrorKind::Conflict => return Ok(Ended::Overtaken),
                Err(error) => return Err(error),
            };
            let command = command(job, under, &inputs, made, deletions.as_ref());
            match self.catalog.execute(CommandBody::MergeParts(command)).await {
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
            let known = match look_again(&snapshot, job, made.part.as_ref()) {
                Found::Committed => return Ok(Ended::Merged),
                Found::Overtaken => return Ok(Ended::Overtaken),
                Found::There(now) => std::mem::replace(&mut inputs, now),
            };
            if inputs.iter().zip(&known).any(|(now, then)| newest(now) != newest(then)) {
                match made.rows.carry(&inputs, snapshot.version).await? {
                    // Again at once: whoever deletes all the time would be faster after a pause.
                    Some(carried) => deletions = Some(carried),
                    None => return Ok(Ended::Overtaken),
                }
                continue;
            }
            self.clock.sleep(COMMIT_PAUSE).await;
        }
        Err(last.context("a merge could not be committed"))
    }

    /// The replicas that hold the result, and the in-sync version to commit it under. Replicas that
    /// have missed it are left behind. Kind `Conflict` when the bucket is not led as it was.
    async fn under(&self, job: &Job, made: &Made) -> Result<(Vec<WorkerId>, u64)> {
        if let Some(synced) = made.synced() {
            let version = leave_behind(&*self.catalog, &job.bucket, synced).await?;
            return Ok((synced.to_vec(), version));
        }
        let snapshot = self.catalog.snapshot();
        let state = snapshot.tables.get(&job.table.id);
        let bucket = state.and_then(|state| state.buckets.get(&job.lane.bucket));
        let bucket = bucket.filter(|bucket| bucket.epoch == job.bucket.epoch);
        let bucket = bucket.ok_or_else(|| Error::conflict("the bucket has another leader"))?;
        Ok((bucket.in_sync.clone(), bucket.in_sync_version))
    }
}

pub(super) fn newest(part: &Part) -> Option<CatalogVersion> {
    part.deletions.last().map(|vector| vector.since)
}

fn command(
    job: &Job,
    (synced, in_sync_version): (Vec<WorkerId>, u64),
    inputs: &[Arc<Part>],
    made: &Made,
    deletions: Option<&(u64, DeletionContent)>,
) -> MergeParts {
    let output = made.part.as_ref().map(|part| MergedPart {
        part: part.clone(),
        deletions: deletions.filter(|(rows, _)| *rows > 0).cloned(),
    });
    let known = |part: &Arc<Part>| KnownPart { part: part.id, deletions: newest(part) };
    MergeParts {
        table: job.table.id,
        schema_version: job.table.schema_version,
        bucket: job.lane.bucket,
        epoch: job.bucket.epoch,
        in_sync_version,
        synced,
        inputs: inputs.iter().map(known).collect(),
        outputs: output.into_iter().collect(),
        ttl_version: job.table.options.ttl_version,
        is_move: job.target.is_some(),
    }
}

pub(super) fn look_again(snapshot: &Snapshot, job: &Job, part: Option<&NewPart>) -> Found {
    let Some(state) = snapshot.tables.get(&job.table.id) else { return Found::Overtaken };
    if part.is_some_and(|part| state.parts.contains_key(&part.id)) {
        return Found::Committed;
    }
    let bucket = state.buckets.get(&job.lane.bucket);
    let is_led_alike = bucket.is_some_and(|bucket| bucket.epoch == job.bucket.epoch);
    let ttl_version = state.table.options.ttl_version;
    let is_same_table =
        state.table.dropped.is_none() && ttl_version == job.table.options.ttl_version;
    let there = |part: &Arc<Part>| {
        state.parts.get(&part.id).filter(|part| part.removed.is_none()).map(Arc::clone)
    };
    let inputs: Option<Vec<Arc<Part>>> = job.inputs.iter().map(there).collect();
    match inputs {
        Some(inputs) if is_led_alike && is_same_table => Found::There(inputs),
        _ => Found::Overtaken,
    }
}
