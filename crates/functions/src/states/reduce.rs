//! `arrayReduce('sum', xs)`: a known function over the items of an array.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt64Array, new_empty_array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};

use super::call::Call;
use super::known::{self, Parameters};
use crate::gathered::SEPARATOR;
use crate::gives;
use crate::rows::{integers, item_type, list_of, lists, range_of, texts};
use crate::scalar::{Arity, Typed};

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
        let hint = granary_common::did_you_mean(plain, known::KNOWN.iter().map(|known| known.name));
        let message = format!("arrayReduce: unknown aggregate function '{plain}'{hint}");
        return Err(DataFusionError::External(Box::new(granary_common::Error::invalid(message))));
    };
    let types = &types[..types.len() - usize::from(has_condition(name))];
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

/// Whether the last array has the conditions of the items: `sumIf`.
fn has_condition(name: &str) -> bool {
    let plain = name.split('(').next().unwrap_or_default().trim().to_lowercase();
    crate::base_and_combinators(&plain).is_some_and(|(_, all)| all.contains(&"if"))
}

/// The lists before the last one, with the items whose condition in the last one holds.
fn chosen(mut all: Vec<ListArray>) -> Result<Vec<ListArray>> {
    let Some(conditions) = all.pop() else { return Ok(all) };
    let flags = cast(conditions.values(), &DataType::Boolean)?;
    let flags = flags.as_boolean();
    let of_list = |list: ListArray| {
        let mut places = Vec::new();
        let mut lengths = Vec::with_capacity(list.len());
        for row in 0..list.len() {
            let (own, asked) = (range_of(&list, row), range_of(&conditions, row));
            if own.len() != asked.len() {
                return exec_err!("the arrays of a row differ in length");
            }
            let before = places.len();
            let holds = |(_, at): &(usize, usize)| flags.is_valid(*at) && flags.value(*at);
            places.extend(own.zip(asked).filter(holds).map(|(at, _)| at as u64));
            lengths.push(Some(places.len() - before));
        }
        let items = take(list.values(), &UInt64Array::from(places), None)?;
        Ok(list_of(items, &lengths)?.as_list::<i32>().clone())
    };
    all.into_iter().map(of_list).collect()
}

fn reduce(arguments: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let names = texts(&arguments[0])?;
    let Some(name) = names.iter().flatten().next().map(str::to_owned) else {
        return exec_err!("arrayReduce takes the name of an aggregate");
    };
    let types: Vec<DataType> =
        arguments[1..].iter().map(|values| values.data_type().clone()).collect();
    let call = call(&name, &types)?;
    let mut all = arguments[1..].iter().map(lists).collect::<Result<Vec<ListArray>>>()?;
    if has_condition(&name) {
        all = chosen(all)?;
    }
    let wanted = call.argument_types();
    let items = all.iter().zip(&wanted).map(|(list, of)| cast(list.values(), of));
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
    Ok(cast(&results, data_type)?)
}

/// `arrayReduceInRanges('sum', [(start, length), ...], xs)`: the function over parts of an array.
pub(super) const ARRAY_REDUCE_IN_RANGES: Typed = Typed {
    name: "arrayReduceInRanges",
    arity: Arity::Exactly(3),
    returns: |types, values| {
        let name = values.first().copied().flatten().and_then(|v| v.try_as_str().flatten());
        match name {
            Some(name) => Ok(gives::list(call(name, &types[2..])?.return_type().clone())),
            None => plan_err!("arrayReduceInRanges takes the name of an aggregate"),
        }
    },
    kernel: reduce_in_ranges,
};

fn reduce_in_ranges(arguments: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let names = texts(&arguments[0])?;
    let Some(name) = names.iter().flatten().next().map(str::to_owned) else {
        return exec_err!("arrayReduceInRanges takes the name of an aggregate");
    };
    let call = call(&name, &[arguments[2].data_type().clone()])?;
    let (ranges, list) = (lists(&arguments[1])?, lists(&arguments[2])?);
    let Some(pairs) = ranges.values().as_struct_opt().filter(|pairs| pairs.num_columns() == 2)
    else {
        return exec_err!("arrayReduceInRanges takes an array of pairs: start and length");
    };
    let (starts, sizes) = (integers(pairs.column(0))?, integers(pairs.column(1))?);
    let items = cast(list.values(), &call.argument_types()[0])?;
    let mut results = Vec::new();
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let whole = range_of(&list, row);
        for at in range_of(&ranges, row) {
            // Places count from 1, from the end when they are negative.
            let length = whole.len() as i64;
            let start = starts.value(at);
            let start = if start < 0 { length + start } else { start - 1 };
            let end = (start + sizes.value(at).max(0)).clamp(0, length);
            let start = start.clamp(0, end);
            let mut accumulator = call.accumulator()?;
            let part = items.slice(whole.start + start as usize, (end - start) as usize);
            accumulator.update_batch(&[part])?;
            results.push(accumulator.evaluate()?);
        }
        lengths.push(Some(range_of(&ranges, row).len()));
    }
    let DataType::List(field) = data_type else { return exec_err!("the result is an array") };
    let results = match results.is_empty() {
        true => new_empty_array(field.data_type()),
        false => cast(&ScalarValue::iter_to_array(results)?, field.data_type())?,
    };
    list_of(results, &lengths)
}
