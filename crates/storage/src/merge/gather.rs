//! Columns of a merge's output out of its inputs, once it is known which rows it has.
//!
//! ```text
//! order of the rows ─► runs ─┐
//! scans of the inputs ───────┴─► rows taken ─► batches
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, Result};

use super::row_order::{OrderReader, OrderRun, RowOrder};

/// Rows of an output batch, at most.
const BATCH_ROWS: u32 = 8192;

/// Takes rows out of inputs in the order of the output. Holds of each input the batches that the next
/// output batch needs.
pub(super) struct Gather {
    order: OrderReader<Arc<RowOrder>>,
    inputs: Vec<Scanned>,
}

/// An input as it is read.
struct Scanned {
    batches: BoxStream<'static, Result<RecordBatch>>,
    /// Read and not given up yet.
    waiting: VecDeque<Waiting>,
    /// Rows read so far.
    read: u32,
}

struct Waiting {
    first: u32,
    batch: RecordBatch,
    /// Its place among the batches of the output batch that is being made.
    place: Option<usize>,
}

impl Waiting {
    /// The row after the last one.
    fn end(&self) -> u32 {
        self.first + self.batch.num_rows() as u32
    }
}

/// What an output batch is made of.
#[derive(Default)]
struct Taken {
    batches: Vec<RecordBatch>,
    /// Place of the batch, and row in it.
    rows: Vec<(usize, usize)>,
}

impl Gather {
    /// Of `inputs`, scans in the order of their rows without deleted ones.
    pub fn new(
        order: Arc<RowOrder>,
        inputs: Vec<BoxStream<'static, Result<RecordBatch>>>,
    ) -> Gather {
        let scanned = |batches| Scanned { batches, waiting: VecDeque::new(), read: 0 };
        let inputs = inputs.into_iter().map(scanned).collect();
        Gather { order: OrderReader::new(order), inputs }
    }

    /// The next rows, and what comes after them.
    pub async fn next(mut self) -> Result<Option<(RecordBatch, Gather)>> {
        // Other tasks of the thread run between batches.
        tokio::task::yield_now().await;
        for waiting in self.inputs.iter_mut().flat_map(|input| &mut input.waiting) {
            waiting.place = None;
        }
        let mut taken = Taken::default();
        let mut left = BATCH_ROWS;
        while left > 0 {
            let Some(run) = self.order.next(left)? else { break };
            left -= run.rows;
            self.inputs[run.input].take(run, &mut taken).await?;
        }
        Ok(taken.batch()?.map(|batch| (batch, self)))
    }
}

impl Scanned {
    async fn take(&mut self, run: OrderRun, taken: &mut Taken) -> Result<()> {
        let end = run.first + run.rows;
        let mut row = run.first;
        while row < end {
            let waiting = self.holding(row, run.keep).await?;
            let place = *waiting.place.get_or_insert_with(|| {
                taken.batches.push(waiting.batch.clone());
                taken.batches.len() - 1
            });
            let until = end.min(waiting.end());
            let rows = (row - waiting.first) as usize..(until - waiting.first) as usize;
            taken.rows.extend(rows.map(|row| (place, row)));
            row = until;
        }
        Ok(())
    }

    /// The batch with `row`; batches without a row from `keep` on are given up.
    async fn holding(&mut self, row: u32, keep: u32) -> Result<&mut Waiting> {
        let is_past = |waiting: &Waiting| waiting.end() <= keep;
        while self.waiting.front().is_some_and(is_past) {
            self.waiting.pop_front();
        }
        while self.read <= row {
            let Some(batch) = self.batches.next().await.transpose()? else {
                return Err(Error::internal("a part has fewer rows than when its keys were read"));
            };
            let waiting = Waiting { first: self.read, batch, place: None };
            self.read += waiting.batch.num_rows() as u32;
            if waiting.batch.num_rows() > 0 && !is_past(&waiting) {
                self.waiting.push_back(waiting);
            }
        }
        let place = self.waiting.partition_point(|waiting| waiting.first <= row);
        let found = place.checked_sub(1).and_then(|place| self.waiting.get_mut(place));
        found
            .filter(|waiting| row < waiting.end())
            .ok_or_else(|| Error::internal("a row of a merge was given up too early"))
    }
}

impl Taken {
    /// The rows as one batch; none without rows.
    fn batch(self) -> Result<Option<RecordBatch>> {
        let Taken { batches, rows } = self;
        let (Some((_, first)), [one, others @ ..]) = (rows.first(), batches.as_slice()) else {
            return Ok(None);
        };
        // Rows of one batch ascend but where keys are equal; as many as they span are all of them.
        let is_whole = others.is_empty()
            && rows.iter().enumerate().all(|(place, (_, row))| *row == first + place);
        if is_whole {
            return Ok(Some(one.slice(*first, rows.len())));
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        let taken = interleave_record_batch(&batches, &rows);
        taken.map(Some).map_err(|error| Error::internal(format!("cannot merge rows: {error}")))
    }
}
