//! `avg`: the mean as a float, of decimals too, as ClickHouse and DuckDB give it. DataFusion's own
//! keeps a decimal's scale plus four digits, which is too few for a mean of small fractions. Of dates
//! and times it is one, too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::common::types::{NativeType, logical_date, logical_float64};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, GroupsAccumulator, ReversedUDAF,
    Signature, TypeSignature, TypeSignatureClass, Volatility,
};

/// DataFusion's `avg` behind a signature that turns every number into a float.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatAverage {
    signature: Signature,
    inner: Avg,
}

/// The function.
pub(super) fn average() -> Arc<AggregateUDF> {
    let numbers =
        vec![TypeSignatureClass::Integer, TypeSignatureClass::Float, TypeSignatureClass::Decimal];
    let float = Coercion::new_implicit(
        TypeSignatureClass::Native(logical_float64()),
        numbers,
        NativeType::Float64,
    );
    let exact = [
        TypeSignatureClass::Duration,
        TypeSignatureClass::Timestamp,
        TypeSignatureClass::Native(logical_date()),
    ];
    let signatures = std::iter::once(float)
        .chain(exact.map(Coercion::new_exact))
        .map(|coercion| TypeSignature::Coercible(vec![coercion]));
    let signature = Signature::one_of(signatures.collect(), Volatility::Immutable);
    Arc::new(AggregateUDF::from(FloatAverage { signature, inner: Avg::new() }))
}

impl AggregateUDFImpl for FloatAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [time] if is_time(time) => Ok(time.clone()),
            _ => self.inner.return_type(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match arguments.return_field.data_type() {
            time if is_time(time) && !arguments.is_distinct => {
                Ok(Box::new(Times { data_type: time.clone(), sum: 0, count: 0 }))
            }
            _ => self.inner.accumulator(arguments),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_time(arguments.return_field.data_type()) {
            return self.inner.state_fields(arguments);
        }
        let field = |part: &str, data_type| {
            Arc::new(Field::new(format_state_name(arguments.name, part), data_type, true))
        };
        Ok(vec![field("count", DataType::UInt64), field("sum", SUM)])
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !is_time(arguments.return_field.data_type())
            && self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(arguments)
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        match is_time(arguments.return_field.data_type()) {
            true => self.accumulator(arguments),
            false => self.inner.create_sliding_accumulator(arguments),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }
}

/// The type of a sum of ticks.
const SUM: DataType = DataType::Decimal128(38, 0);

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// The ticks of dates or times of one group.
#[derive(Debug)]
struct Times {
    data_type: DataType,
    sum: i128,
    count: u64,
}

impl Times {
    /// Adds the values, or takes them away.
    fn add(&mut self, values: &ArrayRef, sign: i128) -> Result<()> {
        let ticks = match values.data_type() {
            DataType::Date32 => cast(values, &DataType::Int32)?,
            _ => Arc::clone(values),
        };
        let ticks = cast(&ticks, &DataType::Int64)?;
        let ticks = ticks.as_primitive::<Int64Type>();
        self.sum += sign * ticks.iter().flatten().map(i128::from).sum::<i128>();
        let there = (ticks.len() - ticks.null_count()) as u64;
        self.count = if sign > 0 { self.count + there } else { self.count - there };
        Ok(())
    }
}

impl Accumulator for Times {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<UInt64Type>();
        let sums = states[1].as_primitive::<Decimal128Type>();
        self.count += counts.iter().flatten().sum::<u64>();
        self.sum += sums.iter().flatten().sum::<i128>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Decimal128(Some(self.sum), 38, 0);
        Ok(vec![ScalarValue::UInt64(Some(self.count)), sum])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.data_type);
        }
        let mean = (self.sum / i128::from(self.count)) as i64;
        match self.data_type {
            DataType::Date32 => Ok(ScalarValue::Date32(Some(mean as i32))),
            _ => ScalarValue::Int64(Some(mean)).cast_to(&self.data_type),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
