//! A known function for each position of arrays (-ForEach), each bucket of a key (-Resample) or each
//! key of maps (-Map): one accumulator of the function for each part.

mod parts;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use super::call::Call;
use super::known::{Known, Parameters};
use crate::gives;
use crate::rows::item_type;
use parts::Parts;

/// What makes the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Positions,
    Buckets,
    Keys,
}

impl Split {
    /// The combinator.
    pub fn suffix(self) -> &'static str {
        match self {
            Split::Positions => "ForEach",
            Split::Buckets => "Resample",
            Split::Keys => "Map",
        }
    }
}

/// Most buckets of -Resample.
const BUCKETS_MAX: i64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Parted {
    name: String,
    aliases: Vec<String>,
    known: &'static Known,
    split: Split,
    signature: Signature,
}

/// How the arguments of a call lie beside each other.
struct Layout<'a, T> {
    arguments: &'a [T],
    parameters: &'a [T],
    range: &'a [T],
}

impl Parted {
    pub(super) fn udaf(known: &'static Known, split: Split) -> Arc<AggregateUDF> {
        let name = format!("{}{}", known.name, split.suffix());
        let aliases = vec![name.to_lowercase()];
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(AggregateUDF::from(Parted { name, aliases, known, split, signature }))
    }

    /// Arguments, the key of -Resample, the function's parameters, then from, to and step.
    fn layout<'a, T>(&self, all: &'a [T]) -> Result<Layout<'a, T>> {
        let ends = if self.split == Split::Buckets { 3 } else { 0 };
        let keys = usize::from(self.split == Split::Buckets);
        let Some(rest) = all.len().checked_sub(ends + keys).filter(|rest| *rest > 0) else {
            return plan_err!("{} takes other arguments", self.name);
        };
        let arguments = match self.known.parameters {
            Parameters::None => rest,
            Parameters::Levels => 1,
            Parameters::Text => rest - 1,
        };
        let (given, range) = all.split_at(all.len() - ends);
        let (before, parameters) = given.split_at(arguments + keys);
        let (arguments, _) = before.split_at(arguments);
        Ok(Layout { arguments, parameters, range })
    }

    /// The function over the values of a part, and the type of the keys of maps.
    fn call(&self, types: &[DataType], parameters: Vec<ScalarValue>) -> Result<(Call, DataType)> {
        let layout = self.layout(types)?;
        let mut key = DataType::Null;
        let inner: Vec<DataType> = match self.split {
            Split::Positions => layout.arguments.iter().map(item_type).collect::<Result<_>>()?,
            Split::Buckets => layout.arguments.to_vec(),
            Split::Keys => {
                let [DataType::Map(entries, _)] = layout.arguments else {
                    return plan_err!("{} takes a map", self.name);
                };
                let DataType::Struct(fields) = entries.data_type() else {
                    return plan_err!("{} takes a map", self.name);
                };
                key = fields[0].data_type().clone();
                vec![fields[1].data_type().clone()]
            }
        };
        Ok((Call::new(self.known, &inner, parameters)?, key))
    }
}

identified_by!(Parted, name);

impl AggregateUDFImpl for Parted {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (call, key) = self.call(types, Vec::new())?;
        Ok(match self.split {
            Split::Keys => DataType::Map(gives::map_entries(&key, call.return_type()), false),
            _ => gives::list(call.return_type().clone()),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{} does not take DISTINCT", self.name);
        }
        let types: Vec<DataType> =
            args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let literals: Vec<Option<ScalarValue>> = args
            .exprs
            .iter()
            .map(|expression| Some(expression.downcast_ref::<Literal>()?.value().clone()))
            .collect();
        let layout = self.layout(&literals)?;
        let constant = |value: &Option<ScalarValue>| match value {
            Some(ScalarValue::Utf8(text)) => Ok(ScalarValue::Utf8(text.clone())),
            Some(value) => value.cast_to(&DataType::Float64),
            None => plan_err!("the parameters of {} are constants", self.name),
        };
        let parameters = layout.parameters.iter().map(constant).collect::<Result<Vec<_>>>()?;
        let number = |value: &Option<ScalarValue>| match value {
            Some(value) => match value.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(Some(number)) => Ok(number),
                _ => plan_err!("the range of {} is whole numbers", self.name),
            },
            None => plan_err!("the range of {} is constant", self.name),
        };
        let range = layout.range.iter().map(number).collect::<Result<Vec<i64>>>()?;
        let (call, key) = self.call(&types, parameters)?;
        let mut parts = Parts {
            split: self.split,
            arguments: layout.arguments.len(),
            call,
            key,
            first: 0,
            step: 1,
            parts: Vec::new(),
            places: HashMap::new(),
        };
        if let [first, end, step] = range.as_slice() {
            let length = end.checked_sub(*first).filter(|length| *length > 0);
            let count = length.map_or(0, |length| (length + step.max(&1) - 1) / step.max(&1));
            if *step <= 0 || count == 0 || count > BUCKETS_MAX {
                return plan_err!("{} takes from, to and a positive step", self.name);
            }
            (parts.first, parts.step) = (*first, *step);
            parts.grow(count as usize)?;
        }
        Ok(Box::new(parts))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> =
            args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let (call, key) = self.call(&types, Vec::new())?;
        let inner = call.state_fields()?;
        let keys = (self.split == Split::Keys).then_some(key);
        let types = keys.into_iter().chain(inner.iter().map(|field| field.data_type().clone()));
        let field = |(at, data_type): (usize, DataType)| {
            Arc::new(Field::new(format!("{}[{at}]", args.name), gives::list(data_type), true))
        };
        Ok(types.enumerate().map(field).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
