//! Sorted inputs become one sorted stream.
//!
//! The inputs' cursors are kept in the order of their next rows. The first of them gives rows as long
//! as they are before the next row of the second, so that inputs that hardly overlap are copied
//! whole, and inputs that interleave cost a few comparisons a row. Most keys differ in their first
//! bytes, which are compared as one number.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow_row::{Row, Rows};
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, Result};

use crate::sort_order::comparable_rows;

/// Rows of an output batch, about.
const BATCH_ROWS: usize = 8192;

/// Rows of one input that follow each other in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub input: usize,
    /// Among the rows that the input gave, from 0.
    pub first: u64,
    pub rows: usize,
}

/// Sorted rows, and the runs that they are made of.
#[derive(Debug)]
pub struct MergedBatch {
    pub rows: RecordBatch,
    pub runs: Vec<Run>,
}

/// Merges sorted inputs; rows with equal keys come in the order of their inputs. Holds one batch of
/// each input, and the rows of one output batch.
pub struct KWayMerge {
    cursors: Vec<Cursor>,
    /// The cursors that have a row, by their next rows.
    order: Vec<usize>,
    /// Cursors to be filled and put into `order`.
    empty: Vec<usize>,
    pending: Pending,
}

struct Cursor {
    batches: BoxStream<'static, Result<RecordBatch>>,
    /// Places of the sort key.
    key: Arc<[usize]>,
    batch: Option<RecordBatch>,
    /// Of the batch; `None` without a sort key, when all rows are equal.
    keys: Option<Keys>,
    /// The next row of the batch.
    next: usize,
    /// Rows of the batches before.
    rows_before: u64,
}

/// The sort keys of a batch.
struct Keys {
    rows: Rows,
    /// The first bytes of each.
    heads: Vec<u128>,
}

impl Keys {
    fn of(columns: &[ArrayRef]) -> Result<Keys> {
        let rows = comparable_rows(columns)?;
        let head = |row: Row<'_>| {
            let (mut bytes, data) = ([0; 16], row.data());
            let length = data.len().min(16);
            bytes[..length].copy_from_slice(&data[..length]);
            u128::from_be_bytes(bytes)
        };
        let heads = rows.iter().map(head).collect();
        Ok(Keys { rows, heads })
    }
}

/// Rows for the next output batch.
#[derive(Default)]
struct Pending {
    /// The batches that they are in; each once.
    batches: Vec<RecordBatch>,
    /// For each cursor the place of its batch in `batches`.
    places: Vec<Option<usize>>,
    /// Place of the batch, row in the batch, and what they are.
    runs: Vec<(usize, usize, Run)>,
    rows: usize,
}

impl KWayMerge {
    /// Merges `inputs`, batches of one schema sorted by the columns at `key`.
    pub fn new(inputs: Vec<BoxStream<'static, Result<RecordBatch>>>, key: Vec<usize>) -> KWayMerge {
        let key: Arc<[usize]> = key.into();
        let cursor = |batches| Cursor {
            batches,
            key: Arc::clone(&key),
            batch: None,
            keys: None,
            next: 0,
            rows_before: 0,
        };
        let cursors: Vec<_> = inputs.into_iter().map(cursor).collect();
        KWayMerge {
            order: Vec::with_capacity(cursors.len()),
            // Filled from the end, the first input first.
            empty: (0..cursors.len()).rev().collect(),
            pending: Pending { places: vec![None; cursors.len()], ..Pending::default() },
            cursors,
        }
    }

    /// The next rows; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<MergedBatch>> {
        loop {
            while let Some(cursor) = self.empty.pop() {
                if self.cursors[cursor].fill().await? {
                    self.pending.places[cursor] = None;
                    self.enter(cursor);
                }
            }
            let Some(first) = self.order.first().copied() else {
                return self.pending.emit();
            };
            let rows = self.run_length(first);
            let cursor = &mut self.cursors[first];
            self.pending.add(first, cursor, rows);
            self.order.remove(0);
            if cursor.advance(rows) {
                self.enter(first);
            } else {
                self.empty.push(first);
            }
            if self.pending.rows >= BATCH_ROWS {
                return self.pending.emit();
            }
        }
    }

    /// Puts a cursor that has a row into the order.
    fn enter(&mut self, cursor: usize) {
        let place = self.order.partition_point(|other| self.precedes(*other, cursor));
        self.order.insert(place, cursor);
    }

    fn precedes(&self, left: usize, right: usize) -> bool {
        let (a, b) = (&self.cursors[left], &self.cursors[right]);
        a.compare(a.next, b).then(left.cmp(&right)).is_lt()
    }

    /// How many rows of the first cursor's batch come before the next row of the second; at least 1.
    fn run_length(&self, first: usize) -> usize {
        let cursor = &self.cursors[first];
        let left = cursor.rows_left();
        let Some(second) = self.order.get(1).copied() else { return left };
        let bound = &self.cursors[second];
        let before = |offset: usize| {
            cursor.compare(cursor.next + offset, bound).then(first.cmp(&second)).is_lt()
        };
        if before(left - 1) {
            return left;
        }
        // Doubling steps, since runs are mostly short or very long.
        let mut end = 1;
        while end < left && before(end) {
            end = (end * 2).min(left);
        }
        let mut start = end / 2;
        // Rows below `start` are before the bound and the one at `end`, if any, is not.
        while start < end {
            let middle = start + (end - start) / 2;
            if before(middle) {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        start.max(1)
    }
}

impl Cursor {
    /// Reads the next batch that has rows; whether there is one.
    async fn fill(&mut self) -> Result<bool> {
        if let Some(batch) = self.batch.take() {
            self.rows_before += batch.num_rows() as u64;
        }
        self.next = 0;
        while let Some(batch) = self.batches.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            if !self.key.is_empty() {
                let column = |place: &usize| Arc::clone(batch.column(*place));
                let key: Vec<ArrayRef> = self.key.iter().map(column).collect();
                self.keys = Some(Keys::of(&key)?);
            }
            self.batch = Some(batch);
            return Ok(true);
        }
        Ok(false)
    }

    /// Compares `row` with the next row of `other`.
    fn compare(&self, row: usize, other: &Cursor) -> Ordering {
        let (Some(own), Some(others)) = (&self.keys, &other.keys) else { return Ordering::Equal };
        let heads = own.heads[row].cmp(&others.heads[other.next]);
        heads.then_with(|| own.rows.row(row).cmp(&others.rows.row(other.next)))
    }

    fn rows_left(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.num_rows() - self.next)
    }

    /// Passes rows; whether the batch has more.
    fn advance(&mut self, rows: usize) -> bool {
        self.next += rows;
        self.rows_left() > 0
    }
}

impl Pending {
    fn add(&mut self, input: usize, cursor: &Cursor, rows: usize) {
        let Some(batch) = &cursor.batch else { return };
        let place = *self.places[input].get_or_insert_with(|| {
            self.batches.push(batch.clone());
            self.batches.len() - 1
        });
        let first = cursor.rows_before + cursor.next as u64;
        self.rows += rows;
        self.runs.push((place, cursor.next, Run { input, first, rows }));
    }

    fn emit(&mut self) -> Result<Option<MergedBatch>> {
        let rows = match self.runs.as_slice() {
            [] => return Ok(None),
            [(place, row, run)] => self.batches[*place].slice(*row, run.rows),
            runs => {
                let mut indices = Vec::with_capacity(self.rows);
                for (place, row, run) in runs {
                    indices.extend((*row..row + run.rows).map(|row| (*place, row)));
                }
                let batches: Vec<&RecordBatch> = self.batches.iter().collect();
                interleave_record_batch(&batches, &indices)
                    .map_err(|error| Error::internal(format!("cannot merge rows: {error}")))?
            }
        };
        let runs = self.runs.drain(..).map(|(_, _, run)| run).collect();
        self.batches.clear();
        self.places.fill(None);
        self.rows = 0;
        Ok(Some(MergedBatch { rows, runs }))
    }
}
