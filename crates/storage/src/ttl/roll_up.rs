//! Rows that are due become one for each key.
//!
//! Rows come sorted, and the keys lead the sort order, so the rows of a key follow each other. The
//! one that they become stands where the first of them stood. Rows of the key that are not due wait
//! behind it until the key ends.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow_row::Rows;
use granary_catalog::RollUp;
use granary_common::{Error, Result};

use super::evaluate::{GroupFolder, RowComputation, RowEvaluator, row_schema};
use super::stage::failed;
use crate::merge::{RowMapBuilder, RowSource, Sourced};
use crate::schema::PartSchema;
use crate::sort_order::comparable_rows;

/// Rows that wait behind one that is not complete, at most. Beyond that it is taken as complete;
/// where rows are sorted by their age within the key, it is.
const WAITING_ROWS_MAX: usize = 65_536;

/// Rolls rows up as one rule says.
#[derive(Debug)]
pub(super) struct RollUpStage {
    /// Places of the keys.
    keys: Vec<usize>,
    folder: Box<dyn GroupFolder>,
    /// Places of the columns that are set, and what they are set to.
    set: Vec<(usize, Arc<dyn RowComputation>)>,
    open: Option<Open>,
}

/// A key of which more rows may come.
#[derive(Debug)]
struct Open {
    key: Vec<u8>,
    /// The first row that was due.
    first: RecordBatch,
    waiting: Vec<Sourced>,
    waiting_rows: usize,
}

/// Where an output row comes from.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The row of the batch.
    Live(usize),
    /// Every row of this batch of those that waited.
    Waited(usize),
    /// What this group became.
    Rolled(usize),
}

/// What a batch became, before its groups are computed.
#[derive(Debug, Default)]
struct Plan {
    pieces: Vec<Piece>,
    waited: Vec<Sourced>,
    /// First rows of the groups that are complete.
    firsts: Vec<RecordBatch>,
    /// Rows of the batch that are due, and their groups.
    due: Vec<u64>,
    groups: Vec<usize>,
}

impl RollUpStage {
    pub fn new(
        roll_up: &RollUp,
        evaluator: &dyn RowEvaluator,
        schema: &PartSchema,
    ) -> Result<RollUpStage> {
        let folder = evaluator.folder(&roll_up.aggregates, &row_schema(&schema.columns))?;
        let mut set = Vec::with_capacity(roll_up.set.len());
        for (column, expression) in &roll_up.set {
            let computation = evaluator.compile(expression, folder.results())?;
            set.push((schema.position(*column)?, computation));
        }
        let keys = roll_up.keys.iter().map(|key| schema.position(*key)).collect::<Result<_>>()?;
        Ok(RollUpStage { keys, folder, set, open: None })
    }

    /// The rows that are complete. `due` are those of the batch to roll up.
    pub fn pass(
        &mut self,
        batch: Sourced,
        due: Option<BooleanArray>,
        map: &mut RowMapBuilder,
    ) -> Result<Sourced> {
        if due.is_none() && self.open.is_none() {
            return Ok(batch);
        }
        let plan = self.plan(&batch, due.as_ref(), map)?;
        self.performed(plan, Some(&batch))
    }

    /// The last key.
    pub fn finish(&mut self) -> Result<Option<Sourced>> {
        if self.open.is_none() {
            return Ok(None);
        }
        let mut plan = Plan::default();
        self.close(&mut plan);
        self.performed(plan, None).map(Some)
    }

    fn plan(
        &mut self,
        batch: &Sourced,
        due: Option<&BooleanArray>,
        map: &mut RowMapBuilder,
    ) -> Result<Plan> {
        let keys = self.key_rows(&batch.rows)?;
        let key_of = |row: usize| keys.as_ref().map_or(&[][..], |keys| keys.row(row).data());
        let mut plan = Plan::default();
        // Rows that wait behind the open group, of this batch.
        let mut waiting: Option<usize> = None;
        for row in 0..batch.rows.num_rows() {
            if self.open.as_ref().is_some_and(|open| open.key != key_of(row)) {
                self.wait(batch, waiting.take(), row);
                self.close(&mut plan);
            }
            if due.is_some_and(|due| due.value(row)) {
                self.wait(batch, waiting.take(), row);
                if self.open.is_none() {
                    let first = take(&batch.rows, &[row as u64])?;
                    let key = key_of(row).to_vec();
                    self.open = Some(Open { key, first, waiting: Vec::new(), waiting_rows: 0 });
                }
                plan.due.push(row as u64);
                plan.groups.push(plan.firsts.len());
                if let Some(source) = batch.sources[row] {
                    map.collapsed(source);
                }
            } else if self.open.is_some() {
                waiting.get_or_insert(row);
            } else {
                plan.pieces.push(Piece::Live(row));
            }
        }
        self.wait(batch, waiting, batch.rows.num_rows());
        if self.open.as_ref().is_some_and(|open| open.waiting_rows > WAITING_ROWS_MAX) {
            self.close(&mut plan);
        }
        Ok(plan)
    }

    /// Lets rows from `first` to before `end` wait.
    fn wait(&mut self, batch: &Sourced, first: Option<usize>, end: usize) {
        let (Some(first), Some(open)) = (first, &mut self.open) else { return };
        let rows = batch.rows.slice(first, end - first);
        open.waiting_rows += rows.num_rows();
        open.waiting.push(Sourced { rows, sources: batch.sources[first..end].to_vec() });
    }

    /// The open key is complete.
    fn close(&mut self, plan: &mut Plan) {
        let Some(open) = self.open.take() else { return };
        plan.pieces.push(Piece::Rolled(plan.firsts.len()));
        plan.firsts.push(open.first);
        for waited in open.waiting {
            plan.pieces.push(Piece::Waited(plan.waited.len()));
            plan.waited.push(waited);
        }
    }

    fn key_rows(&self, rows: &RecordBatch) -> Result<Option<Rows>> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        (!keys.is_empty()).then(|| comparable_rows(&keys)).transpose()
    }

    /// Computes the groups and puts the pieces together.
    fn performed(&mut self, plan: Plan, batch: Option<&Sourced>) -> Result<Sourced> {
        let Plan { pieces, waited, firsts, due, groups } = plan;
        if let Some(batch) = batch
            && !due.is_empty()
        {
            let count = groups.last().map_or(0, |group| group + 1);
            self.folder.add(&take(&batch.rows, &due)?, &groups, count)?;
        }
        let rolled = self.rolled(&firsts)?;
        let mut batches: Vec<&RecordBatch> = Vec::with_capacity(2 + waited.len());
        let live_at = batches.len();
        batches.extend(batch.map(|batch| &batch.rows));
        let rolled_at = batches.len();
        batches.extend(&rolled);
        let waited_at = batches.len();
        batches.extend(waited.iter().map(|waited| &waited.rows));
        let mut indices: Vec<(usize, usize)> = Vec::with_capacity(pieces.len());
        let mut sources: Vec<Option<RowSource>> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Live(row) => {
                    indices.push((live_at, row));
                    sources.push(batch.and_then(|batch| batch.sources[row]));
                }
                Piece::Rolled(group) => {
                    indices.push((rolled_at, group));
                    sources.push(None);
                }
                Piece::Waited(at) => {
                    indices
                        .extend((0..waited[at].rows.num_rows()).map(|row| (waited_at + at, row)));
                    sources.extend_from_slice(&waited[at].sources);
                }
            }
        }
        let rows = match (batches.as_slice(), indices.is_empty()) {
            ([any, ..], true) => RecordBatch::new_empty(any.schema()),
            (all, _) => interleave_record_batch(all, &indices).map_err(failed)?,
        };
        Ok(Sourced { rows, sources })
    }

    /// The rows that the first groups became.
    fn rolled(&mut self, firsts: &[RecordBatch]) -> Result<Option<RecordBatch>> {
        let Some(first) = firsts.first() else { return Ok(None) };
        let schema = first.schema();
        let all = concat_batches(&schema, firsts).map_err(failed)?;
        let results = self.folder.take(firsts.len())?;
        let mut columns = all.columns().to_vec();
        for (place, computation) in &self.set {
            let values = computation.evaluate(&results)?;
            let data_type = schema.field(*place).data_type();
            let values = arrow::compute::cast(&values, data_type).map_err(failed)?;
            columns[*place] = values;
        }
        RecordBatch::try_new(schema, columns).map(Some).map_err(|error| {
            Error::invalid(format!("TTL GROUP BY gives a value that does not fit: {error}"))
        })
    }
}

fn take(rows: &RecordBatch, places: &[u64]) -> Result<RecordBatch> {
    take_record_batch(rows, &UInt64Array::from(places.to_vec())).map_err(failed)
}
