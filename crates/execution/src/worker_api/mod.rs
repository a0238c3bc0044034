//! What coordinators and other workers ask of a worker, in the same process or over gRPC.

mod directory;
mod ipc;
mod merges;
mod remote;
mod replicas;
mod report;

use std::fmt::Debug;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use granary_catalog::replication::CopyTargets;
use granary_catalog::{BoundIndex, BoundProjection, NewPart, PartLocation};
use granary_common::{BucketIndex, Result, WorkerId};
use granary_storage::{ColumnStatistics, Deletions, PartRef, PartScan, PartSchema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use url::Url;

use crate::part_scan::read::Skipped;
use crate::runtime_filter::{BuiltPart, KeySummary};

pub use directory::{CatalogDirectory, worker_url};
pub use ipc::{IpcDecoder, IpcEncoder};
pub use merges::{Cleared, OptimizeSpec, Optimized, Relocation, RunningMerge};
pub use remote::{CLUSTER_HEADER, MESSAGE_BYTES_MAX, RemoteWorker, lazy_channel};
pub use replicas::{CopySpec, FileRead, WrittenDeletions};
pub use report::{DiskReport, ScrubReport, WorkerReport};

/// Where and how a block becomes parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteSpec {
    /// Every column of the block, in this order.
    pub schema: PartSchema,
    /// The bucket that all rows belong to.
    pub bucket: BucketIndex,
    /// `Local` with the worker itself as the only copy, or the shared volume.
    pub location: PartLocation,
    /// Who gets copies of a local part before the answer.
    #[serde(default)]
    pub copies: CopyTargets,
    /// Partitions that one block may touch; more is an error of kind `ResourceExhausted`.
    pub partitions_per_block_max: usize,
    /// Skip indexes that the parts get.
    #[serde(default)]
    pub indexes: Vec<BoundIndex>,
    /// Projections that the parts get.
    #[serde(default)]
    pub projections: Vec<BoundProjection>,
}

/// One part to read for somebody else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemotePartScan {
    /// The table's schema as the reader's snapshot has it.
    pub schema: Arc<PartSchema>,
    pub part: PartRef,
    /// Columns, filter, rows, order and limit.
    pub scan: PartScan,
    /// Whether nothing is wanted but what the indexes let a reader skip.
    #[serde(default)]
    pub only_skips: bool,
}

/// What a worker reads of a part for somebody else.
pub struct RemotePartRead {
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    pub skipped: Skipped,
}

/// A worker.
#[async_trait]
pub trait WorkerApi: Debug + Send + Sync {
    /// Sorts a block of one bucket, splits it by partition, writes its parts and syncs them.
    /// Nothing is visible until the parts are committed. The parts that it gives say which workers
    /// have copies: the targets of the spec that took them within a bound.
    ///
    /// Kinds: `InvalidInput` for a block that does not fit the schema, `ResourceExhausted` for too
    /// many partitions or a full disk, `Unavailable` for a worker that is away or leaving, or when
    /// fewer copies than the least could be made.
    async fn write_block(&self, spec: WriteSpec, block: RecordBatch) -> Result<Vec<NewPart>>;

    /// Reads one part. Dropping the stream stops the reading.
    async fn scan_part(&self, scan: RemotePartScan) -> Result<RemotePartRead>;

    /// Column statistics of parts that the worker holds, part by part in the order given.
    async fn part_statistics(&self, parts: Vec<PartRef>) -> Result<Vec<Vec<ColumnStatistics>>>;

    /// Makes `deletions`, together with those that `part` has already, ready for a commit: a small
    /// vector as it is, a larger one as a synced file beside the part's, here and wherever else the
    /// part has copies, as far as they take it within a bound. The worker must hold the part.
    ///
    /// Kinds: `InvalidInput` for rows that the part does not have, `ResourceExhausted` for a full
    /// disk, `Unavailable` for a worker that is away, is leaving or does not hold the part.
    async fn write_deletions(
        &self,
        part: PartRef,
        deletions: Deletions,
    ) -> Result<WrittenDeletions>;

    /// Merges parts of buckets that the worker leads, also while background merges are stopped, and
    /// returns when that is done. Dropping the call stops it; merges that are done stay.
    ///
    /// Kinds: `Conflict` when the worker does not lead a bucket any more, `NotFound` for a table
    /// that is gone, `Unsupported` for columns that cannot be merged, `Unavailable` for a worker that
    /// is away or leaving.
    async fn optimize(&self, spec: OptimizeSpec) -> Result<Optimized>;

    /// Reads every file of the worker's copy of `part` and says what is damaged, if anything is. What
    /// is found is noted in the catalog: damage, or that a copy is whole again.
    ///
    /// Kind `Unavailable` for a worker that is away or does not hold the part.
    async fn check_part(&self, part: PartRef) -> Result<Option<String>>;

    /// The merges that run now.
    async fn running_merges(&self) -> Result<Vec<RunningMerge>>;

    /// What the worker says of its disks and of the scrub of its parts.
    async fn report(&self) -> Result<WorkerReport>;

    /// Fetches copies of parts from other workers, whatever is missing of them, and syncs them.
    ///
    /// Kinds: `Corruption` when every source sends something else than was written,
    /// `ResourceExhausted` for a full disk, `Unavailable` for a worker that is away or leaving, or
    /// when no source answers.
    async fn copy_parts(&self, spec: CopySpec) -> Result<()>;

    /// The bytes of one file of a part. Dropping the stream stops the reading.
    ///
    /// Kinds: `NotFound` for a file that is not there, `Unavailable` for a worker that is away.
    async fn read_file(&self, file: FileRead) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// Tells what keys `part` of a join's built side has, for the scans that look for the filter `id`.
    async fn offer_filter(&self, id: u64, part: BuiltPart, summary: Arc<KeySummary>) -> Result<()>;
}

/// The way to every worker.
pub trait WorkerDirectory: Debug + Send + Sync {
    /// A handle on `worker`. Kind `Unavailable` when it is not alive.
    fn api(&self, worker: WorkerId) -> Result<Arc<dyn WorkerApi>>;

    /// Where `worker` listens. Kind `Unavailable` when it is not alive.
    fn url(&self, worker: WorkerId) -> Result<Url>;

    /// The workers that are given work now, in the order of their ids, with where they listen.
    fn live(&self) -> Vec<(WorkerId, Url)>;

    /// Treats `worker` as away for some seconds: it did not answer, and the catalog does not know of
    /// it yet.
    fn shun(&self, worker: WorkerId);
}
