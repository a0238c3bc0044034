//! The worker's work, without a network between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use granary_catalog::{DeletionContent, NewPart, PartLocation};
use granary_common::{Error, Result, WorkerId};
use granary_execution::{
    ActiveWork, FilterHub, KeySummary, OptimizeSpec, Optimized, RemotePartScan, RunningMerge,
    WorkerApi, WriteSpec, read_held,
};
use granary_storage::{
    ColumnStatistics, Deletions, PartRef, PartStore, WriteOptions, write_block, write_deletions,
};
use tokio::sync::Semaphore;

use crate::merge::Merges;
use crate::part_ids::LeasedPartIds;

/// Blocks that are sorted and written at the same time; the rest waits.
const CONCURRENT_WRITES_MAX: usize = 4;

/// Writes and reads the parts of this process.
#[derive(Debug)]
pub struct LocalWorker {
    worker: WorkerId,
    store: Arc<PartStore>,
    ids: Arc<LeasedPartIds>,
    writes: Semaphore,
    leaving: AtomicBool,
    active: ActiveWork,
    merges: Arc<Merges>,
    filters: FilterHub,
}

impl LocalWorker {
    /// The work of `worker` on `store`.
    pub fn new(
        worker: WorkerId,
        store: Arc<PartStore>,
        ids: Arc<LeasedPartIds>,
        active: ActiveWork,
        merges: Arc<Merges>,
    ) -> Self {
        Self {
            worker,
            store,
            ids,
            writes: Semaphore::new(CONCURRENT_WRITES_MAX),
            leaving: AtomicBool::new(false),
            active,
            merges,
            filters: FilterHub::default(),
        }
    }

    /// The runtime filters that came here.
    pub fn filters(&self) -> &FilterHub {
        &self.filters
    }

    /// Refuses writes from now on.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        self.merges.leave();
    }

    /// Kind `Unavailable` when the worker is leaving.
    pub fn check_stays(&self) -> Result<()> {
        match self.leaving.load(Ordering::SeqCst) {
            true => Err(Error::unavailable(format!("worker {} is leaving", self.worker))),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl WorkerApi for LocalWorker {
    async fn write_block(&self, spec: WriteSpec, block: RecordBatch) -> Result<Vec<NewPart>> {
        self.check_stays()?;
        let _active = self.active.begin();
        let _turn = self
            .writes
            .acquire()
            .await
            .map_err(|_| Error::unavailable("the worker has stopped"))?;
        let volume = self.store.volumes().holding(&spec.location).ok_or_else(|| {
            Error::invalid(format!("worker {} has no volume {:?}", self.worker, spec.location))
        })?;
        let options = WriteOptions {
            partitions_per_block_max: spec.partitions_per_block_max,
            ..WriteOptions::default()
        };
        write_block(volume, spec.location.clone(), &spec.schema, &*self.ids, block, &options).await
    }

    async fn scan_part(
        &self,
        scan: RemotePartScan,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let active = self.active.begin();
        let RemotePartScan { schema, part, scan } = scan;
        let read = read_held(&self.store, schema, &part, scan).await?;
        let batches = read.batches.map(move |batch| {
            let _active = &active;
            batch
        });
        Ok(batches.boxed())
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
    ) -> Result<DeletionContent> {
        self.check_stays()?;
        let _active = self.active.begin();
        if matches!(&part.location, PartLocation::Local { copies } if copies.len() > 1) {
            return Err(Error::unsupported(format!(
                "part {} has several copies, and deletions of such a part are not written yet",
                part.id
            )));
        }
        let volume = self.store.volumes().holding(&part.location).ok_or_else(|| {
            Error::unavailable(format!("worker {} does not hold part {}", self.worker, part.id))
        })?;
        if let Some(earlier) = self.store.deletions(&part).await? {
            deletions.union(&earlier);
        }
        write_deletions(volume, &part, &*self.ids, &deletions).await
    }

    async fn optimize(&self, spec: OptimizeSpec) -> Result<Optimized> {
        self.check_stays()?;
        self.merges.optimize(&spec).await
    }

    async fn running_merges(&self) -> Result<Vec<RunningMerge>> {
        Ok(self.merges.running())
    }

    async fn offer_filter(&self, id: u64, summary: Arc<KeySummary>) -> Result<()> {
        self.filters.offer(id, summary);
        Ok(())
    }
}
