//! Sorted inputs become one sorted stream.
//!
//! The inputs' cursors are kept in the order of their next rows. The first of them gives rows as long
//! as they are before the next row of the second, so that inputs that hardly overlap are copied
//! whole, and inputs that interleave cost a few comparisons a row. Most keys differ in their first
//! bytes, which are compared as one number.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave_record_batch;
use futures::stream::{BoxStream, Fuse, StreamExt};
use granary_common::{Error, Result};

use super::keys::Keys;
use crate::sort_order::SORT_OPTIONS;

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
    order: Vec<Next>,
    /// Cursors to be filled and put into `order`.
    empty: Vec<usize>,
    /// The run that was given last.
    given: Option<Taken>,
    pending: Pending,
}

/// A cursor and the head of its next row.
#[derive(Clone, Copy)]
struct Next {
    head: u128,
    cursor: usize,
}

/// Rows of the batch of one cursor that come next.
#[derive(Clone, Debug)]
struct Taken {
    cursor: usize,
    rows: Range<usize>,
}

/// Where a merge is in one of its inputs.
pub(super) struct Cursor {
    batches: Fuse<BoxStream<'static, Result<RecordBatch>>>,
    /// Places of the sort key.
    key: Arc<[usize]>,
    pub batch: Option<RecordBatch>,
    /// Of the batch; `None` without a sort key, when all rows are equal.
    pub keys: Option<Keys>,
    /// The next row of the batch.
    next: usize,
    /// Rows of the batches before.
    pub rows_before: u64,
}

/// Rows for the next output batch.
#[derive(Default)]
struct Pending {
    /// The batches that they are in; each once.
    batches: Vec<RecordBatch>,
    /// For each cursor the place of its batch in `batches`, and the rows before it.
    places: Vec<Option<(u64, usize)>>,
    /// Place of the batch, row in the batch, and what they are.
    runs: Vec<(usize, usize, Run)>,
    rows: usize,
}

impl KWayMerge {
    /// Merges `inputs`, batches of one schema sorted by the columns at `key`.
    pub fn new(inputs: Vec<BoxStream<'static, Result<RecordBatch>>>, key: Vec<usize>) -> KWayMerge {
        let key: Arc<[usize]> = key.into();
        let cursors: Vec<_> =
            inputs.into_iter().map(|batches| Cursor::new(batches, &key)).collect();
        KWayMerge {
            order: Vec::with_capacity(cursors.len()),
            // Filled from the end, the first input first.
            empty: (0..cursors.len()).rev().collect(),
            given: None,
            pending: Pending { places: vec![None; cursors.len()], ..Pending::default() },
            cursors,
        }
    }

    /// The next rows; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<MergedBatch>> {
        loop {
            let Some(taken) = self.next_run().await? else { return self.pending.emit() };
            self.pending.add(&self.cursors[taken.cursor], &taken);
            if self.pending.rows >= BATCH_ROWS {
                return self.pending.emit();
            }
        }
    }

    /// The next rows of one input, whose batch stays where it is until the next call; `None` after the
    /// last.
    async fn next_run(&mut self) -> Result<Option<Taken>> {
        if let Some(Taken { cursor, rows }) = self.given.take() {
            match self.cursors[cursor].advance(rows.len()) {
                true => self.enter(cursor),
                false => self.empty.push(cursor),
            }
        }
        while let Some(cursor) = self.empty.pop() {
            if self.cursors[cursor].fill().await? {
                self.enter(cursor);
            }
        }
        if self.order.is_empty() {
            return Ok(None);
        }
        let length = self.run_length();
        let cursor = self.order.remove(0).cursor;
        let first = self.cursors[cursor].next;
        let taken = Taken { cursor, rows: first..first + length };
        self.given = Some(taken.clone());
        Ok(Some(taken))
    }

    /// Puts a cursor that has a row into the order.
    fn enter(&mut self, cursor: usize) {
        let next = Next { head: self.cursors[cursor].head(), cursor };
        let place = self.order.partition_point(|other| self.precedes(other, &next));
        self.order.insert(place, next);
    }

    fn precedes(&self, left: &Next, right: &Next) -> bool {
        let tied = || {
            let (a, b) = (&self.cursors[left.cursor], &self.cursors[right.cursor]);
            a.compare_tails(a.next, b).then(left.cursor.cmp(&right.cursor))
        };
        left.head.cmp(&right.head).then_with(tied).is_lt()
    }

    /// How many rows of the first cursor's batch come before the next row of the second; at least 1.
    fn run_length(&self) -> usize {
        let cursor = &self.cursors[self.order[0].cursor];
        let left = cursor.rows_left();
        let Some(second) = self.order.get(1) else { return left };
        let bound = &self.cursors[second.cursor];
        let tie = self.order[0].cursor.cmp(&second.cursor);
        let before = |offset: usize| {
            let row = cursor.next + offset;
            let heads = cursor.head_of(row).cmp(&second.head);
            heads.then_with(|| cursor.compare_tails(row, bound).then(tie)).is_lt()
        };
        // Where inputs interleave one row is all.
        if left == 1 || !before(1) {
            return 1;
        }
        if before(left - 1) {
            return left;
        }
        // Doubling steps, since runs are mostly short or very long.
        let mut end = 2;
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
        start
    }
}

impl Cursor {
    /// Before the first batch of an input with the sort key at the places `key`.
    pub fn new(batches: BoxStream<'static, Result<RecordBatch>>, key: &Arc<[usize]>) -> Cursor {
        let (batches, key) = (batches.fuse(), Arc::clone(key));
        Cursor { batches, key, batch: None, keys: None, next: 0, rows_before: 0 }
    }

    /// Reads the next batch that has rows; whether there is one.
    pub async fn fill(&mut self) -> Result<bool> {
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
                self.keys = Some(Keys::of(&key, SORT_OPTIONS)?);
            }
            self.batch = Some(batch);
            return Ok(true);
        }
        Ok(false)
    }

    /// The head of the next row's key.
    pub fn head(&self) -> u128 {
        self.head_of(self.next)
    }

    fn head_of(&self, row: usize) -> u128 {
        self.keys.as_ref().map_or(0, |keys| keys.heads[row])
    }

    /// Compares what the heads do not tell of `row` and of the next row of `other`.
    fn compare_tails(&self, row: usize, other: &Cursor) -> Ordering {
        self.tail(row).cmp(other.tail(other.next))
    }

    /// What the head does not tell of the key of a row of the batch.
    pub fn tail(&self, row: usize) -> &[u8] {
        self.keys.as_ref().map_or(&[], |keys| keys.tail(row))
    }

    /// The key of a row of the batch: its head, and what that does not tell.
    pub fn key(&self, row: usize) -> (u128, &[u8]) {
        (self.head_of(row), self.tail(row))
    }

    /// The key of the last row of the batch, if there are rows left.
    pub fn last_key(&self) -> Option<(u128, &[u8])> {
        let left = self.rows_left();
        (left > 0).then(|| self.key(self.next + left - 1))
    }

    /// Passes the next rows whose keys are `below` a bound, and gives their places in the batch.
    pub fn pass_below(&mut self, below: impl Fn((u128, &[u8])) -> bool) -> Range<usize> {
        let first = self.next;
        let (mut start, mut end) = (first, first + self.rows_left());
        while start < end {
            let middle = start + (end - start) / 2;
            match below(self.key(middle)) {
                true => start = middle + 1,
                false => end = middle,
            }
        }
        self.next = start;
        first..start
    }

    pub fn rows_left(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.num_rows() - self.next)
    }

    /// Passes rows; whether the batch has more.
    fn advance(&mut self, rows: usize) -> bool {
        self.next += rows;
        self.rows_left() > 0
    }
}

impl Pending {
    fn add(&mut self, cursor: &Cursor, taken: &Taken) {
        let Some(batch) = &cursor.batch else { return };
        let (input, rows) = (taken.cursor, taken.rows.len());
        let place = match self.places[input] {
            Some((before, place)) if before == cursor.rows_before => place,
            _ => {
                self.batches.push(batch.clone());
                self.batches.len() - 1
            }
        };
        self.places[input] = Some((cursor.rows_before, place));
        let first = cursor.rows_before + taken.rows.start as u64;
        self.rows += rows;
        self.runs.push((place, taken.rows.start, Run { input, first, rows }));
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
