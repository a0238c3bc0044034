//! A known function over arguments of certain types, apart from any plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use granary_catalog::{AggregateType, ColumnType};

use super::codec::StateCodec;
use super::known::{Known, Parameters};
use crate::gathered::{PARAMETER, SEPARATOR};

/// Makes accumulators.
#[derive(Debug)]
pub(super) struct Call {
    known: &'static Known,
    /// The fields of the arguments and of the parameters after them.
    fields: Vec<FieldRef>,
    arguments: usize,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: Schema,
    return_field: FieldRef,
}

impl Call {
    /// The call with arguments of these types, which are widened as the function wants them.
    pub(super) fn new(
        known: &'static Known,
        arguments: &[DataType],
        parameters: Vec<ScalarValue>,
    ) -> Result<Call> {
        let field = |(at, data_type): (usize, DataType)| {
            Arc::new(Field::new(format!("arg{at}"), data_type, true))
        };
        let given = match (known.distinct, arguments) {
            // A count of rows has no argument to speak of.
            (false, []) if known.name == "count" => vec![DataType::Int64],
            // Several values that are counted together are one tuple.
            (true, [_, _, ..]) => vec![DataType::Struct(tuple(arguments))],
            _ => arguments.to_vec(),
        };
        let given: Vec<FieldRef> = given.into_iter().enumerate().map(field).collect();
        let mut fields = fields_with_udf(&given, known.inner.as_ref())?;
        let arguments = fields.len();
        let schema = Schema::new(fields.clone());
        let column = |(at, field): (usize, &FieldRef)| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(field.name(), at))
        };
        let mut expressions: Vec<_> = fields.iter().enumerate().map(column).collect();
        let return_field = known.inner.return_field(&fields)?;
        for parameter in parameters {
            fields.push(Arc::new(Field::new(PARAMETER, parameter.data_type(), true)));
            expressions.push(Arc::new(Literal::new(parameter)));
        }
        Ok(Call { known, fields, arguments, expressions, schema, return_field })
    }

    /// The call whose states a column holds.
    pub(super) fn of_state(known: &'static Known, state: &AggregateType) -> Result<Call> {
        let arguments = values_of(state);
        let parameters = match known.parameters {
            Parameters::None => Vec::new(),
            Parameters::Levels => {
                let levels = state.parameters.iter().filter_map(|text| text.parse().ok());
                levels.map(|level| ScalarValue::Float64(Some(level))).collect()
            }
            Parameters::Text => {
                let texts: Vec<&str> =
                    state.parameters.iter().map(|text| text.trim_matches('\'')).collect();
                vec![ScalarValue::Utf8(Some(texts.join(&SEPARATOR.to_string())))]
            }
        };
        Call::new(known, &arguments, parameters)
    }

    pub(super) fn return_type(&self) -> &DataType {
        self.return_field.data_type()
    }

    /// The types of the arguments after they were widened.
    pub(super) fn argument_types(&self) -> Vec<DataType> {
        self.fields[..self.arguments].iter().map(|field| field.data_type().clone()).collect()
    }

    fn accumulator_args(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: true,
            order_bys: &[],
            is_reversed: false,
            name: self.known.name,
            is_distinct: self.known.distinct,
            exprs: &self.expressions,
            expr_fields: &self.fields,
        }
    }

    /// What the accumulators have between two stages.
    pub(super) fn state_fields(&self) -> Result<Vec<FieldRef>> {
        self.known.inner.state_fields(StateFieldsArgs {
            name: self.known.name,
            input_fields: &self.fields,
            return_field: Arc::clone(&self.return_field),
            ordering_fields: &[],
            is_distinct: self.known.distinct,
        })
    }

    /// Reads and writes the states.
    pub(super) fn codec(&self) -> Result<StateCodec> {
        StateCodec::new(self.known.name, self.state_type()?, self.state_fields()?)
    }

    /// What the states are states of.
    pub(super) fn state_type(&self) -> Result<AggregateType> {
        let spelled = |data_type: DataType| {
            crate::column_type_from_arrow(&data_type, false)
                .map_err(|error| datafusion::error::DataFusionError::External(Box::new(error)))
        };
        let arguments = self.argument_types().into_iter().map(spelled).collect::<Result<_>>()?;
        let function = self.known.name.to_owned();
        Ok(AggregateType { function, parameters: Vec::new(), arguments })
    }

    pub(super) fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.known.inner.accumulator(self.accumulator_args())
    }

    /// Not for `corr`: its two kinds of accumulators have states of different meanings.
    pub(super) fn groups_supported(&self) -> bool {
        self.known.name != "corr"
            && self.known.inner.groups_accumulator_supported(self.accumulator_args())
    }

    pub(super) fn groups_accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        self.known.inner.create_groups_accumulator(self.accumulator_args())
    }
}

/// The types of the values in a state. The condition of `sumIf` leaves rows out before there is one.
pub(super) fn values_of(state: &AggregateType) -> Vec<DataType> {
    let lower = state.function.to_lowercase();
    let combinators = crate::base_and_combinators(&lower).map(|(_, all)| all);
    let conditions = usize::from(combinators.is_some_and(|all| all.contains(&"if")));
    let values = state.arguments.len().saturating_sub(conditions);
    state.arguments[..values].iter().map(ColumnType::arrow).collect()
}

/// The fields that `struct(...)` gives its values.
fn tuple(types: &[DataType]) -> Fields {
    let field =
        |(at, data_type): (usize, &DataType)| Field::new(format!("c{at}"), data_type.clone(), true);
    types.iter().enumerate().map(field).collect()
}
