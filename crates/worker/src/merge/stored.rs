//! Merges of stored parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use granary_catalog::{DeletionContent, NewPart, Part, PartLocation};
use granary_common::{CatalogVersion, Clock, Error, Result, WorkerId};
use granary_execution::ActiveWork;
use granary_storage::merge::{
    CollapseMode, CollapseRule, MergeProgress, MergeSpec, Merged, RowMap, StateMerger, Throttle,
    merge_parts,
};
use granary_storage::{
    Deletions, PartRef, PartSchema, PartStore, Volume, delete_part, deletion_file, write_deletions,
};

use super::job::{CarryOver, Job, Made, Merger};
use crate::part_ids::{Hold, LeasedPartIds};
use crate::replicate::Shipper;

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
}

impl StoredParts {
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
        let volume = self.volume(job)?;
        let hold = self.ids.hold();
        let spec = MergeSpec {
            schema: Arc::new(PartSchema::of(&job.table)),
            rule: CollapseRule::of(&job.table),
            mode: if job.is_cleanup { CollapseMode::Final } else { CollapseMode::Merge },
            inputs: job.inputs.iter().map(|part| PartRef::at(part, job.version)).collect(),
            location: job.location(),
            partition: job.lane.partition.clone(),
            deduplicate_by: job.deduplicate_by.clone(),
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
        let moved = Moved { store, volume, ids, rows, merged, job, shipper, _hold: hold };
        Ok(Made { part, rows: Box::new(moved) })
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

/// Where the rows of a merge went, with what it takes to write deletions of the merged part.
#[derive(Debug)]
struct Moved {
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
impl CarryOver for Moved {
    async fn carry(
        &self,
        inputs: &[Arc<Part>],
        version: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>> {
        let mut deleted: Vec<(usize, Arc<Deletions>)> = Vec::new();
        for (place, (now, then)) in inputs.iter().zip(&self.job.inputs).enumerate() {
            if now.deletions_at(version).map(|vector| vector.since)
                == then.deletions_at(self.job.version).map(|vector| vector.since)
            {
                continue;
            }
            if let Some(rows) = self.store.deletions(&PartRef::at(now, version)).await? {
                deleted.push((place, rows));
            }
        }
        let deleted: Vec<(usize, &Deletions)> =
            deleted.iter().map(|(place, rows)| (*place, rows.as_ref())).collect();
        let Some(translated) = self.rows.translate(&deleted) else { return Ok(None) };
        let Some(merged) = &self.merged else { return Ok(Some((0, translated.to_inline()))) };
        let part = self.merged_ref(merged);
        let content = write_deletions(&self.volume, &part, &*self.ids, &translated).await?;
        let synced = self.shipper.ship_deletions(&part, &content).await;
        if deletion_file(&content).is_some() && !is_beside(&part.location, &synced) {
            return Err(Error::unavailable("a copy of the merged part did not take its deletions"));
        }
        Ok(Some((translated.len(), content)))
    }
}

impl Moved {
    /// The merged part, which the catalog does not know yet.
    fn merged_ref(&self, merged: &NewPart) -> PartRef {
        PartRef {
            id: merged.id,
            table: self.job.table.id,
            files: (self.job.table.id, merged.id),
            location: merged.location.clone(),
            rows: merged.rows,
            rows_deleted: 0,
            deletions: None,
            bytes: merged.bytes,
            schema_version: self.job.table.schema_version,
        }
    }
}

fn is_beside(location: &PartLocation, synced: &[WorkerId]) -> bool {
    match location {
        PartLocation::Local { copies } => copies.iter().all(|worker| synced.contains(worker)),
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
    /// Read so far.
    pub bytes: AtomicU64,
}

#[async_trait]
impl Throttle for MakesRoom {
    async fn admit(&self, bytes: u64) {
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
