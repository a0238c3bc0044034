//! The filled rows, column by column.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, StructArray, UInt64Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, ScalarValue, ToDFSchema};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast::ExprWithAlias;

use super::key::{Point, value};
use super::spec::NULL;
use super::{FillSpec, NEW_ROWS_MAX};
use crate::functions::register;
use granary_common::Error;
use granary_functions::zero_value;

/// Plans the expressions of INTERPOLATE.
static PLANNER: LazyLock<SessionState> =
    LazyLock::new(|| register(SessionStateBuilder::new().with_default_features()).build());

/// Where a new row takes a column's value from.
enum Source {
    /// The next value of a filled key, by its place among these.
    Key(usize),
    /// The first row of the run: a leading key.
    Run,
    /// The zero value of the type.
    Zero,
    /// Nothing: the column may be NULL.
    Null,
    /// The row before.
    Carried,
    /// An expression over the row before.
    Computed(Arc<dyn PhysicalExpr>),
}

struct OutputColumn {
    given: ArrayRef,
    source: Source,
    /// Places among the given values and then the new ones; none is NULL.
    places: Vec<Option<u64>>,
    new: Vec<ScalarValue>,
}

impl OutputColumn {
    fn put(&mut self, value: ScalarValue) {
        self.places.push(Some((self.given.len() + self.new.len()) as u64));
        self.new.push(value);
    }

    fn last(&self) -> Result<Option<ScalarValue>> {
        Ok(match self.places.last() {
            None => None,
            Some(None) => Some(ScalarValue::try_from(self.given.data_type())?),
            Some(Some(place)) => {
                let place = *place as usize;
                Some(match place.checked_sub(self.given.len()) {
                    None => ScalarValue::try_from_array(&self.given, place)?,
                    Some(place) => self.new[place].clone(),
                })
            }
        })
    }
}

/// Rows as they are added.
pub(super) struct FilledRows {
    columns: Vec<OutputColumn>,
    schema: Arc<Schema>,
    run_start: u64,
    new_rows: usize,
}

impl FilledRows {
    /// No rows yet, of those in `given`.
    pub(super) fn new(
        given: &StructArray,
        spec: &FillSpec,
        leading: &[usize],
        filled: &[usize],
    ) -> Result<FilledRows> {
        let fields: Vec<Field> = given
            .columns()
            .iter()
            .zip(&spec.names)
            .map(|(column, name)| Field::new(name, column.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let mut columns = Vec::with_capacity(given.num_columns());
        for (at, column) in given.columns().iter().enumerate() {
            let carried = spec.carried.iter().find(|carried| carried.column == at);
            let source = if let Some(place) = filled.iter().position(|filled| *filled == at) {
                Source::Key(place)
            } else if leading.contains(&at) {
                Source::Run
            } else {
                match carried.map(|carried| carried.expression.as_deref()) {
                    Some(Some(NULL)) => Source::Null,
                    Some(Some(text)) => Source::Computed(computed(text, &schema)?),
                    Some(None) => Source::Carried,
                    None => Source::Zero,
                }
            };
            let given = Arc::clone(column);
            columns.push(OutputColumn { given, source, places: Vec::new(), new: Vec::new() });
        }
        Ok(FilledRows { columns, schema, run_start: 0, new_rows: 0 })
    }

    /// A run of rows with the leading keys of the given row follows.
    pub(super) fn begin_run(&mut self, row: usize) {
        self.run_start = row as u64;
    }

    /// Adds one of the given rows.
    pub(super) fn add_given(&mut self, row: usize) -> Result<()> {
        for column in &mut self.columns {
            column.places.push(Some(row as u64));
        }
        Ok(())
    }

    /// Adds a row with these values of the filled keys.
    pub(super) fn add_new(&mut self, keys: &[Option<Point>]) -> Result<()> {
        self.new_rows += 1;
        if self.new_rows > NEW_ROWS_MAX {
            let message = format!(
                "WITH FILL adds more than {NEW_ROWS_MAX} rows; give FROM, TO or a larger STEP"
            );
            let error = Error::exhausted(message);
            return Err(datafusion::error::DataFusionError::External(Box::new(error)));
        }
        let before = match self.columns.iter().any(|c| matches!(c.source, Source::Computed(_))) {
            true => Some(self.last_row()?),
            false => None,
        };
        for column in &mut self.columns {
            let data_type = column.given.data_type().clone();
            match &column.source {
                Source::Key(place) => match keys.get(*place).copied().flatten() {
                    Some(point) => column.put(value(point, &data_type)?),
                    None => column.places.push(None),
                },
                Source::Run => column.places.push(Some(self.run_start)),
                Source::Null => column.places.push(None),
                Source::Carried if !column.places.is_empty() => {
                    let place = column.places.last().copied().flatten();
                    column.places.push(place);
                }
                Source::Computed(expression) => {
                    let Some(before) = &before else { continue };
                    let computed = expression.evaluate(before)?.into_array(1)?;
                    let computed = cast(&computed, &data_type)?;
                    column.put(ScalarValue::try_from_array(&computed, 0)?);
                }
                Source::Zero | Source::Carried => match zero_value(&data_type) {
                    Some(zero) => column.put(zero),
                    None => column.places.push(None),
                },
            }
        }
        Ok(())
    }

    /// The last row as a batch of one; before the first one of zero values.
    fn last_row(&self) -> Result<RecordBatch> {
        let mut values: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let data_type = column.given.data_type();
            let value = match column.last()?.or_else(|| zero_value(data_type)) {
                Some(value) => value,
                None => ScalarValue::try_from(data_type)?,
            };
            values.push(cast(&value.to_array()?, data_type)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), values)?)
    }

    /// All columns.
    pub(super) fn finish(self) -> Result<Vec<ArrayRef>> {
        let finished = self.columns.into_iter().map(|column| {
            let data_type: &DataType = column.given.data_type();
            let places = UInt64Array::from(column.places);
            if column.new.is_empty() {
                return Ok(take(&column.given, &places, None)?);
            }
            let new = cast(&ScalarValue::iter_to_array(column.new)?, data_type)?;
            Ok(take(&concat(&[column.given.as_ref(), new.as_ref()])?, &places, None)?)
        });
        finished.collect()
    }
}

fn computed(text: &str, schema: &Arc<Schema>) -> Result<Arc<dyn PhysicalExpr>> {
    let external = |error: Error| datafusion::error::DataFusionError::External(Box::new(error));
    let tree = crate::statement::parse_expression(text).map_err(external)?;
    let schema = Arc::clone(schema).to_dfschema()?;
    let tree = ExprWithAlias { expr: tree, alias: None };
    let expression = PLANNER.create_logical_expr_from_sql_expr(tree, &schema)?;
    PLANNER.create_physical_expr(expression, &schema)
}
