//! `replaceOne`: the first occurrence only.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;

use crate::scalar::{Arity, Scalar};

pub(super) const REPLACE_ONE: Scalar = Scalar {
    name: "replaceOne",
    arity: Arity::Exactly(3),
    returns: |_| Ok(DataType::Utf8),
    kernel: replace_one,
};

fn replace_one(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: Vec<ArrayRef> =
        arguments.iter().map(|values| Ok(cast(values, &DataType::Utf8)?)).collect::<Result<_>>()?;
    let replaced: StringArray = texts[0]
        .as_string::<i32>()
        .iter()
        .zip(texts[1].as_string::<i32>().iter())
        .zip(texts[2].as_string::<i32>().iter())
        .map(|((text, from), to)| Some(text?.replacen(from?, to?, 1)))
        .collect();
    Ok(Arc::new(replaced))
}
