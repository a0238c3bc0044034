//! `toString`, which every cast to a text goes through.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;

use crate::functions::datetime::time_texts;
use crate::functions::scalar::{Arity, Scalar};

pub(in crate::functions) const TO_STRING: Scalar = Scalar {
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
        DataType::Float32 | DataType::Float64 => without_zeros(values, |text| text.ends_with(".0")),
        _ => Ok(cast(values, &DataType::Utf8)?),
    }
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

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn values_as_texts() {
        let decimals = Decimal128Array::from(vec![1000, 1050]).with_precision_and_scale(10, 2);
        for (values, expected) in [
            (Arc::new(Float64Array::from(vec![1.0, 12.5])) as ArrayRef, ["1", "12.5"]),
            (Arc::new(decimals.expect("decimals")), ["10", "10.5"]),
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
}
