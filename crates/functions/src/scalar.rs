//! One shape for our scalar functions: a name, its arguments, a type and a kernel over arrays. What
//! they are for is said in [`super::reference`].

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug)]
pub enum Arity {
    Exactly(usize),
    /// At least and at most.
    Between(usize, usize),
    AtLeastOne,
}

/// A function as its module describes it.
#[derive(Clone, Copy)]
pub struct Scalar {
    pub name: &'static str,
    pub arity: Arity,
    pub returns: fn(&[DataType]) -> Result<DataType>,
    /// From arguments of one length to results of that length.
    pub kernel: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

/// A function whose type depends on the values of constants among its arguments, or whose kernel
/// wants to know the type.
#[derive(Clone, Copy)]
pub(super) struct Typed {
    pub(super) name: &'static str,
    pub(super) arity: Arity,
    pub(super) returns: fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType>,
    pub(super) kernel: fn(&[ArrayRef], &DataType) -> Result<ArrayRef>,
}

impl Scalar {
    /// The function as DataFusion takes it.
    pub fn udf(self) -> Arc<ScalarUDF> {
        function(self.name, self.arity, Body::Plain(self.returns, self.kernel))
    }
}

/// [`Scalar`] on one line.
pub(super) const fn scalar(
    name: &'static str,
    arity: Arity,
    returns: fn(&[DataType]) -> Result<DataType>,
    kernel: fn(&[ArrayRef]) -> Result<ArrayRef>,
) -> Scalar {
    Scalar { name, arity, returns, kernel }
}

/// One argument.
pub(super) const ONE: Arity = Arity::Exactly(1);
/// Two arguments.
pub(super) const TWO: Arity = Arity::Exactly(2);
/// Three arguments.
pub(super) const THREE: Arity = Arity::Exactly(3);

impl Typed {
    /// The function as DataFusion takes it.
    pub(super) fn udf(self) -> Arc<ScalarUDF> {
        function(self.name, self.arity, Body::Typed(self.returns, self.kernel))
    }
}

fn function(name: &'static str, arity: Arity, body: Body) -> Arc<ScalarUDF> {
    let signature = match arity {
        Arity::Exactly(arguments) => Signature::any(arguments, Volatility::Immutable),
        Arity::Between(least, most) => Signature::one_of(
            (least..=most).map(TypeSignature::Any).collect(),
            Volatility::Immutable,
        ),
        Arity::AtLeastOne => Signature::variadic_any(Volatility::Immutable),
    };
    // The planner looks unquoted names up in lower case.
    let aliases = vec![name.to_lowercase()];
    Arc::new(ScalarUDF::new_from_impl(Function { name, body, signature, aliases }))
}

#[derive(Clone, Copy)]
enum Body {
    Plain(fn(&[DataType]) -> Result<DataType>, fn(&[ArrayRef]) -> Result<ArrayRef>),
    Typed(
        fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType>,
        fn(&[ArrayRef], &DataType) -> Result<ArrayRef>,
    ),
}

struct Function {
    name: &'static str,
    body: Body,
    signature: Signature,
    aliases: Vec<String>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

identified_by!(Function, name);

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match self.body {
            Body::Plain(returns, _) => returns(arguments),
            Body::Typed(..) => internal_err!("the type of {} depends on values", self.name),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let gives_null = ["OrNull", "Nullable"].iter().any(|end| self.name.ends_with(end));
        let nullable = gives_null || arguments.arg_fields.iter().any(|field| field.is_nullable());
        let data_type = match self.body {
            Body::Plain(returns, _) => returns(&types)?,
            Body::Typed(returns, _) => returns(&types, arguments.scalar_arguments)?,
        };
        Ok(Arc::new(Field::new(self.name, data_type, nullable)))
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
        let result = match self.body {
            Body::Plain(_, kernel) => kernel(&arrays)?,
            Body::Typed(_, kernel) => kernel(&arrays, arguments.return_field.data_type())?,
        };
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}
