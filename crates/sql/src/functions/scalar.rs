//! One shape for our scalar functions: a name, its arguments, a type and a kernel over arrays.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arity {
    Exactly(usize),
    AtLeastOne,
}

/// A function as its module describes it.
#[derive(Clone, Copy)]
pub(super) struct Scalar {
    pub(super) name: &'static str,
    /// What it gives, in one line.
    pub(super) summary: &'static str,
    pub(super) arity: Arity,
    pub(super) returns: fn(&[DataType]) -> Result<DataType>,
    /// From arguments of one length to results of that length.
    pub(super) kernel: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

impl Scalar {
    /// The function as DataFusion takes it.
    pub(super) fn udf(self) -> Arc<ScalarUDF> {
        let signature = match self.arity {
            Arity::Exactly(arguments) => Signature::any(arguments, Volatility::Immutable),
            Arity::AtLeastOne => Signature::variadic_any(Volatility::Immutable),
        };
        // The planner looks unquoted names up in lower case.
        let aliases = vec![self.name.to_lowercase()];
        Arc::new(ScalarUDF::new_from_impl(Function { scalar: self, signature, aliases }))
    }
}

struct Function {
    scalar: Scalar,
    signature: Signature,
    aliases: Vec<String>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.scalar.name, self.scalar.summary)
    }
}

// A name has one meaning, so it is the identity.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.scalar.name == other.scalar.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scalar.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.scalar.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        (self.scalar.returns)(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.scalar.name, (self.scalar.returns)(&types)?, nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant =
            arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { arguments.number_rows };
        let arrays: Vec<ArrayRef> = arguments
            .args
            .into_iter()
            .map(|value| value.into_array(rows))
            .collect::<Result<_>>()?;
        let result = (self.scalar.kernel)(&arrays)?;
        match is_constant {
            true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(
                &result, 0,
            )?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}
