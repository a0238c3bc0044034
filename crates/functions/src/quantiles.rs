//! `quantile`, `quantiles` and `quantileExact` over all values, where a plan cannot use DataFusion's
//! `percentile_cont`: for states and for items of arrays. The levels stand behind the argument.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, filter, is_not_null, sort};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

/// The level of `quantile(x)`.
const MEDIAN: f64 = 0.5;

/// `quantile(level)(x)`: interpolates linearly at position level * (n - 1).
pub(super) fn quantile() -> Arc<AggregateUDF> {
    udaf("quantile", Kind::Interpolated)
}

/// `quantiles(level, ...)(x)`: an array of them.
pub(super) fn quantiles() -> Arc<AggregateUDF> {
    udaf("quantiles", Kind::Several)
}

/// `quantileExact(level)(x)`: the value at position level * n.
pub(super) fn quantile_exact() -> Arc<AggregateUDF> {
    udaf("quantileExact", Kind::Exact)
}

fn udaf(name: &'static str, kind: Kind) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::from(Quantile { name, kind, signature }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Interpolated,
    Several,
    Exact,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantile {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Quantile {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some((value, levels)) = types.split_first() else {
            return plan_err!("{} takes one argument", self.name);
        };
        let value = match self.kind {
            Kind::Exact => value.clone(),
            _ if value.is_numeric() || value.is_null() => DataType::Float64,
            _ => return plan_err!("{} takes numbers, not values of type {value}", self.name),
        };
        let levels = levels.iter().map(|_| DataType::Float64);
        Ok(std::iter::once(value).chain(levels).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.kind, types) {
            (Kind::Exact, [value, ..]) => Ok(value.clone()),
            (Kind::Interpolated, [_, ..]) => Ok(DataType::Float64),
            (Kind::Several, [_, ..]) => Ok(DataType::new_list(DataType::Float64, true)),
            (_, []) => plan_err!("{} takes one argument", self.name),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let (Some(value), Some((_, levels))) = (args.expr_fields.first(), args.exprs.split_first())
        else {
            return plan_err!("{} takes one argument", self.name);
        };
        let mut given = Vec::new();
        for level in levels {
            let literal = level.downcast_ref::<Literal>().map(Literal::value);
            match literal.map(|value| value.cast_to(&DataType::Float64)).transpose()? {
                Some(ScalarValue::Float64(Some(level))) if (0.0..=1.0).contains(&level) => {
                    given.push(level);
                }
                _ => return plan_err!("the levels of {} are numbers from 0 to 1", self.name),
            }
        }
        if given.is_empty() {
            given.push(MEDIAN);
        }
        Ok(Box::new(Gathered {
            kind: self.kind,
            levels: given,
            data_type: value.data_type().clone(),
            values: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let Some(value) = args.input_fields.first() else {
            return plan_err!("{} takes one argument", self.name);
        };
        let list = DataType::new_list(value.data_type().clone(), true);
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "values"), list, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// All values that are not NULL.
#[derive(Debug)]
struct Gathered {
    kind: Kind,
    levels: Vec<f64>,
    data_type: DataType,
    values: Vec<ArrayRef>,
}

impl Gathered {
    fn put(&mut self, values: &ArrayRef) -> Result<()> {
        let present = match values.null_count() {
            0 => Arc::clone(values),
            _ => filter(values, &is_not_null(values)?)?,
        };
        if !present.is_empty() {
            self.values.push(cast(&present, &self.data_type)?);
        }
        Ok(())
    }

    fn all(&self) -> Result<ArrayRef> {
        let all: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        match all.is_empty() {
            true => Ok(arrow::array::new_empty_array(&self.data_type)),
            false => Ok(concat(&all)?),
        }
    }
}

/// Between the neighbours of the position.
fn interpolated(sorted: &[f64], level: f64) -> Option<f64> {
    let position = level * (sorted.len().checked_sub(1)? as f64);
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.put(values))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sorted = sort(&self.all()?, None)?;
        let level = self.levels.first().copied().unwrap_or(MEDIAN);
        if self.kind == Kind::Exact {
            let at = ((level * sorted.len() as f64) as usize).min(sorted.len().saturating_sub(1));
            return match sorted.is_empty() {
                true => ScalarValue::try_from(&self.data_type),
                false => ScalarValue::try_from_array(&sorted, at),
            };
        }
        let sorted = sorted.as_primitive::<Float64Type>().values();
        if self.kind == Kind::Interpolated {
            return Ok(ScalarValue::Float64(interpolated(sorted, level)));
        }
        let all: Float64Array =
            self.levels.iter().map(|level| interpolated(sorted, *level)).collect();
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        let offsets = OffsetBuffer::from_lengths([all.len()]);
        Ok(ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, Arc::new(all), None)?)))
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(|values| values.get_array_memory_size()).sum();
        size_of::<Self>() + values
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let all = self.all()?;
        let item = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        let offsets = OffsetBuffer::from_lengths([all.len()]);
        Ok(vec![ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, all, None)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|states| states.as_list_opt::<i32>()) else {
            return plan_err!("the state of a quantile is a list");
        };
        lists.iter().flatten().try_for_each(|values| self.put(&values))
    }
}
