//! The built side of a join, as far as it fits into memory.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::common::utils::memory::{RecordBatchMemoryCounter, estimate_memory_size};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

/// Of a join's table: the index of a row, behind its hash.
type TableEntry = (u32, u64);
/// Of each row beside its table entry: the one that follows it under the same hash, and whether the row
/// has found a partner.
const ROW_BYTES: usize = 5;
const VIEW_BYTES: usize = 16;
/// One of so many bytes of a query's limit is left to its other operators.
const LEFT_SHARE: usize = 8;

/// Batches of a built side, and the memory that they and the join made of them need.
pub(super) struct Gathered {
    pub(super) batches: Vec<RecordBatch>,
    /// Whether these are all, and the join of them fits.
    pub(super) fits: bool,
    pub(super) bytes: usize,
    rows: usize,
    /// What the join's copy of the batches takes.
    copied: usize,
    held: MemoryReservation,
    pool: Arc<dyn MemoryPool>,
}

impl Gathered {
    /// Takes batches of `built` until its end, or until the join of them would not fit.
    pub(super) async fn from(
        built: &mut SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<Self> {
        let pool = Arc::clone(context.memory_pool());
        let held = MemoryConsumer::new("HashJoinInput").register(&pool);
        let (batches, fits) = (Vec::new(), true);
        let mut all = Self { batches, fits, bytes: 0, rows: 0, copied: 0, held, pool };
        let mut counter = RecordBatchMemoryCounter::new();
        while let Some(batch) = built.try_next().await? {
            all.add(batch, &mut counter)?;
            if !all.fits {
                return Ok(all);
            }
        }
        // Held for the moment until the join takes it.
        all.fits = all.held.try_grow(all.needed()?).is_ok();
        Ok(all)
    }

    /// A batch that does not fit is there already, so it is kept.
    fn add(&mut self, batch: RecordBatch, counter: &mut RecordBatchMemoryCounter) -> Result<()> {
        let bytes = counter.count_batch(&batch);
        self.bytes += bytes;
        self.rows += batch.num_rows();
        self.copied += copied_bytes(&batch)?;
        self.batches.push(batch);
        self.fits = self.held.try_grow(bytes).is_ok() && self.has_room(self.needed()?);
        Ok(())
    }

    /// Bytes that the join takes beside the batches: its table, and the copy as one batch.
    fn needed(&self) -> Result<usize> {
        let table = estimate_memory_size::<TableEntry>(self.rows, 0)?;
        Ok(table + self.rows * ROW_BYTES + self.copied)
    }

    fn has_room(&self, bytes: usize) -> bool {
        match self.pool.memory_limit() {
            MemoryLimit::Finite(max) => {
                self.pool.reserved().saturating_add(bytes) <= max - max / LEFT_SHARE
            }
            MemoryLimit::Infinite | MemoryLimit::Unknown => true,
        }
    }

    /// The last batch where these do not fit with it and may without it.
    pub(super) fn give_back(&mut self) -> Option<RecordBatch> {
        if self.fits || self.batches.len() < 2 { None } else { self.batches.pop() }
    }

    /// The batches, each accounted for until it is taken, and the rest until the end is.
    pub(super) fn into_stream(self, schema: SchemaRef) -> SendableRecordBatchStream {
        let Self { batches, held, .. } = self;
        let mut counter = RecordBatchMemoryCounter::new();
        let mut batches = batches.into_iter();
        let batches = futures::stream::poll_fn(move |_| {
            let next = batches.next();
            match &next {
                Some(batch) => {
                    held.shrink(counter.count_batch(batch).min(held.size()));
                }
                None => {
                    held.free();
                }
            }
            std::task::Poll::Ready(next.map(Ok::<_, DataFusionError>))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches.fuse()))
    }
}

/// Bytes of the rows of `batch` when they are copied into another one: texts behind views are not.
fn copied_bytes(batch: &RecordBatch) -> Result<usize> {
    let mut bytes = 0;
    for column in batch.columns() {
        bytes += match column.data_type() {
            DataType::Utf8View | DataType::BinaryView => column.len() * VIEW_BYTES,
            _ => column.to_data().get_slice_memory_size()?,
        };
    }
    Ok(bytes)
}
