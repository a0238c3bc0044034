//! Rows for missing values of a key, for `ORDER BY ... WITH FILL`.
//!
//! ```text
//!   array of rows ──sort──► runs of equal leading keys ──[`Gaps`]──► rows and new rows ──► array
//! ```

mod key;
mod rows;
mod sequence;
mod spec;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use granary_common::Error;
use granary_functions::{Arity, Scalar};

use rows::FilledRows;
use sequence::{Bounds, Gaps};

pub(crate) use key::step_type;
pub(crate) use spec::{FillKey, FillSpec, FilledColumn, NULL};

/// Most rows that one result is filled with.
const NEW_ROWS_MAX: usize = 10_000_000;

/// Arguments: the array of rows, a [`FillSpec`] as text, then FROM, TO and STEP of the keys.
pub(super) const FILL: Scalar = Scalar {
    name: "__granaryFill",
    arity: Arity::AtLeastOne,
    returns: |types| match types.first() {
        Some(DataType::List(item)) => Ok(DataType::List(Arc::new(filled_item(item.data_type())?))),
        _ => Err(invalid("WITH FILL takes rows".to_owned())),
    },
    kernel: fill,
};

fn invalid(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message)))
}

/// The row with its position.
fn filled_item(row: &DataType) -> Result<Field> {
    let DataType::Struct(fields) = row else {
        return Err(invalid("WITH FILL takes rows".to_owned()));
    };
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let position = Field::new("position", DataType::UInt64, false);
    let fields: Fields = fields.iter().map(nullable).chain([position]).collect();
    Ok(Field::new_list_field(DataType::Struct(fields), false))
}

fn fill(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let [lists, specs, bounds @ ..] = arguments else {
        return Err(invalid("WITH FILL takes rows and keys".to_owned()));
    };
    let lists = lists.as_list::<i32>();
    let item = Arc::new(filled_item(&lists.value_type())?);
    let mut filled: Vec<StructArray> = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let text = ScalarValue::try_from_array(specs, row)?.to_string();
        let values: Vec<ScalarValue> = bounds
            .iter()
            .map(|bound| ScalarValue::try_from_array(bound, row))
            .collect::<Result<_>>()?;
        let spec = FillSpec::parse(&text)?;
        // No rows at all are aggregated to NULL.
        let rows = match lists.is_null(row) {
            true => lists.values().slice(0, 0),
            false => lists.value(row),
        };
        filled.push(fill_one(rows.as_struct(), &spec, &values, &item)?);
    }
    let offsets = OffsetBuffer::from_lengths(filled.iter().map(Array::len));
    let parts: Vec<&dyn Array> = filled.iter().map(|part| part as &dyn Array).collect();
    let values = match parts.is_empty() {
        true => arrow::array::new_empty_array(item.data_type()),
        false => concat(&parts)?,
    };
    Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
}

fn fill_one(
    rows: &StructArray,
    spec: &FillSpec,
    values: &[ScalarValue],
    item: &Field,
) -> Result<StructArray> {
    let order = sorted(rows, spec)?;
    let mut values = values.iter().cloned();
    let mut bounds: Vec<(usize, Bounds)> = Vec::new();
    for key in &spec.keys {
        if key.fills {
            bounds.push((key.column, Bounds::of(key, rows.column(key.column), &mut values)?));
        }
    }
    let leading: Vec<usize> =
        spec.keys.iter().take_while(|key| !key.fills).map(|key| key.column).collect();
    let filled_columns: Vec<usize> = bounds.iter().map(|(column, _)| *column).collect();
    let mut gaps = Gaps::new(bounds.into_iter().map(|(_, bounds)| bounds).collect());
    let mut output = FilledRows::new(rows, spec, &leading, &filled_columns)?;
    let mut run: Option<Vec<ScalarValue>> = None;
    for row in order {
        let prefix: Vec<ScalarValue> = leading
            .iter()
            .map(|column| ScalarValue::try_from_array(rows.column(*column), row))
            .collect::<Result<_>>()?;
        if run.as_ref().is_some_and(|run| *run != prefix) {
            gaps.finish(&mut |point| output.add_new(point))?;
        }
        if run.as_ref() != Some(&prefix) {
            gaps.restart();
            output.begin_run(row);
            run = Some(prefix);
        }
        let points = filled_columns
            .iter()
            .map(|column| key::point_at(rows.column(*column), row))
            .collect::<Result<Vec<_>>>()?;
        gaps.before(&points, &mut |point| output.add_new(point))?;
        output.add_given(row)?;
    }
    // Of no rows nothing is known about leading keys.
    if run.is_some() || leading.is_empty() {
        gaps.finish(&mut |point| output.add_new(point))?;
    }
    let mut columns = output.finish()?;
    let length = columns.first().map_or(0, Array::len) as u64;
    columns.push(Arc::new(UInt64Array::from_iter_values(0..length)));
    match item.data_type() {
        DataType::Struct(fields) => Ok(StructArray::try_new(fields.clone(), columns, None)?),
        _ => Err(invalid("WITH FILL takes rows".to_owned())),
    }
}

/// The rows' positions in the order of all keys.
fn sorted(rows: &StructArray, spec: &FillSpec) -> Result<Vec<usize>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<SortColumn> = spec
        .keys
        .iter()
        .map(|key| SortColumn {
            values: Arc::clone(rows.column(key.column)),
            options: Some(SortOptions { descending: !key.ascending, nulls_first: key.nulls_first }),
        })
        .collect();
    let order = lexsort_to_indices(&columns, None)?;
    Ok(order.values().iter().map(|at| *at as usize).collect())
}
