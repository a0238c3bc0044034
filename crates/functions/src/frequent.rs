//! `topK(n)(x)`: the most frequent values, counted exactly.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt64Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};

use super::rows::lists;

/// `topK(x, n)`: binding moved the parameter behind the argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TopK {
    aliases: Vec<String>,
    signature: Signature,
}

/// The functions of this family. The most frequent value comes first; of equally frequent ones, the
/// least.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let aliases = vec!["topk".to_owned()];
    let signature = Signature::any(2, Volatility::Immutable);
    vec![Arc::new(AggregateUDF::from(TopK { aliases, signature }))]
}

fn list_of(item: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item.clone(), true)))
}

impl AggregateUDFImpl for TopK {
    fn name(&self) -> &str {
        "topK"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(list_of(&arguments[0]))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |name: &str, data_type: &DataType| {
            let name = format!("{}[{name}]", arguments.name);
            Arc::new(Field::new(name, list_of(data_type), true))
        };
        let value = arguments.input_fields[0].data_type();
        Ok(vec![field("values", value), field("counts", &DataType::UInt64)])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let nothing = RecordBatch::new_empty(Arc::new(arguments.schema.clone()));
        let most = match arguments.exprs[1].evaluate(&nothing)? {
            ColumnarValue::Scalar(value) => value.cast_to(&DataType::UInt64)?,
            ColumnarValue::Array(_) => ScalarValue::UInt64(None),
        };
        let ScalarValue::UInt64(Some(most)) = most else {
            return plan_err!("topK takes a number of values, as in topK(10)(x)");
        };
        let value = arguments.expr_fields[0].data_type().clone();
        Ok(Box::new(Counts { most: most as usize, value, counts: HashMap::new(), key_bytes: 0 }))
    }
}

/// How often each value of one group occurred.
#[derive(Debug)]
struct Counts {
    most: usize,
    value: DataType,
    counts: HashMap<ScalarValue, u64>,
    /// What the values hold beside the table, in bytes.
    key_bytes: usize,
}

impl Counts {
    fn add(&mut self, values: &ArrayRef, at: usize, times: u64) -> Result<()> {
        if values.is_null(at) {
            return Ok(());
        }
        let value = ScalarValue::try_from_array(values, at)?;
        match self.counts.get_mut(&value) {
            Some(count) => *count += times,
            None => {
                self.key_bytes += value.size();
                self.counts.insert(value, times);
            }
        }
        Ok(())
    }

    fn list(&self, values: Vec<ScalarValue>) -> Result<ScalarValue> {
        let items = match values.is_empty() {
            true => new_empty_array(&self.value),
            false => ScalarValue::iter_to_array(values)?,
        };
        Ok(only_list(items))
    }
}

fn only_list(items: ArrayRef) -> ScalarValue {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, items, None)))
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        (0..values[0].len()).try_for_each(|row| self.add(&values[0], row, 1))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (lists(&states[0])?, lists(&states[1])?);
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let times = counts.value(row);
            let times = times.as_primitive::<UInt64Type>();
            let values = values.value(row);
            for at in 0..values.len() {
                self.add(&values, at, times.value(at))?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.list(self.counts.keys().cloned().collect())?;
        let counts = UInt64Array::from_iter_values(self.counts.values().copied());
        Ok(vec![values, only_list(Arc::new(counts))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut ranked: Vec<(&ScalarValue, u64)> =
            self.counts.iter().map(|(value, count)| (value, *count)).collect();
        ranked.sort_by(|(a, more), (b, less)| {
            less.cmp(more).then_with(|| a.partial_cmp(b).unwrap_or(Ordering::Equal))
        });
        let first = ranked.into_iter().take(self.most).map(|(value, _)| value.clone());
        self.list(first.collect())
    }

    fn size(&self) -> usize {
        let slot = size_of::<ScalarValue>() + size_of::<u64>();
        size_of_val(self) + self.counts.capacity() * slot + self.key_bytes
    }
}
