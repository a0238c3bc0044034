//! Functions of one row around aggregates: `finalizeAggregation(state)`, and what -OrDefault becomes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, EmitTo, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use granary_catalog::ColumnType;

use super::call::Call;
use super::known;
use crate::zero::zero_value;

/// `finalizeAggregation(state)`: what the function gives for the rows of the state.
pub(super) fn finalize_aggregation() -> Arc<ScalarUDF> {
    udf("finalizeAggregation", |data_type| Ok(call(data_type)?.return_type().clone()), finish)
}

/// The value, or the zero of its type where it is NULL.
pub(super) fn or_default() -> Arc<ScalarUDF> {
    udf("valueOrDefault", |data_type| Ok(data_type.clone()), fill)
}

fn udf(
    name: &'static str,
    returns: fn(&DataType) -> Result<DataType>,
    kernel: fn(&ArrayRef) -> Result<ArrayRef>,
) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    let aliases = vec![name.to_lowercase()];
    Arc::new(ScalarUDF::new_from_impl(OneArgument { name, aliases, signature, returns, kernel }))
}

#[derive(Debug)]
struct OneArgument {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    returns: fn(&DataType) -> Result<DataType>,
    kernel: fn(&ArrayRef) -> Result<ArrayRef>,
}

identified_by!(OneArgument, name);

impl ScalarUDFImpl for OneArgument {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type] => (self.returns)(data_type),
            _ => plan_err!("{} takes one argument", self.name),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        match arguments.args.first() {
            Some(ColumnarValue::Array(values)) => Ok(ColumnarValue::Array((self.kernel)(values)?)),
            Some(ColumnarValue::Scalar(value)) => {
                let result = (self.kernel)(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
            }
            None => plan_err!("{} takes one argument, for {rows} rows", self.name),
        }
    }
}

fn call(data_type: &DataType) -> Result<Call> {
    let Some(state) = ColumnType::state_from_arrow(data_type) else {
        return plan_err!("finalizeAggregation takes aggregate states, not {data_type}");
    };
    match known::of(&state.function) {
        Some(known) => Call::of_state(known, &state),
        None => plan_err!("states of {} are not known", state.function),
    }
}

/// A group for each row.
fn finish(states: &ArrayRef) -> Result<ArrayRef> {
    let call = call(states.data_type())?;
    let codec = call.codec()?;
    if call.groups_supported() {
        let decoded = codec.decode(states)?;
        let mut inner = call.groups_accumulator()?;
        inner.merge_batch(&decoded.values, &decoded.rows, states.len())?;
        return inner.evaluate(EmitTo::All);
    }
    let mut results = Vec::with_capacity(states.len());
    for row in 0..states.len() {
        let mut inner = call.accumulator()?;
        inner.merge_batch(&codec.decode(&states.slice(row, 1))?.values)?;
        results.push(inner.evaluate()?);
    }
    match results.is_empty() {
        true => Ok(arrow::array::new_empty_array(call.return_type())),
        false => ScalarValue::iter_to_array(results),
    }
}

fn fill(values: &ArrayRef) -> Result<ArrayRef> {
    let Some(zero) = zero_value(values.data_type()).filter(|_| values.null_count() > 0) else {
        return Ok(Arc::clone(values));
    };
    let is_there = arrow::compute::is_not_null(values)?;
    Ok(zip(&is_there, values, &zero.to_scalar()?)?)
}
