//! `toString`, which every cast to a text goes through.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;

use crate::datetime::time_texts;
use crate::rows::{lists, range_of};
use crate::scalar::{Arity, Scalar};

pub(crate) const TO_STRING: Scalar = Scalar {
    name: "toString",
    arity: Arity::Exactly(1),
    returns: |_| Ok(DataType::Utf8),
    kernel: to_string,
};

fn to_string(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = &arguments[0];
    match values.data_type() {
        DataType::Timestamp(unit, _) => time_texts(values, *unit),
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            without_zeros(values, |text| text.contains('.'))
        }
        DataType::Float32 | DataType::Float64 => float_texts(values),
        nested if nested.is_nested() => Ok(Arc::new(nested_texts(values)?)),
        _ => Ok(cast(values, &DataType::Utf8)?),
    }
}

/// Arrays as `[1,'a']`, tuples as `(1,'a')`, maps as `{'a':1}`; NULL where the whole is NULL.
fn nested_texts(values: &ArrayRef) -> Result<StringArray> {
    let in_brackets = |open, parts: &[String], close| format!("{open}{}{close}", parts.join(","));
    let row: Box<dyn Fn(usize) -> String> = match values.data_type() {
        DataType::Struct(_) => {
            let columns = values.as_struct().columns().iter().map(part_texts);
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Box::new(move |row| {
                let parts: Vec<String> = columns.iter().map(|column| column[row].clone()).collect();
                in_brackets('(', &parts, ')')
            })
        }
        DataType::Map(..) => {
            let map = values.as_map().clone();
            let (keys, items) = (part_texts(map.keys())?, part_texts(map.values())?);
            Box::new(move |row| {
                let offsets = map.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                let pairs: Vec<String> =
                    range.map(|at| format!("{}:{}", keys[at], items[at])).collect();
                in_brackets('{', &pairs, '}')
            })
        }
        _ => {
            let list = lists(values)?;
            let items = part_texts(list.values())?;
            Box::new(move |row| in_brackets('[', &items[range_of(&list, row)], ']'))
        }
    };
    Ok((0..values.len()).map(|at| values.is_valid(at).then(|| row(at))).collect())
}

/// The texts of what stands inside of others: there texts and times are quoted.
fn part_texts(values: &ArrayRef) -> Result<Vec<String>> {
    let shown = to_string(std::slice::from_ref(values))?;
    let data_type = values.data_type();
    let is_plain = data_type.is_numeric()
        || data_type.is_nested()
        || matches!(data_type, DataType::Boolean | DataType::Null);
    let text = |text: Option<&str>| match text {
        None => "NULL".to_owned(),
        Some(text) if is_plain => text.to_owned(),
        Some(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
    };
    Ok(shown.as_string::<i32>().iter().map(text).collect())
}

/// Digits after the point that say nothing are left out.
fn without_zeros(values: &ArrayRef, applies: fn(&str) -> bool) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let shorter: StringArray = texts
        .as_string::<i32>()
        .iter()
        .map(|text| {
            text.map(|text| match applies(text) {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text.to_owned(),
            })
        })
        .collect();
    Ok(Arc::new(shorter))
}

/// Up to 1e21 all digits of a large number are written, as ClickHouse does it.
fn float_texts(values: &ArrayRef) -> Result<ArrayRef> {
    let texts = without_zeros(values, |text| text.ends_with(".0"))?;
    let written: StringArray = texts
        .as_string::<i32>()
        .iter()
        .map(|text| {
            text.map(|text| match text.parse::<f64>() {
                Ok(number) if number.is_nan() => "nan".to_owned(),
                Ok(number) if (1e15..1e21).contains(&number.abs()) => format!("{number}"),
                _ => text.to_owned(),
            })
        })
        .collect();
    Ok(Arc::new(written))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Float64Array, Int32Builder, ListArray, MapBuilder, StringBuilder,
        TimestampMillisecondArray,
    };
    use arrow::datatypes::Date32Type;

    use super::*;

    #[test]
    fn values_as_texts() {
        let decimals = Decimal128Array::from(vec![1000, 1050]).with_precision_and_scale(10, 2);
        for (values, expected) in [
            (Arc::new(Float64Array::from(vec![1.0, 12.5])) as ArrayRef, ["1", "12.5"]),
            (Arc::new(decimals.expect("decimals")), ["10", "10.5"]),
            (Arc::new(Float64Array::from(vec![f64::NAN, 1e20])), ["nan", "100000000000000000000"]),
            (Arc::new(Float64Array::from(vec![1e21, 1.5e-7])), ["1e21", "1.5e-7"]),
            (
                Arc::new(TimestampMillisecondArray::from(vec![500, 1_704_067_200_001])),
                ["1970-01-01 00:00:00.500", "2024-01-01 00:00:00.001"],
            ),
        ] {
            let texts = to_string(&[values]).expect("texts");
            let texts: Vec<&str> = texts.as_string::<i32>().iter().flatten().collect();
            assert_eq!(texts, expected);
        }
    }

    #[test]
    fn values_inside_of_others() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("it's");
        map.values().append_null();
        map.append(true).expect("an entry");
        map.append(false).expect("a NULL");
        let numbers = ListArray::from_iter_primitive::<Date32Type, _, _>([
            Some(vec![Some(0), None]),
            Some(Vec::new()),
        ]);
        for (values, expected) in [
            (Arc::new(map.finish()) as ArrayRef, [Some("{'it\\'s':NULL}"), None]),
            (Arc::new(numbers), [Some("['1970-01-01',NULL]"), Some("[]")]),
        ] {
            let texts = to_string(&[values]).expect("texts");
            assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), expected);
        }
    }
}
