//! The worker's work, without a network between.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use granary_catalog::{BucketLoad, NewPart, PartLocation, Snapshot};
use granary_common::{Error, ErrorKind, Result, WorkerId};
use granary_execution::{
    ActiveWork, BuiltPart, CopySpec, DiskReport, FileRead, FilterHub, KeySummary, OptimizeSpec,
    Optimized, PartRead, RemotePartRead, RemotePartScan, RunningMerge, WorkerApi, WorkerReport,
    WriteSpec, WrittenDeletions, read_held,
};
use granary_storage::merge::{Throttle, Unthrottled};
use granary_storage::ttl::RowEvaluator;
use granary_storage::{
    ColumnStatistics, Deletions, MetPart, PartRef, PartStore, Volume, WriteOptions, file_bytes,
    write_block, write_deletions,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::fullness::Fullness;
use crate::load::LoadMeter;
use crate::merge::{Merges, made_projections, skip_indexes};
use crate::metrics::count_written;
use crate::part_ids::LeasedPartIds;
use crate::quarantine::Quarantine;
use crate::replicate::{Receiver, Shipper};
use crate::scrub::Scrubbed;

/// Blocks that are sorted and written at the same time; the rest waits.
const CONCURRENT_WRITES_MAX: usize = 4;
/// Parts that are checked at the same time: reading all of them must not keep queries from the disk.
const CONCURRENT_CHECKS_MAX: usize = 2;
/// Parts that one call fetches at the same time.
const CONCURRENT_COPIES_MAX: usize = 4;

/// The ways of copies out of this worker and into it.
#[derive(Clone, Debug)]
pub struct Copying {
    pub shipper: Arc<Shipper>,
    pub receiver: Arc<Receiver>,
}

/// What is known of this worker's disks.
#[derive(Clone, Debug)]
pub struct Disks {
    /// Which copies are damaged.
    pub quarantine: Arc<Quarantine>,
    /// Whether they take writes.
    pub fullness: Arc<Fullness>,
}

/// Writes and reads the parts of this process.
#[derive(Debug)]
pub struct LocalWorker {
    worker: WorkerId,
    store: Arc<PartStore>,
    ids: Arc<LeasedPartIds>,
    writes: Semaphore,
    checks: Semaphore,
    leaving: CancellationToken,
    active: ActiveWork,
    merges: Arc<Merges>,
    copying: Copying,
    filters: FilterHub,
    evaluator: Arc<dyn RowEvaluator>,
    disks: Disks,
    scrubbed: Scrubbed,
    loads: LoadMeter,
}

impl LocalWorker {
    /// The work of the worker of `disks` on `store`.
    pub fn new(
        store: Arc<PartStore>,
        ids: Arc<LeasedPartIds>,
        active: ActiveWork,
        merges: Arc<Merges>,
        copying: Copying,
        evaluator: Arc<dyn RowEvaluator>,
        disks: Disks,
    ) -> Self {
        Self {
            worker: disks.quarantine.worker(),
            store,
            ids,
            writes: Semaphore::new(CONCURRENT_WRITES_MAX),
            checks: Semaphore::new(CONCURRENT_CHECKS_MAX),
            leaving: CancellationToken::new(),
            active,
            merges,
            copying,
            filters: FilterHub::default(),
            evaluator,
            disks,
            scrubbed: Scrubbed::default(),
            loads: LoadMeter::default(),
        }
    }

    /// Whose work it is.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The runtime filters that came here.
    pub fn filters(&self) -> &FilterHub {
        &self.filters
    }

    /// What buckets give it to do, as far as it is much.
    pub fn loads(&self, snapshot: &Snapshot, now_ms: u64) -> Vec<BucketLoad> {
        self.loads.look(&self.store, snapshot, now_ms)
    }

    /// Whether its disks take writes.
    pub fn fullness(&self) -> &Fullness {
        &self.disks.fullness
    }

    /// How far its scrub has come.
    pub fn scrubbed(&self) -> &Scrubbed {
        &self.scrubbed
    }

    /// Reads every file of `part`, as fast as `throttle` lets it. Whether damage was found that nobody
    /// knew of; it is noted.
    pub async fn scrub_part(&self, part: PartRef, throttle: &dyn Throttle) -> Result<bool> {
        let (damage, noted) = self.look_at(&part, throttle).await?;
        Ok(noted && damage.is_some())
    }

    /// What is damaged of the copy of `part`, and whether that is news.
    async fn look_at(
        &self,
        part: &PartRef,
        throttle: &dyn Throttle,
    ) -> Result<(Option<String>, bool)> {
        let met = MetPart::from(part);
        let damage = match self.store.check(part, throttle).await {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::Corruption => Some(error.message().to_owned()),
            Err(error) => return Err(error),
        };
        let noted = self.disks.quarantine.note(&met, damage.as_deref()).await?;
        if noted || damage.is_some() {
            // What is open was read from other files, or was not looked at as closely.
            self.store.reopen(met.files.1).await;
        }
        Ok((damage, noted))
    }

    /// Refuses writes from now on.
    pub fn leave(&self) {
        self.leaving.cancel();
        self.merges.leave();
    }

    /// Kind `Unavailable` when the worker is leaving.
    pub fn check_stays(&self) -> Result<()> {
        match self.leaving.is_cancelled() {
            true => Err(Error::unavailable(format!("worker {} is leaving", self.worker))),
            false => Ok(()),
        }
    }

    /// Cancelled when the worker leaves.
    pub fn leaving(&self) -> CancellationToken {
        self.leaving.clone()
    }

    fn volume(&self, location: &PartLocation) -> Result<&Arc<Volume>> {
        self.store.volumes().holding(location).ok_or_else(|| {
            Error::unavailable(format!("worker {} has no volume {location:?}", self.worker))
        })
    }

    async fn write_parts(&self, spec: &WriteSpec, block: RecordBatch) -> Result<Vec<NewPart>> {
        let stopped = |_| Error::unavailable("the worker has stopped");
        let _turn = self.writes.acquire().await.map_err(stopped)?;
        let volume = self.volume(&spec.location)?;
        let options = WriteOptions {
            partitions_per_block_max: spec.partitions_per_block_max,
            skip: skip_indexes(spec.indexes.clone(), &self.evaluator),
            projections: made_projections(spec.projections.clone(), &self.evaluator),
            documents: self.evaluator.documents(),
            ..WriteOptions::default()
        };
        write_block(volume, spec.location.clone(), &spec.schema, &*self.ids, block, &options).await
    }
}

#[async_trait]
impl WorkerApi for LocalWorker {
    async fn write_block(&self, spec: WriteSpec, block: RecordBatch) -> Result<Vec<NewPart>> {
        self.check_stays()?;
        let _active = self.active.begin();
        // Others may write while copies travel.
        let bytes = block.get_array_memory_size() as u64;
        let written = self.write_parts(&spec, block).await;
        let full = |error| self.disks.fullness.answered(error, &spec.location, bytes);
        let parts = written.map_err(full)?;
        count_written(&parts);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        self.loads.note_written(spec.schema.table, spec.bucket, bytes);
        self.copying.shipper.replicate(spec.schema.table, parts, &spec.copies).await
    }

    async fn scan_part(&self, scan: RemotePartScan) -> Result<RemotePartRead> {
        let active = self.active.begin();
        let RemotePartScan { schema, part, scan, only_skips } = scan;
        let PartRead { batches, skipped, .. } = read_held(&self.store, schema, &part, scan).await?;
        if only_skips {
            return Ok(RemotePartRead { batches: stream::empty().boxed(), skipped });
        }
        let batches = batches.map(move |batch| {
            let _active = &active;
            batch
        });
        Ok(RemotePartRead { batches: batches.boxed(), skipped })
    }

    async fn part_statistics(&self, parts: Vec<PartRef>) -> Result<Vec<Vec<ColumnStatistics>>> {
        let mut statistics = Vec::with_capacity(parts.len());
        for part in &parts {
            statistics.push(self.store.open(part).await?.statistics().to_vec());
        }
        Ok(statistics)
    }

    async fn write_deletions(
        &self,
        part: PartRef,
        mut deletions: Deletions,
    ) -> Result<WrittenDeletions> {
        self.check_stays()?;
        let _active = self.active.begin();
        let volume = self.volume(&part.location)?;
        if let Some(earlier) = self.store.deletions(&part).await? {
            deletions.union(&earlier);
        }
        let content = write_deletions(volume, &part, &*self.ids, &deletions).await?;
        let synced = self.copying.shipper.ship_deletions(&part, &content).await;
        Ok(WrittenDeletions { content, synced })
    }

    async fn optimize(&self, spec: OptimizeSpec) -> Result<Optimized> {
        self.check_stays()?;
        self.merges.optimize(&spec).await
    }

    async fn check_part(&self, part: PartRef) -> Result<Option<String>> {
        let stopped = |_| Error::unavailable("the worker has stopped");
        let _turn = self.checks.acquire().await.map_err(stopped)?;
        self.look_at(&part, &Unthrottled).await.map(|(damage, _)| damage)
    }

    async fn running_merges(&self) -> Result<Vec<RunningMerge>> {
        Ok(self.merges.running())
    }

    async fn report(&self) -> Result<WorkerReport> {
        let disk = |volume: &Arc<Volume>| {
            let room = volume.room()?;
            Some(DiskReport {
                disk: volume.disk_name().to_owned(),
                total_bytes: room.total_bytes,
                used_bytes: room.used_bytes(),
                budget_bytes: room.budget_bytes,
            })
        };
        let disks = self.store.volumes().own().filter_map(disk).collect();
        Ok(WorkerReport { disks, scrub: self.scrubbed.report() })
    }

    async fn copy_parts(&self, spec: CopySpec) -> Result<()> {
        self.check_stays()?;
        let _active = self.active.begin();
        let CopySpec { parts, sources } = spec;
        let copies = parts.into_iter().map(|part| {
            let (receiver, sources) = (Arc::clone(&self.copying.receiver), sources.clone());
            async move { receiver.copy(&part, &sources, &Unthrottled).await.map(drop) }
        });
        let copies = stream::iter(copies).buffer_unordered(CONCURRENT_COPIES_MAX);
        copies.try_collect::<Vec<()>>().await.map(drop)
    }

    async fn read_file(&self, file: FileRead) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut missing = Error::not_found(format!("this worker has no file {}", file.name));
        // A part's files are on one of the volumes; which one, the asker need not know.
        for volume in self.store.volumes().all() {
            match file_bytes(volume, file.files, &file.name, file.offset).await {
                Err(error) if error.kind() == ErrorKind::NotFound => missing = error,
                outcome => return outcome,
            }
        }
        Err(missing)
    }

    async fn offer_filter(&self, id: u64, part: BuiltPart, summary: Arc<KeySummary>) -> Result<()> {
        self.filters.offer(id, part, summary);
        Ok(())
    }
}
