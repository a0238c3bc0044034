//! Conditions of three values: `possiblyTrue(condition)`, whether one is true or unknown, for NOT IN
//! over rows; and membership in a set of values that is computed as an array.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions_nested::array_has::array_has_udf;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::rows::{lists, range_of};

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
    let member = IsMember(Signature::array_and_element(Volatility::Immutable));
    vec![
        Arc::new(ScalarUDF::new_from_impl(PossiblyTrue { signature, aliases })),
        Arc::new(ScalarUDF::new_from_impl(member)),
    ]
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

/// `IN` as a value: `(set, value)`, where the set is NULL when it has no rows.
pub const IS_MEMBER: &str = "__granary_is_member";

#[derive(Debug, PartialEq, Eq, Hash)]
struct IsMember(Signature);

impl ScalarUDFImpl for IsMember {
    fn name(&self) -> &str {
        IS_MEMBER
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (set, value) = (arguments.args[0].clone(), arguments.args[1].clone());
        let rows = arguments.number_rows;
        let found = array_has_udf().invoke_with_args(arguments)?.into_array(rows)?;
        let found = found.as_boolean();
        // One set for all rows stays one.
        let sets = match set {
            ColumnarValue::Scalar(set) => set.to_array()?,
            ColumnarValue::Array(sets) => sets,
        };
        let sets = lists(&sets)?;
        let has_null: Vec<bool> = (0..sets.len())
            .map(|row| range_of(&sets, row).any(|place| sets.values().is_null(place)))
            .collect();
        let value = value.into_array(rows)?;
        let of_row = |row: usize| {
            let set = if sets.len() == 1 { 0 } else { row };
            if sets.is_null(set) {
                return Some(false);
            }
            if value.is_null(row) {
                return None;
            }
            match found.is_valid(row) && found.value(row) {
                true => Some(true),
                false => (!has_null[set]).then_some(false),
            }
        };
        let known: BooleanArray = (0..rows).map(of_row).collect();
        Ok(ColumnarValue::Array(Arc::new(known)))
    }
}
