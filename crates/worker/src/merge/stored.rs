//! Merges of stored parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use granary_catalog::{
    BoundIndex, BoundProjection, DeletionContent, NewPart, Part, PartLocation, Table,
};
use granary_common::{CatalogVersion, Clock, Error, Result, WorkerId};
use granary_execution::ActiveWork;
use granary_storage::merge::{
    CollapseMode, CollapseRule, MergeProgress, MergeSpec, Merged, RowMap, StateMerger, Throttle,
    merge_parts,
};
use granary_storage::skip::build_index;
use granary_storage::ttl::{MergeTtl, PartLife, Recompression, RowEvaluator, marks_of};
use granary_storage::{
    Deletions, Effort, PartRef, PartSchema, PartStore, Projections, SkipIndexes, Volume,
    delete_part, deletion_file, relocate_part, write_deletions,
};

use super::job::{CarryOver, Job, Made, Merger};
use super::split::{SplitJob, SplitMade};
use super::stored_split;
use crate::part_ids::{Hold, LeasedPartIds};
use crate::replicate::{Pace, Shipper};

/// Bytes in memory that a merge reads between two looks at what else runs.
const STRIDE_BYTES: u64 = 16 << 20;
/// How long it makes room at most for each of them.
const STRIDE_PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often it looks meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Merges parts of a worker's volumes.
#[derive(Debug)]
pub struct StoredParts {
    pub store: Arc<PartStore>,
    pub ids: Arc<LeasedPartIds>,
    pub states: Arc<dyn StateMerger>,
    /// Copies what merges make.
    pub shipper: Arc<Shipper>,
    pub evaluator: Arc<dyn RowEvaluator>,
    pub clock: Arc<dyn Clock>,
    /// Bytes of memory of one merge, about.
    pub memory_bytes: u64,
}

impl StoredParts {
    /// Copies the one input to where it is to be.
    async fn moved(
        &self,
        job: &Job,
        volume: Arc<Volume>,
        hold: Hold,
        progress: &Arc<MergeProgress>,
    ) -> Result<Made> {
        let [input] = job.inputs.as_slice() else {
            return Err(Error::internal("a move has one part"));
        };
        let source = PartRef::at(input, job.version);
        let (location, ids) = (job.location(), &*self.ids);
        let part = relocate_part(&self.store, &source, &volume, location, ids, progress).await?;
        let part = self.shipper.replicate(job.table.id, vec![part], &job.copies).await?.pop();
        let part =
            part.ok_or_else(|| Error::internal("a moved part was lost while it was copied"))?;
        let (store, ids) = (Arc::clone(&self.store), Arc::clone(&self.ids));
        let shipper = Arc::clone(&self.shipper);
        let new = new_ref(&job.table, &part);
        let rows = SameRows { store, volume, ids, part: new, shipper, _hold: hold };
        let deletions = rows.carry(&job.inputs, job.version).await?;
        Ok(Made { part: Some(part), deletions, rows: Box::new(rows) })
    }

    /// The rules that the merge applies, with its time.
    fn ttl(&self, job: &Job) -> Option<MergeTtl> {
        let rules = &job.table.options.rules;
        (!rules.is_empty()).then(|| MergeTtl {
            rules: rules.clone(),
            now_s: (self.clock.now_ms() / 1000) as i64,
            recompresses: job.recompression.is_some(),
            evaluator: Arc::clone(&self.evaluator),
        })
    }

    fn volume(&self, job: &Job) -> Result<Arc<Volume>> {
        let location = job.location();
        let volume = self.store.volumes().holding(&location).map(Arc::clone);
        volume.ok_or_else(|| {
            Error::unavailable(format!("this worker has no volume for parts at {location:?}"))
        })
    }
}

#[async_trait]
impl Merger for StoredParts {
    async fn merge(&self, job: &Job, progress: &Arc<MergeProgress>) -> Result<Made> {
        if job.is_expired {
            return Ok(Made { part: None, deletions: None, rows: Box::new(NothingLeft) });
        }
        let volume = self.volume(job)?;
        let hold = self.ids.hold();
        if job.target.is_some() {
            return self.moved(job, volume, hold, progress).await;
        }
        let spec = MergeSpec {
            schema: Arc::new(match &job.recompression {
                Some(how) => how.applied(PartSchema::of(&job.table)),
                None => PartSchema::of(&job.table),
            }),
            rule: CollapseRule::of(&job.table),
            mode: if job.is_cleanup { CollapseMode::Final } else { CollapseMode::Merge },
            inputs: job.inputs.iter().map(|part| PartRef::at(part, job.version)).collect(),
            location: job.location(),
            partition: job.lane.partition.clone(),
            deduplicate_by: job.deduplicate_by.clone(),
            ttl: self.ttl(job),
            effort: job.recompression.as_ref().map_or(Effort::Full, Recompression::effort),
            skip: skip_indexes(bound_indexes(&job.table), &self.evaluator),
            projections: made_projections(
                job.table.options.bound_projections().collect(),
                &self.evaluator,
            ),
            memory_bytes: self.memory_bytes,
        };
        let (states, progress) = (Arc::clone(&self.states), Arc::clone(progress));
        let Merged { part, rows } =
            merge_parts(&self.store, &volume, &*self.ids, spec, states, progress).await?;
        let parts: Vec<NewPart> = part.into_iter().collect();
        let mut copied = self.shipper.replicate(job.table.id, parts, &job.copies).await?;
        let part = copied.pop();
        let merged = part.clone();
        let (store, ids) = (Arc::clone(&self.store), Arc::clone(&self.ids));
        let (shipper, job) = (Arc::clone(&self.shipper), job.clone());
        let rows = Carried { store, volume, ids, rows, merged, job, shipper, _hold: hold };
        Ok(Made { part, deletions: None, rows: Box::new(rows) })
    }

    async fn split(&self, job: &SplitJob, progress: &Arc<MergeProgress>) -> Result<SplitMade> {
        let volume = self.volume(&job.job)?;
        stored_split::split(self, job, volume, self.ids.hold(), progress).await
    }

    async fn life(&self, table: &Table, part: &Part, version: CatalogVersion) -> Result<PartLife> {
        let rules = &table.options.rules;
        let schema = Arc::new(PartSchema::of(table));
        let part = PartRef::at(part, version);
        let marks = marks_of(&self.store, &schema, &part, rules, &*self.evaluator).await?;
        PartLife::of(rules, &marks)
    }

    async fn build_index(
        &self,
        table: &Table,
        part: &Part,
        version: CatalogVersion,
        index: &BoundIndex,
    ) -> Result<bool> {
        let schema = Arc::new(PartSchema::of(table));
        let part = PartRef::at(part, version);
        build_index(&self.store, &schema, &part, index, &*self.evaluator).await
    }

    async fn discard(&self, part: &NewPart, job: &Job) {
        let deleted = match self.volume(job) {
            Ok(volume) => delete_part(&volume, job.table.id, part.id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = deleted {
            tracing::warn!(part = %part.id, %error, "files of a part that was not needed stay");
        }
    }
}

/// The indexes of a table that have an effect.
pub fn bound_indexes(table: &Table) -> Vec<BoundIndex> {
    table.options.indexes.iter().filter_map(|index| index.bound.clone()).collect()
}

/// What it takes to make `indexes`; `None` when there are none.
pub fn skip_indexes(
    indexes: Vec<BoundIndex>,
    evaluator: &Arc<dyn RowEvaluator>,
) -> Option<SkipIndexes> {
    let evaluator = Arc::clone(evaluator);
    (!indexes.is_empty()).then_some(SkipIndexes { indexes, evaluator })
}

/// What it takes to make `projections`; `None` when there are none.
pub fn made_projections(
    projections: Vec<BoundProjection>,
    evaluator: &Arc<dyn RowEvaluator>,
) -> Option<Projections> {
    let evaluator = Arc::clone(evaluator);
    (!projections.is_empty()).then_some(Projections { projections, evaluator })
}

/// The same rows at the same positions: what is deleted is deleted.
#[derive(Debug)]
struct SameRows {
    store: Arc<PartStore>,
    volume: Arc<Volume>,
    ids: Arc<LeasedPartIds>,
    part: PartRef,
    shipper: Arc<Shipper>,
    /// Until the move is committed or given up.
    _hold: Hold,
}

#[async_trait]
impl CarryOver for SameRows {
    async fn carry(
        &self,
        inputs: &[Arc<Part>],
        version: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>> {
        let [input] = inputs else { return Err(Error::internal("a move has one part")) };
        let input = PartRef::at(input, version);
        let deleted = self.store.deletions(&input).await?.unwrap_or_default();
        let content = write_deletions(&self.volume, &self.part, &*self.ids, &deleted).await?;
        ship_beside(&self.shipper, &self.part, &content).await?;
        Ok(Some((deleted.len(), content)))
    }
}

/// No row is left, so none is deleted twice.
#[derive(Debug)]
struct NothingLeft;

#[async_trait]
impl CarryOver for NothingLeft {
    async fn carry(
        &self,
        _: &[Arc<Part>],
        _: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>> {
        Ok(Some((0, Deletions::new().to_inline())))
    }
}

/// Where the rows of a merge went, with what it takes to write deletions of the merged part.
#[derive(Debug)]
struct Carried {
    store: Arc<PartStore>,
    volume: Arc<Volume>,
    ids: Arc<LeasedPartIds>,
    rows: RowMap,
    merged: Option<NewPart>,
    job: Job,
    shipper: Arc<Shipper>,
    /// Until the merge is committed or given up.
    _hold: Hold,
}

#[async_trait]
impl CarryOver for Carried {
    async fn carry(
        &self,
        inputs: &[Arc<Part>],
        version: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>> {
        let deleted = newly_deleted(&self.store, &self.job, inputs, version).await?;
        let deleted: Vec<(usize, &Deletions)> =
            deleted.iter().map(|(place, rows)| (*place, rows.as_ref())).collect();
        let Some(translated) = self.rows.translate(&deleted) else { return Ok(None) };
        let Some(merged) = &self.merged else { return Ok(Some((0, translated.to_inline()))) };
        let part = new_ref(&self.job.table, merged);
        let content = write_deletions(&self.volume, &part, &*self.ids, &translated).await?;
        ship_beside(&self.shipper, &part, &content).await?;
        Ok(Some((translated.len(), content)))
    }
}

/// The deletions of those inputs, by their places, that got other ones since they were read: `inputs` are
/// they as they are at `version`.
pub(super) async fn newly_deleted(
    store: &PartStore,
    job: &Job,
    inputs: &[Arc<Part>],
    version: CatalogVersion,
) -> Result<Vec<(usize, Arc<Deletions>)>> {
    let mut deleted = Vec::new();
    for (place, (now, then)) in inputs.iter().zip(&job.inputs).enumerate() {
        if now.deletions_at(version).map(|vector| vector.since)
            == then.deletions_at(job.version).map(|vector| vector.since)
        {
            continue;
        }
        if let Some(rows) = store.deletions(&PartRef::at(now, version)).await? {
            deleted.push((place, rows));
        }
    }
    Ok(deleted)
}

/// Sends deletions of a new part to every copy of it.
pub(super) async fn ship_beside(
    shipper: &Shipper,
    part: &PartRef,
    content: &DeletionContent,
) -> Result<()> {
    let synced = shipper.ship_deletions(part, content).await;
    if deletion_file(content).is_some() && !is_beside(&part.location, &synced) {
        return Err(Error::unavailable("a copy of the merged part did not take its deletions"));
    }
    Ok(())
}

/// A part that the catalog does not know yet.
pub(super) fn new_ref(table: &Table, part: &NewPart) -> PartRef {
    PartRef {
        id: part.id,
        table: table.id,
        files: (table.id, part.id),
        location: part.location.clone(),
        rows: part.rows,
        rows_deleted: 0,
        deletions: None,
        bytes: part.bytes,
        schema_version: table.schema_version,
        projection: None,
    }
}

fn is_beside(location: &PartLocation, synced: &[WorkerId]) -> bool {
    match location {
        PartLocation::Local { copies, .. } => copies.iter().all(|worker| synced.contains(worker)),
        PartLocation::Shared { .. } => true,
    }
}

/// Lets a running merge make room while more queries and inserts are active than there are threads,
/// for a bounded time, so that it always gets on.
#[derive(Debug)]
pub struct MakesRoom {
    pub active: ActiveWork,
    pub clock: Arc<dyn Clock>,
    pub threads: usize,
    /// How fast it may read, with others.
    pub pace: Option<Arc<Pace>>,
    /// Read so far.
    pub bytes: AtomicU64,
}

#[async_trait]
impl Throttle for MakesRoom {
    async fn admit(&self, bytes: u64) {
        if let Some(pace) = &self.pace {
            pace.admit(bytes).await;
        }
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / STRIDE_BYTES == (before + bytes) / STRIDE_BYTES {
            return;
        }
        let until_ms = self.clock.monotonic_ms() + STRIDE_PAUSE_MAX.as_millis() as u64;
        while self.active.count() > self.threads && self.clock.monotonic_ms() < until_ms {
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_common::SystemClock;

    use super::*;

    #[tokio::test]
    async fn background_merges_keep_their_pace() {
        let clock: Arc<dyn Clock> = SystemClock::shared();
        let pace = Some(Arc::new(Pace::new(Arc::clone(&clock), 1_000_000)));
        let room = |pace: &Option<Arc<Pace>>| MakesRoom {
            active: ActiveWork::default(),
            clock: Arc::clone(&clock),
            threads: 1,
            pace: pace.clone(),
            bytes: AtomicU64::new(0),
        };
        let begun_ms = clock.monotonic_ms();
        // Two merges share it; one that a statement asks for does not wait.
        room(&pace).admit(200_000).await;
        room(&None).admit(100_000_000).await;
        assert!(clock.monotonic_ms() - begun_ms < 50_000, "a statement had to wait");
        room(&pace).admit(1).await;
        assert!(clock.monotonic_ms() - begun_ms >= 190, "the second was too fast");
    }
}
