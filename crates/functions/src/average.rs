//! `avg`: the mean as a float, of decimals too, as ClickHouse and DuckDB give it. DataFusion's own
//! keeps a decimal's scale plus four digits, which is too few for a mean of small fractions.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
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
    let duration = Coercion::new_exact(TypeSignatureClass::Duration);
    let signatures =
        [float, duration].into_iter().map(|coercion| TypeSignature::Coercible(vec![coercion]));
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
        self.inner.return_type(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(arguments)
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
        self.inner.create_sliding_accumulator(arguments)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }
}
