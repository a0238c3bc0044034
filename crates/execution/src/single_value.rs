//! `single_value`: the aggregate that checks a scalar subquery. Plans that run in stages turn such
//! a subquery into a join, which would repeat rows where the subquery gives several.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::cast::as_uint64_array;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use granary_common::Error;

use crate::error::to_datafusion;

/// The value of the only row, NULL without one. More rows are an error of kind `InvalidInput`.
pub fn single_value() -> Arc<AggregateUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(AggregateUDF::from(SingleValue { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments.first().cloned().unwrap_or(DataType::Null))
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(arguments.return_field.data_type())?;
        Ok(Box::new(SingleRow { value, rows: 0 }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = arguments.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format!("{}[value]", arguments.name), value, true)),
            Arc::new(Field::new(format!("{}[rows]", arguments.name), DataType::UInt64, false)),
        ])
    }
}

/// The row that was seen, if any.
#[derive(Debug)]
struct SingleRow {
    value: ScalarValue,
    rows: u64,
}

impl SingleRow {
    fn add(&mut self, values: &ArrayRef, row: usize) -> Result<()> {
        self.rows += 1;
        if self.rows > 1 {
            return Err(to_datafusion(Error::invalid(
                "a scalar subquery gave more than one row; aggregate it or add LIMIT 1",
            )));
        }
        self.value = ScalarValue::try_from_array(values, row)?;
        Ok(())
    }
}

impl Accumulator for SingleRow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        (0..values.len()).try_for_each(|row| self.add(values, row))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, rows] = states else { return Ok(()) };
        let rows: &UInt64Array = as_uint64_array(rows)?;
        let seen = (0..rows.len()).filter(|row| rows.value(*row) > 0);
        seen.into_iter().try_for_each(|row| self.add(values, row))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::UInt64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() - size_of_val(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    fn seen(values: &[Option<i64>]) -> Result<SingleRow> {
        let mut single = SingleRow { value: ScalarValue::Int64(None), rows: 0 };
        let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        single.update_batch(&[values])?;
        Ok(single)
    }

    /// What becomes of the rows that two tasks saw.
    fn merged(left: &[Option<i64>], right: &[Option<i64>]) -> Result<ScalarValue> {
        let mut all = seen(&[])?;
        for rows in [left, right] {
            let state = seen(rows)?.state()?;
            let arrays: Result<Vec<ArrayRef>> = state.iter().map(|v| v.to_array()).collect();
            all.merge_batch(&arrays?)?;
        }
        all.evaluate()
    }

    #[test]
    fn one_row_of_all_tasks_is_the_value() {
        for (left, right, expected) in [
            (&[][..], &[][..], None),
            (&[Some(7)][..], &[][..], Some(7)),
            (&[][..], &[Some(8)][..], Some(8)),
            (&[None][..], &[][..], None),
        ] {
            assert_eq!(merged(left, right).unwrap(), ScalarValue::Int64(expected));
        }
        for (left, right) in [
            (&[Some(1), Some(1)][..], &[][..]),
            (&[Some(1)][..], &[Some(1)][..]),
            (&[None][..], &[None][..]),
        ] {
            let error = crate::error::from_datafusion(&merged(left, right).unwrap_err());
            assert!(error.message().contains("more than one row"), "{error}");
        }
    }
}
