//! Rows that the engine makes of several: made once, and remembered column by column.
//!
//! ```text
//!   hidden rows of each part ─► by ranges of keys: k-way merge ─► Collapser ─► columns ─► the store
//!                                                                                           │
//!   output ◄── filters of this query ◄── rows of the columns of this query ◄────────────────┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use datafusion::common::DataFusionError;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use futures::TryStreamExt;
use granary_common::{ColumnId, Error, ErrorKind};
use granary_storage::merge::{HiddenRows, compact};

use super::Collapsing;
use super::pieces::Slice;
use crate::error::{from_datafusion, to_datafusion};
use crate::part_scan::layout::{ScanSpec, Unit};
use crate::part_scan::stream::Batches;

/// What is about to be remembered takes at most this share of the memory of its query.
const MEMORY_SHARE: usize = 4;

impl Collapsing {
    /// What becomes of the rows of `units` that are `hidden`, in the columns that a collapse reads, and
    /// of it what may pass the scan's filter. `None` where these rows are better merged anew: when they
    /// are on other nodes, too many to be remembered, or hardly wanted.
    pub async fn folded(
        &self,
        units: &[Unit],
        hidden: &HiddenRows,
        threads: usize,
    ) -> Result<Option<RecordBatch>, DataFusionError> {
        let Some((store, parts)) = self.own_parts(units) else { return Ok(None) };
        let none = RecordBatch::new_empty(Arc::clone(&self.schema));
        let filter = self.spec.filter.as_ref();
        if filter.is_some_and(|filter| filter.passing(&none, &self.columns).is_none()) {
            return Ok(None);
        }
        let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            match store.folded(&self.spec.schema, &parts, *column).await {
                Some(None) => return Ok(None),
                known => columns.push(known.flatten()),
            }
        }
        let places: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].is_none()).collect();
        if !places.is_empty() {
            if !self.reads_much(&parts).await? {
                return Ok(None);
            }
            let missing: Vec<ColumnId> = places.iter().map(|place| self.columns[*place]).collect();
            let pool = self.context.memory_pool();
            let budget = Arc::new(Budget::of(missing.len(), store.folded_bytes_max(), pool));
            let made = match self.fold(units, hidden, &missing, threads, &budget).await {
                // What it held may be what the merge lacked.
                Err(error) if is_exhausted(&error) => None,
                made => made?,
            };
            for (at, place) in places.iter().enumerate() {
                let values = made.as_ref().map(|made| Arc::clone(made.column(at)));
                columns[*place].clone_from(&values);
                if values.is_some() || budget.is_blown_by(at) {
                    store.keep_folded(&self.spec.schema, &parts, missing[at], values).await;
                }
            }
        }
        let Some(columns) = columns.into_iter().collect() else { return Ok(None) };
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(match filter.and_then(|filter| filter.passing(&rows, &self.columns)) {
            Some(passing) => Some(filter_record_batch(&rows, &passing)?),
            None => Some(rows),
        })
    }

    /// Makes `columns` of all these rows; `None` when they go beyond the budget.
    async fn fold(
        &self,
        units: &[Unit],
        hidden: &HiddenRows,
        columns: &[ColumnId],
        threads: usize,
        budget: &Arc<Budget>,
    ) -> Result<Option<RecordBatch>, DataFusionError> {
        let whole = Arc::new(self.of_all_rows(columns)?);
        let apart = whole.all_but(units, hidden).await?;
        let ranges = whole.merged_slices(units, &apart, threads).await?.into_iter();
        let making: Vec<_> = ranges
            .map(|slices| {
                let (whole, budget) = (Arc::clone(&whole), Arc::clone(budget));
                SpawnedTask::spawn(async move { whole.gathered(slices, &budget).await })
            })
            .collect();
        let mut made = Vec::new();
        for range in making {
            let stopped = |error| Error::internal(format!("merging rows was stopped: {error}"));
            match range.join_unwind().await.map_err(stopped).map_err(to_datafusion)?? {
                Some(rows) => made.extend(rows),
                None => return Ok(None),
            }
        }
        let schema = self.spec.schema.project(columns).map_err(to_datafusion)?;
        Ok(Some(concat_batches(&schema, &made)?))
    }

    /// The same for `columns` of every row, whatever this query filters.
    fn of_all_rows(&self, columns: &[ColumnId]) -> Result<Collapsing, DataFusionError> {
        let columns = columns.to_vec();
        let spec = ScanSpec { columns, filter: None, fetch: None, ..(*self.spec).clone() };
        Collapsing::new(Arc::new(spec), &self.rule, &[], self.metrics.clone(), &self.context)
    }

    /// The rows that those of `slices` become, in the scan's columns; `None` beyond the budget.
    async fn gathered(
        &self,
        slices: Vec<Slice>,
        budget: &Budget,
    ) -> Result<Option<Vec<RecordBatch>>, DataFusionError> {
        let output: Vec<usize> = (0..self.spec.columns.len()).collect();
        let mut batches: Batches = self.run(slices)?;
        let mut gathered = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let batch = compact(&batch.project(&output)?).map_err(to_datafusion)?;
            if !budget.take(&batch) {
                return Ok(None);
            }
            gathered.push(batch);
        }
        Ok(Some(gathered))
    }
}

fn is_exhausted(error: &DataFusionError) -> bool {
    from_datafusion(error).kind() == ErrorKind::ResourceExhausted
}

/// What rows that are to be remembered may take.
struct Budget {
    bytes_max: u64,
    /// Of the query's memory.
    share: u64,
    /// Until the store has them.
    held: MemoryReservation,
    /// By each of the columns that are made.
    taken: Vec<AtomicU64>,
}

impl Budget {
    /// For so many columns, all together.
    fn of(columns: usize, bytes_max: u64, pool: &Arc<dyn MemoryPool>) -> Budget {
        let share = match pool.memory_limit() {
            MemoryLimit::Finite(max) => (max / MEMORY_SHARE) as u64,
            MemoryLimit::Infinite | MemoryLimit::Unknown => u64::MAX,
        };
        let held = MemoryConsumer::new("RowsOfFinal").register(pool);
        let taken = (0..columns).map(|_| AtomicU64::new(0)).collect();
        Budget { bytes_max, share, held, taken }
    }

    /// Whether there is room for these rows as well, in the store and in the query's memory.
    fn take(&self, rows: &RecordBatch) -> bool {
        let mut total = 0;
        for (taken, column) in self.taken.iter().zip(rows.columns()) {
            let bytes = column.get_array_memory_size() as u64;
            total += taken.fetch_add(bytes, Ordering::Relaxed) + bytes;
        }
        total <= self.bytes_max.min(self.share)
            && self.held.try_grow(rows.get_array_memory_size()).is_ok()
    }

    /// Whether a column took its share and more of what was too much. One that did not may be
    /// remembered beside fewer others.
    fn is_blown_by(&self, column: usize) -> bool {
        let taken: Vec<u64> = self.taken.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let total: u64 = taken.iter().sum();
        total > self.bytes_max && taken[column] * taken.len() as u64 >= total
    }
}
