//! `arrayReduce('sum', xs)`: a known function over the items of an array.

use arrow::array::{Array, ArrayRef, ListArray, new_empty_array};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};

use super::call::Call;
use super::known::{self, Parameters};
use crate::functions::gathered::SEPARATOR;
use crate::functions::rows::{item_type, lists, range_of, texts};
use crate::functions::scalar::{Arity, Typed};

pub(super) const ARRAY_REDUCE: Typed = Typed {
    name: "arrayReduce",
    arity: Arity::AtLeastOne,
    returns: |types, values| {
        let name = values.first().copied().flatten().and_then(|v| v.try_as_str().flatten());
        match name {
            Some(name) => Ok(call(name, &types[1..])?.return_type().clone()),
            None => plan_err!("arrayReduce takes the name of an aggregate as a constant text"),
        }
    },
    kernel: reduce,
};

/// The function of a name such as `quantile(0.9)`.
fn call(name: &str, types: &[DataType]) -> Result<Call> {
    let (plain, parameters) = match name.split_once('(') {
        Some((plain, rest)) => (plain.trim(), rest.trim_end_matches(')')),
        None => (name.trim(), ""),
    };
    let Some(known) = known::of(plain).filter(|_| !types.is_empty()) else {
        let hint = crate::error::did_you_mean(plain, known::KNOWN.iter().map(|known| known.name));
        let message = format!("arrayReduce: unknown aggregate function '{plain}'{hint}");
        return Err(DataFusionError::External(Box::new(granary_common::Error::invalid(message))));
    };
    let items = types.iter().map(item_type).collect::<Result<Vec<DataType>>>()?;
    let given = parameters.split(',').map(str::trim).filter(|text| !text.is_empty());
    let parameters = match known.parameters {
        Parameters::Text => {
            let texts: Vec<&str> = given.map(|text| text.trim_matches('\'')).collect();
            vec![ScalarValue::Utf8(Some(texts.join(&SEPARATOR.to_string())))]
        }
        _ => given
            .filter_map(|text| text.parse().ok())
            .map(|n| ScalarValue::Float64(Some(n)))
            .collect(),
    };
    Call::new(known, &items, parameters)
}

fn reduce(arguments: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let names = texts(&arguments[0])?;
    let Some(name) = names.iter().flatten().next().map(str::to_owned) else {
        return exec_err!("arrayReduce takes the name of an aggregate");
    };
    let types: Vec<DataType> =
        arguments[1..].iter().map(|values| values.data_type().clone()).collect();
    let call = call(&name, &types)?;
    let all = arguments[1..].iter().map(lists).collect::<Result<Vec<ListArray>>>()?;
    let wanted = call.argument_types();
    let items = all.iter().zip(&wanted).map(|(list, of)| arrow::compute::cast(list.values(), of));
    let items = items.collect::<std::result::Result<Vec<ArrayRef>, _>>()?;
    let mut results = Vec::with_capacity(arguments[0].len());
    for row in 0..arguments[0].len() {
        let mut accumulator = call.accumulator()?;
        let of_row = all.iter().zip(&items).map(|(list, items)| {
            let range = range_of(list, row);
            items.slice(range.start, range.len())
        });
        let of_row: Vec<ArrayRef> = of_row.collect();
        if of_row.iter().any(|values| values.len() != of_row[0].len()) {
            return exec_err!("the arrays of a row differ in length");
        }
        accumulator.update_batch(&of_row)?;
        results.push(accumulator.evaluate()?);
    }
    let results = match results.is_empty() {
        true => new_empty_array(data_type),
        false => ScalarValue::iter_to_array(results)?,
    };
    Ok(arrow::compute::cast(&results, data_type)?)
}
