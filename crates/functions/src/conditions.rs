//! `possiblyTrue(condition)`: whether a condition is true or unknown, for NOT IN over rows.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// True where the condition is true or NULL. A condition that is never NULL stands for itself, so
/// that a join finds its keys in it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PossiblyTrue {
    signature: Signature,
    aliases: Vec<String>,
}

/// The functions of this family.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::exact(vec![DataType::Boolean], Volatility::Immutable);
    let aliases = vec!["possiblytrue".to_owned()];
    vec![Arc::new(ScalarUDF::new_from_impl(PossiblyTrue { signature, aliases }))]
}

impl ScalarUDFImpl for PossiblyTrue {
    fn name(&self) -> &str {
        "possiblyTrue"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn simplify(
        &self,
        mut arguments: Vec<Expr>,
        info: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        if arguments.len() == 1 && !info.nullable(&arguments[0])? {
            return Ok(ExprSimplifyResult::Simplified(arguments.remove(0)));
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let conditions = arguments.args[0].to_array(arguments.number_rows)?;
        let known: BooleanArray =
            conditions.as_boolean().iter().map(|value| Some(value.unwrap_or(true))).collect();
        debug_assert_eq!(known.len(), conditions.len());
        Ok(ColumnarValue::Array(Arc::new(known)))
    }
}
