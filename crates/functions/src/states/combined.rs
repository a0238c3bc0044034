//! A known function with the combinators -State, -Merge, -MergeState or -Array.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, TypeSignature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use granary_catalog::ColumnType;

use super::accumulate::{CombinedAccumulator, CombinedGroups, Step};
use super::call::{Call, values_of};
use super::known::{self, Known, Parameters};

/// What goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Values,
    /// The values are the items of arrays.
    Arrays,
    States,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Value,
    State,
}

/// The name under which sessions know the combination.
pub fn combined_name(function: &str, input: Input, output: Output) -> String {
    let input = match input {
        Input::Values => "",
        Input::Arrays => "Array",
        Input::States => "Merge",
    };
    let output = match output {
        Output::Value => "",
        Output::State => "State",
    };
    format!("{function}{input}{output}")
}

/// The combination.
#[derive(Debug)]
pub(super) struct Combined {
    name: String,
    aliases: Vec<String>,
    known: &'static Known,
    input: Input,
    output: Output,
    signature: Signature,
}

impl Combined {
    pub(super) fn udaf(known: &'static Known, input: Input, output: Output) -> Arc<AggregateUDF> {
        let signature = match input {
            Input::Values => known.inner.signature().clone(),
            Input::Arrays => Signature::user_defined(Volatility::Immutable),
            Input::States => Signature::variadic_any(Volatility::Immutable),
        };
        // Parameters stand behind the one argument.
        let signature = match (input, &signature.type_signature) {
            (Input::Values, TypeSignature::Any(_)) if known.own => {
                Signature::variadic_any(Volatility::Immutable)
            }
            _ => signature,
        };
        let name = combined_name(known.name, input, output);
        // The planner looks unquoted names up in lower case.
        let lower = name.to_lowercase();
        let aliases = if lower == name { Vec::new() } else { vec![lower] };
        Arc::new(AggregateUDF::from(Combined { name, aliases, known, input, output, signature }))
    }

    /// The call of the function itself, whose parameters are not known from types.
    fn call(&self, types: &[DataType], expressions: &[Arc<dyn PhysicalExpr>]) -> Result<Call> {
        let taken = match self.input {
            Input::States => 1,
            _ => match self.known.parameters {
                Parameters::None => types.len(),
                Parameters::Levels => 1,
                Parameters::Text => types.len().saturating_sub(1),
            },
        };
        let (arguments, _) = types.split_at(taken.min(types.len()));
        let parameters = parameters(expressions.get(taken..).unwrap_or_default(), &self.name)?;
        match self.input {
            Input::Values => Call::new(self.known, arguments, parameters),
            Input::Arrays => {
                let items = arguments.iter().map(|t| item(&self.name, t));
                Call::new(self.known, &items.collect::<Result<Vec<_>>>()?, parameters)
            }
            Input::States => self.call_of_states(arguments, parameters),
        }
    }

    fn call_of_states(&self, types: &[DataType], parameters: Vec<ScalarValue>) -> Result<Call> {
        let [data_type] = types else {
            return plan_err!("{} takes one argument, a state of {}", self.name, self.known.name);
        };
        let Some(mut state) = ColumnType::state_from_arrow(data_type) else {
            return plan_err!(
                "{} takes states of {}, as {}State gives them, not values of type {data_type}",
                self.name,
                self.known.name,
                self.known.name
            );
        };
        match known::of(&state.function) {
            Some(of) if of.name == self.known.name => {
                let arguments = values_of(&state);
                match parameters.is_empty() {
                    true => Call::of_state(self.known, &state),
                    false => Call::new(self.known, &arguments, parameters),
                }
            }
            _ => {
                state.parameters.clear();
                plan_err!("{} cannot merge states of type AggregateFunction({state})", self.name)
            }
        }
    }

    fn step(&self, args: &AccumulatorArgs<'_>) -> Result<Step> {
        let types: Vec<DataType> =
            args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let call = self.call(&types, args.exprs)?;
        Step::new(call, self.input, self.output)
    }
}

/// The constants behind the arguments.
fn parameters(expressions: &[Arc<dyn PhysicalExpr>], name: &str) -> Result<Vec<ScalarValue>> {
    let constant = |expression: &Arc<dyn PhysicalExpr>| match expression.downcast_ref::<Literal>() {
        Some(literal) => match literal.value() {
            text @ ScalarValue::Utf8(_) => Ok(text.clone()),
            other => other.cast_to(&DataType::Float64),
        },
        None => plan_err!("the parameters of {name} are constants"),
    };
    expressions.iter().map(constant).collect()
}

fn item(name: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Ok(item.data_type().clone())
        }
        other => plan_err!("{name} takes arrays, not values of type {other}"),
    }
}

identified_by!(Combined, name);

impl AggregateUDFImpl for Combined {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (arguments, text) = match (self.known.parameters, types.split_last()) {
            (Parameters::Text, Some((_, arguments))) => (arguments, Some(DataType::Utf8)),
            _ => (types, None),
        };
        if self.input != Input::Arrays {
            let wanted = self.known.inner.coerce_types(arguments)?;
            return Ok(wanted.into_iter().chain(text).collect());
        }
        // Levels stand behind the one array.
        let (arguments, levels) = match self.known.parameters {
            Parameters::Levels => arguments.split_at(arguments.len().min(1)),
            _ => (arguments, &[] as &[DataType]),
        };
        let levels = levels.iter().map(|_| DataType::Float64);
        let items = arguments.iter().map(|data_type| item(&self.name, data_type));
        let items: Vec<FieldRef> = items
            .map(|data_type| Ok(Arc::new(Field::new("item", data_type?, true))))
            .collect::<Result<_>>()?;
        let wanted = fields_with_udf(&items, self.known.inner.as_ref())?;
        let list = |field: &FieldRef| DataType::new_list(field.data_type().clone(), true);
        Ok(wanted.iter().map(list).chain(levels).chain(text).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let call = self.call(types, &[])?;
        match self.output {
            Output::Value => Ok(call.return_type().clone()),
            Output::State => {
                Ok(ColumnType::AggregateFunction(Box::new(call.state_type()?)).arrow())
            }
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{} does not take DISTINCT", self.name);
        }
        let step = self.step(&args)?;
        Ok(Box::new(CombinedAccumulator::new(step.call().accumulator()?, step)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> =
            args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let fields = self.call(&types, &[])?.state_fields()?;
        let named = |(at, field): (usize, FieldRef)| {
            let name = format!("{}[{at}]", args.name);
            Arc::new(field.as_ref().clone().with_name(name).with_nullable(true))
        };
        Ok(fields.into_iter().enumerate().map(named).collect())
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct && self.step(&args).is_ok_and(|step| step.call().groups_supported())
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let step = self.step(&args)?;
        Ok(Box::new(CombinedGroups::new(step.call().groups_accumulator()?, step)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
