//! The keys of a block: each once, in a form that can be compared with those that are stored.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};
use granary_catalog::Table;
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_sql::mutate::KEY_PLACES;

use super::arrow_failed;

/// Most values of a key column that a lookup lists one by one; beyond, it is bounded by the
/// smallest and the largest.
const LISTED_VALUES_MAX: usize = 1000;

/// Rows of which every key is there once.
pub(super) struct KeyedRows {
    pub rows: RecordBatch,
    columns: Vec<ArrayRef>,
    converter: RowConverter,
    keys: Rows,
}

impl KeyedRows {
    /// The last row of each key in `batches`, which are in the table's columns and not none.
    pub fn of(table: &Table, batches: &[RecordBatch]) -> Result<Self> {
        let first = batches.first().ok_or_else(|| Error::internal("a block has no rows"))?;
        let all = concat_batches(&first.schema(), batches).map_err(arrow_failed)?;
        let columns = key_columns(table, &all)?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(arrow_failed)?;
        let keys = converter.convert_columns(&columns).map_err(arrow_failed)?;
        let mut last: HashMap<&[u8], u32> = HashMap::with_capacity(all.num_rows());
        for (at, key) in keys.iter().enumerate() {
            last.insert(key.data(), at as u32);
        }
        if last.len() == all.num_rows() {
            return Ok(Self { rows: all, columns, converter, keys });
        }
        let mut places: Vec<u32> = last.into_values().collect();
        places.sort_unstable();
        let rows = take_record_batch(&all, &UInt32Array::from(places)).map_err(arrow_failed)?;
        let columns = key_columns(table, &rows)?;
        let keys = converter.convert_columns(&columns).map_err(arrow_failed)?;
        Ok(Self { rows, columns, converter, keys })
    }

    /// The row of each key.
    pub fn places(&self) -> HashMap<&[u8], u32> {
        self.keys.iter().enumerate().map(|(at, key)| (key.data(), at as u32)).collect()
    }

    /// The keys of a lookup's batch, whose columns begin at `first`.
    pub fn keys_of(&self, batch: &RecordBatch, first: usize) -> Result<Rows> {
        let columns =
            self.columns.iter().enumerate().map(|(at, own)| {
                cast(batch.column(first + at), own.data_type()).map_err(arrow_failed)
            });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        self.converter.convert_columns(&columns).map_err(arrow_failed)
    }

    /// A lookup's plan with conditions that hold for all of these keys, and for few others.
    pub fn restricted(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let names: Vec<String> = plan.schema().fields().iter().map(|f| f.name().clone()).collect();
        let mut builder = LogicalPlanBuilder::from(plan);
        for (name, column) in names.iter().skip(KEY_PLACES).zip(&self.columns) {
            let condition = among(name, column)?;
            builder = builder.filter(condition).map_err(|error| from_datafusion(&error))?;
        }
        builder.build().map_err(|error| from_datafusion(&error))
    }
}

fn key_columns(table: &Table, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let column = |id| {
        let position = table.column_position(id);
        let position = position.ok_or_else(|| Error::internal("a key column is gone"))?;
        Ok(Arc::clone(batch.column(position)))
    };
    table.unique_key.iter().map(|id| column(*id)).collect()
}

/// A condition that holds for every value of `column`.
fn among(name: &str, column: &ArrayRef) -> Result<Expr> {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]);
    let rows = converter.and_then(|c| c.convert_columns(&[Arc::clone(column)]));
    let rows = rows.map_err(arrow_failed)?;
    let mut places: Vec<(&[u8], usize)> =
        rows.iter().enumerate().map(|(at, row)| (row.data(), at)).collect();
    places.sort_unstable();
    places.dedup_by_key(|(value, _)| *value);
    let literal = |at: usize| {
        let value = ScalarValue::try_from_array(column, at);
        value.map(lit).map_err(|error| from_datafusion(&error))
    };
    match places.as_slice() {
        [] => Ok(lit(false)),
        [(_, only)] => Ok(col(name).eq(literal(*only)?)),
        listed if listed.len() <= LISTED_VALUES_MAX => {
            let values = listed.iter().map(|(_, at)| literal(*at)).collect::<Result<Vec<_>>>()?;
            Ok(col(name).in_list(values, false))
        }
        [(_, min), .., (_, max)] => Ok(col(name).between(literal(*min)?, literal(*max)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn conditions_cover_all_values() {
        let few: ArrayRef = Arc::new(Int64Array::from(vec![3, 1, 3]));
        assert_eq!(among("k", &few).unwrap().to_string(), "k IN ([Int64(1), Int64(3)])");
        let one: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
        assert_eq!(among("k", &one).unwrap().to_string(), "k = Utf8(\"a\")");
        let many: ArrayRef = Arc::new(Int64Array::from_iter_values(-5..5000));
        let condition = among("k", &many).unwrap().to_string();
        assert_eq!(condition, "k BETWEEN Int64(-5) AND Int64(4999)");
        let none: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
        assert_eq!(among("k", &none).unwrap(), lit(false));
    }
}
