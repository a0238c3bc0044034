//! `argMin(value, by)` and `argMax(value, by)`: the value of the row with the least or the greatest
//! `by`, of equal ones the first. Rows whose `by` is NULL do not count.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

/// `argMin`.
pub(super) fn arg_min() -> Arc<AggregateUDF> {
    udaf("argMin", Ordering::Less)
}

/// `argMax`.
pub(super) fn arg_max() -> Arc<AggregateUDF> {
    udaf("argMax", Ordering::Greater)
}

fn udaf(name: &'static str, better: Ordering) -> Arc<AggregateUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(AggregateUDF::from(ArgExtreme { name, better, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArgExtreme {
    name: &'static str,
    better: Ordering,
    signature: Signature,
}

impl AggregateUDFImpl for ArgExtreme {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, _] => Ok(value.clone()),
            _ => plan_err!("{} takes a value and what to compare", self.name),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let [value, by] = args.expr_fields else {
            return plan_err!("{} takes a value and what to compare", self.name);
        };
        Ok(Box::new(Best {
            better: self.better,
            value: ScalarValue::try_from(value.data_type())?,
            by: ScalarValue::try_from(by.data_type())?,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let [value, by] = args.input_fields else {
            return plan_err!("{} takes a value and what to compare", self.name);
        };
        let field = |part: &str, of: &FieldRef| {
            Arc::new(Field::new(format_state_name(args.name, part), of.data_type().clone(), true))
        };
        Ok(vec![field("value", value), field("by", by)])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The best row so far; `by` is NULL before the first.
#[derive(Debug)]
struct Best {
    better: Ordering,
    value: ScalarValue,
    by: ScalarValue,
}

impl Best {
    /// Takes the best row of the arrays if it is better.
    fn take(&mut self, value: &ArrayRef, by: &ArrayRef) -> Result<()> {
        let compare = make_comparator(by, by, SortOptions::default())?;
        let better = self.better;
        let candidates = (0..by.len()).filter(|row| by.is_valid(*row));
        let best = candidates.reduce(|best, row| match compare(row, best) == better {
            true => row,
            false => best,
        });
        let Some(row) = best else { return Ok(()) };
        let found = ScalarValue::try_from_array(by, row)?;
        if self.by.is_null() || found.partial_cmp(&self.by) == Some(better) {
            self.value = ScalarValue::try_from_array(value, row)?;
            self.by = found;
        }
        Ok(())
    }
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [value, by] => self.take(value, by),
            _ => internal_err!("a value and what to compare were expected"),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size() + self.by.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.by.clone()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
