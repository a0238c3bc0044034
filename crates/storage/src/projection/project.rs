//! Rows of a part to rows of its projection.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{
    CastOptions, cast_with_options, concat_batches, take_arrays, take_record_batch,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use granary_catalog::BoundProjection;
use granary_common::{Error, Result};

use super::schema_of;
use crate::schema::PartSchema;
use crate::sort_order::{comparable_rows, sort_permutation};
use crate::ttl::{GroupFolder, RowComputation, RowEvaluator, row_schema};

/// Rows of a run, or groups, at which it is closed. Together with a piece this bounds memory.
const RUN_ROWS_MAX: usize = 1 << 17;
/// Bytes of keys of a run at which it is closed.
const RUN_KEY_BYTES_MAX: usize = 32 << 20;
/// Rows that are looked at together, at most.
const PIECE_ROWS: usize = 1 << 15;

/// Makes the rows of one projection. They come in runs, each sorted by itself.
pub struct Projector {
    schema: Arc<PartSchema>,
    fields: SchemaRef,
    keys: Vec<(Arc<dyn RowComputation>, DataType)>,
    values: Vec<DataType>,
    ordered_by: Vec<usize>,
    run: Run,
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Projector {{ {} keys, {} values }}", self.keys.len(), self.values.len())
    }
}

/// What is gathered of a run.
enum Run {
    /// Rows as they are.
    Rows {
        waiting: Vec<RecordBatch>,
        rows: usize,
    },
    Groups(Groups),
}

/// Groups of equal keys.
struct Groups {
    /// `None` when nothing is aggregated.
    folder: Option<Box<dyn GroupFolder>>,
    by_key: HashMap<Box<[u8]>, usize>,
    /// The keys of the groups, in the order of their numbers.
    firsts: Vec<RecordBatch>,
    key_bytes: usize,
    count: usize,
}

impl Projector {
    /// For rows in the order of `part.columns`.
    pub fn new(
        projection: &BoundProjection,
        evaluator: &dyn RowEvaluator,
        part: &PartSchema,
    ) -> Result<Projector> {
        let fields = row_schema(&part.columns);
        let schema = Arc::new(schema_of(part.table, projection, part.granularity));
        let mut keys = Vec::with_capacity(projection.keys.len());
        for key in &projection.keys {
            keys.push((evaluator.compile(&key.expression, &fields)?, key.column_type.arrow()));
        }
        let calls: Vec<_> = projection.values.iter().map(|value| value.aggregate.clone()).collect();
        let run = match projection.is_grouped {
            false => Run::Rows { waiting: Vec::new(), rows: 0 },
            true => Run::Groups(Groups {
                folder: match calls.is_empty() {
                    true => None,
                    false => Some(evaluator.folder(&calls, &fields)?),
                },
                by_key: HashMap::new(),
                firsts: Vec::new(),
                key_bytes: 0,
                count: 0,
            }),
        };
        let ordered_by = projection.ordered_by.iter().map(|place| *place as usize);
        Ok(Projector {
            fields: schema.arrow_schema(),
            schema,
            keys,
            values: projection.values.iter().map(|value| value.column_type.arrow()).collect(),
            ordered_by: ordered_by.filter(|place| *place < projection.keys.len()).collect(),
            run,
        })
    }

    /// The shape of its rows.
    pub fn schema(&self) -> &Arc<PartSchema> {
        &self.schema
    }

    /// Takes the next rows; gives the runs that are complete.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let mut runs = Vec::new();
        for start in (0..rows.num_rows()).step_by(PIECE_ROWS) {
            let piece = rows.slice(start, PIECE_ROWS.min(rows.num_rows() - start));
            let keys = self.key_values(&piece)?;
            let is_full = match &mut self.run {
                Run::Groups(groups) => groups.add(&piece, keys)?,
                Run::Rows { waiting, rows } => {
                    *rows += piece.num_rows();
                    waiting.push(batch(&self.fields, keys, piece.num_rows())?);
                    *rows >= RUN_ROWS_MAX
                }
            };
            if is_full {
                runs.extend(self.close()?);
            }
        }
        Ok(runs)
    }

    /// The last run, after the last rows.
    pub fn finish(mut self) -> Result<Option<RecordBatch>> {
        self.close()
    }

    fn key_values(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let key = |(computation, data_type): &(Arc<dyn RowComputation>, DataType)| {
            computation.evaluate(rows).and_then(|values| typed(&values, data_type))
        };
        self.keys.iter().map(key).collect()
    }

    fn close(&mut self) -> Result<Option<RecordBatch>> {
        let run = match &mut self.run {
            Run::Rows { waiting, rows } => {
                *rows = 0;
                let waiting = std::mem::take(waiting);
                match waiting.is_empty() {
                    true => None,
                    false => Some(concat_batches(&self.fields, &waiting).map_err(failed)?),
                }
            }
            Run::Groups(groups) => groups.close(&self.fields, &self.values)?,
        };
        let Some(run) = run else { return Ok(None) };
        let order: Vec<ArrayRef> =
            self.ordered_by.iter().map(|place| Arc::clone(run.column(*place))).collect();
        match sort_permutation(&order)? {
            Some(order) => take_record_batch(&run, &order).map(Some).map_err(failed),
            None => Ok(Some(run)),
        }
    }
}

impl Groups {
    /// Adds rows with their keys; whether the run is to be closed.
    fn add(&mut self, rows: &RecordBatch, keys: Vec<ArrayRef>) -> Result<bool> {
        let numbers = match keys.is_empty() {
            true => {
                self.count = 1;
                vec![0; rows.num_rows()]
            }
            false => self.numbers(&keys)?,
        };
        if let Some(folder) = &mut self.folder {
            folder.add(rows, &numbers, self.count)?;
        }
        Ok(self.count >= RUN_ROWS_MAX || self.key_bytes >= RUN_KEY_BYTES_MAX)
    }

    /// The number of each row's group.
    fn numbers(&mut self, keys: &[ArrayRef]) -> Result<Vec<usize>> {
        let bytes = comparable_rows(keys)?;
        let mut numbers: Vec<usize> = Vec::with_capacity(bytes.num_rows());
        let mut new_rows: Vec<u32> = Vec::new();
        for row in 0..bytes.num_rows() {
            let key = bytes.row(row);
            // Sorted rows often repeat the key of the one before.
            if row > 0
                && bytes.row(row - 1) == key
                && let Some(before) = numbers.last()
            {
                numbers.push(*before);
                continue;
            }
            let known = self.by_key.get(key.data()).copied();
            numbers.push(known.unwrap_or_else(|| {
                self.by_key.insert(Box::from(key.data()), self.count);
                self.key_bytes += key.data().len();
                new_rows.push(row as u32);
                self.count += 1;
                self.count - 1
            }));
        }
        if !new_rows.is_empty() {
            let firsts = take_arrays(keys, &UInt32Array::from(new_rows), None).map_err(failed)?;
            let named = |(place, key): (usize, ArrayRef)| (super::key_name(place), key, true);
            let firsts = firsts.into_iter().enumerate().map(named);
            self.firsts.push(RecordBatch::try_from_iter_with_nullable(firsts).map_err(failed)?);
        }
        Ok(numbers)
    }

    /// The rows of all groups, which are forgotten.
    fn close(&mut self, fields: &SchemaRef, values: &[DataType]) -> Result<Option<RecordBatch>> {
        let count = std::mem::take(&mut self.count);
        self.by_key.clear();
        self.key_bytes = 0;
        let firsts = std::mem::take(&mut self.firsts);
        if count == 0 {
            return Ok(None);
        }
        let mut columns = match firsts.first() {
            Some(first) => {
                let keys = concat_batches(&first.schema(), &firsts).map_err(failed)?;
                keys.columns().to_vec()
            }
            None => Vec::new(),
        };
        if let Some(folder) = &mut self.folder {
            let results = folder.take(count)?;
            for (result, data_type) in results.columns().iter().zip(values) {
                columns.push(typed(result, data_type)?);
            }
        }
        batch(fields, columns, count).map(Some)
    }
}

fn batch(fields: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(fields), columns, &options).map_err(failed)
}

/// The values in the type that is stored; nothing becomes NULL on the way.
fn typed(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if values.data_type() == data_type {
        return Ok(Arc::clone(values));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, data_type, &options).map_err(failed)
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot make a projection: {error}"))
}
