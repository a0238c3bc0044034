//! Rows dealt into files by the hash of their keys.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, RecordBatch, StringViewArray, UInt32Array,
};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

/// Into so many files the rows of a side are dealt at a time.
pub(super) const FILES: usize = 16;
/// Rows on their way into a file are written when they have so many bytes.
const WRITE_BYTES: usize = 64 << 10;
/// And at the latest when they take one of so many bytes of the query's limit.
const LIMIT_SHARE: usize = 1024;
/// One more for each time that rows are dealt. Other than what the engine's own tables and exchanges
/// hash with: within one of their partitions its hashes would say nothing.
const SEED: u64 = 0x6772_616e_6172_7931;

pub(super) type File = Arc<dyn SpillFile>;
/// Appends a batch to a file, or finishes it. The engine does not give its own type a name.
type Append = Box<dyn FnMut(Option<&RecordBatch>) -> Result<Option<File>> + Send>;

/// Where rows of one schema are written.
#[derive(Clone, Debug)]
pub(super) struct Files {
    manager: Arc<SpillManager>,
}

impl Files {
    pub(super) fn new(
        schema: SchemaRef,
        context: &TaskContext,
        metrics: &ExecutionPlanMetricsSet,
        partition: usize,
    ) -> Self {
        let counted = SpillMetrics::new(metrics, partition);
        let compression = context.session_config().spill_compression();
        let manager = SpillManager::new(context.runtime_env(), counted, schema);
        Self { manager: Arc::new(manager.with_compression_type(compression)) }
    }

    fn open(&self) -> Result<Append> {
        let mut file = self.manager.create_in_progress_file("a side of a hash join")?;
        Ok(Box::new(move |batch| match batch {
            Some(batch) => file.append_batch(batch).map(|_| None),
            None => file.finish(),
        }))
    }

    /// The rows of `files`, one file after the other.
    pub(super) fn read(&self, files: Vec<File>) -> SendableRecordBatchStream {
        let (manager, schema) = (Arc::clone(&self.manager), Arc::clone(self.manager.schema()));
        let open = move |file| manager.read_spill_as_stream(file, None);
        let rows = futures::stream::iter(files).map(open).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// Deals `rows` out by the hash of `keys`; equal keys get into the same file. `depth`: how often
    /// they have been dealt before. No file where there are no rows.
    pub(super) async fn deal(
        &self,
        mut rows: SendableRecordBatchStream,
        keys: &[PhysicalExprRef],
        depth: usize,
        context: &TaskContext,
    ) -> Result<Vec<Option<File>>> {
        let hashes = RandomState::with_seed(SEED + depth as u64);
        let held = MemoryConsumer::new("HashJoinSpill").register(context.memory_pool());
        let write_bytes = match context.memory_pool().memory_limit() {
            MemoryLimit::Finite(max) => WRITE_BYTES.min(max / LIMIT_SHARE),
            MemoryLimit::Infinite | MemoryLimit::Unknown => WRITE_BYTES,
        };
        let mut writing: Vec<Writing> = (0..FILES).map(|_| Writing::default()).collect();
        while let Some(batch) = rows.try_next().await? {
            for (file, rows) in dealt(&batch, keys, &hashes)?.into_iter().enumerate() {
                if !rows.is_empty() {
                    let piece = take_record_batch(&batch, &UInt32Array::from(rows))?;
                    writing[file].add(compact(piece)?, &held);
                    if writing[file].bytes >= write_bytes {
                        writing[file].write(self, &held)?;
                    }
                }
            }
        }
        writing.into_iter().map(|file| file.finish(self, &held)).collect()
    }
}

/// The rows of `batch` that belong into each file.
fn dealt(
    batch: &RecordBatch,
    keys: &[PhysicalExprRef],
    state: &RandomState,
) -> Result<Vec<Vec<u32>>> {
    let rows = batch.num_rows();
    let keys = keys.iter().map(|key| key.evaluate(batch)?.into_array(rows));
    let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
    let mut hashes = vec![0; rows];
    create_hashes(&keys, state, &mut hashes)?;
    let mut dealt: Vec<Vec<u32>> =
        (0..FILES).map(|_| Vec::with_capacity(rows / FILES * 2)).collect();
    for (row, hash) in hashes.iter().enumerate() {
        // The high half: the low bits of this hash are the weaker ones. A batch has less than 2^32 rows.
        dealt[(hash >> 32) as usize % FILES].push(row as u32);
    }
    Ok(dealt)
}

/// Without the texts of other rows behind views, which a small piece would hold on to.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => {
                let texts: &StringViewArray = column.as_string_view();
                Arc::new(texts.gc())
            }
            DataType::BinaryView => {
                let bytes: &BinaryViewArray = column.as_binary_view();
                Arc::new(bytes.gc())
            }
            _ => Arc::clone(column),
        }
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

/// A file, and rows that are not in it yet.
#[derive(Default)]
struct Writing {
    file: Option<Append>,
    pieces: Vec<RecordBatch>,
    bytes: usize,
}

impl Writing {
    fn add(&mut self, piece: RecordBatch, held: &MemoryReservation) {
        let bytes = piece.get_array_memory_size();
        // Bounded by the number of files, and what lets the query get by with less memory.
        held.grow(bytes);
        self.bytes += bytes;
        self.pieces.push(piece);
    }

    fn write(&mut self, files: &Files, held: &MemoryReservation) -> Result<()> {
        let pieces = std::mem::take(&mut self.pieces);
        let batch = concat_batches(files.manager.schema(), &pieces)?;
        drop(pieces);
        let file = match &mut self.file {
            Some(file) => file,
            file => file.insert(files.open()?),
        };
        file(Some(&batch))?;
        held.shrink(std::mem::take(&mut self.bytes));
        Ok(())
    }

    fn finish(mut self, files: &Files, held: &MemoryReservation) -> Result<Option<File>> {
        if !self.pieces.is_empty() {
            self.write(files, held)?;
        }
        match &mut self.file {
            Some(file) => file(None),
            None => Ok(None),
        }
    }
}
