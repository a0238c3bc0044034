//! `arrayFold((acc, x) -> ..., xs, first)`: a function applied from element to element.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
    HigherOrderUDF, HigherOrderUDFImpl, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use crate::rows::{item_type, lists, range_of};

/// The name of [`fold`] in plans: the array, the first value, the function of value and element.
pub const FOLD: &str = "__granaryFold";

/// The function.
pub(crate) fn fold() -> Arc<HigherOrderUDF> {
    let signature = HigherOrderSignature::exact(
        vec![ValueOrLambda::Value(()), ValueOrLambda::Value(()), ValueOrLambda::Lambda(())],
        Volatility::Immutable,
    );
    let aliases = vec![FOLD.to_lowercase()];
    Arc::new(HigherOrderUDF::new_from_impl(Fold { signature, aliases }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fold {
    signature: HigherOrderSignature,
    aliases: Vec<String>,
}

impl HigherOrderUDFImpl for Fold {
    fn name(&self) -> &str {
        FOLD
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let [ValueOrLambda::Value(list), ValueOrLambda::Value(first), _] = fields else {
            return plan_err!("arrayFold takes a function, an array and a first value");
        };
        let item = item_type(list.data_type())?;
        Ok(LambdaParametersProgress::Complete(vec![vec![
            Arc::new(Field::new("acc", first.data_type().clone(), true)),
            Arc::new(Field::new("x", item, true)),
        ]]))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [_, ValueOrLambda::Value(first), _] = args.arg_fields else {
            return plan_err!("arrayFold takes a function, an array and a first value");
        };
        Ok(Arc::new(Field::new("", first.data_type().clone(), true)))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let [ValueOrLambda::Value(list), ValueOrLambda::Value(first), ValueOrLambda::Lambda(step)] =
            args.args.as_slice()
        else {
            return plan_err!("arrayFold takes a function, an array and a first value");
        };
        let list = lists(&list.to_array(args.number_rows)?)?;
        let data_type = args.return_field.data_type().clone();
        let mut values: ArrayRef = cast(&first.to_array(args.number_rows)?, &data_type)?;
        let longest = (0..list.len()).map(|row| range_of(&list, row).len()).max().unwrap_or(0);
        for place in 0..longest {
            // The rows that have an element at this place; all others keep their value.
            let at = |row: usize| {
                let range = range_of(&list, row);
                (place < range.len()).then(|| (range.start + place) as u32)
            };
            let places: UInt32Array = (0..list.len()).map(at).collect();
            let items = take(list.values(), &places, None)?;
            let value = || Ok(Arc::clone(&values));
            let item = || Ok(Arc::clone(&items));
            let next = step.evaluate(&[&value, &item], |captured| Ok(captured.to_vec()))?;
            let next = cast(&next.into_array(list.len())?, &data_type)?;
            let has_element = arrow::compute::is_not_null(&places)?;
            values = zip(&has_element, &next, &values)?;
        }
        Ok(ColumnarValue::Array(values))
    }
}
