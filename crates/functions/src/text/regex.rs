//! `extract` and `extractAll`: what a regular expression finds.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};
use regex::Regex;

use crate::scalar::{Arity, Scalar};

pub(super) const EXTRACT: Scalar = Scalar {
    name: "regexExtract",
    arity: Arity::Exactly(2),
    returns: |_| Ok(DataType::Utf8),
    kernel: extract,
};

pub(super) const EXTRACT_ALL: Scalar = Scalar {
    name: "extractAll",
    arity: Arity::Exactly(2),
    returns: |_| Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))),
    kernel: extract_all,
};

/// Compiles a pattern once for the run of rows that share it.
#[derive(Default)]
pub(super) struct Patterns(Option<(String, Regex)>);

impl Patterns {
    pub(super) fn get(&mut self, pattern: &str) -> Result<&Regex> {
        if self.0.as_ref().is_none_or(|(known, _)| known != pattern) {
            match Regex::new(pattern) {
                Ok(compiled) => self.0 = Some((pattern.to_owned(), compiled)),
                Err(error) => return exec_err!("'{pattern}' is no regular expression: {error}"),
            }
        }
        match &self.0 {
            Some((_, compiled)) => Ok(compiled),
            None => exec_err!("'{pattern}' is no regular expression"),
        }
    }
}

fn texts(arguments: &[ArrayRef]) -> Result<(ArrayRef, ArrayRef)> {
    Ok((cast(&arguments[0], &DataType::Utf8)?, cast(&arguments[1], &DataType::Utf8)?))
}

fn extract(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = texts(arguments)?;
    let mut compiled = Patterns::default();
    let found: StringArray = values
        .as_string::<i32>()
        .iter()
        .zip(patterns.as_string::<i32>().iter())
        .map(|(value, pattern)| {
            let (Some(value), Some(pattern)) = (value, pattern) else { return Ok(None) };
            let captures = compiled.get(pattern)?.captures(value);
            let part = captures.and_then(|found| found.get(1).or_else(|| found.get(0)));
            Ok(Some(part.map_or("", |part| part.as_str())))
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(found))
}

fn extract_all(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = texts(arguments)?;
    let mut compiled = Patterns::default();
    let mut found = ListBuilder::new(StringBuilder::new());
    for (value, pattern) in values.as_string::<i32>().iter().zip(patterns.as_string::<i32>().iter())
    {
        let (Some(value), Some(pattern)) = (value, pattern) else {
            found.append(false);
            continue;
        };
        for captures in compiled.get(pattern)?.captures_iter(value) {
            if let Some(part) = captures.get(1).or_else(|| captures.get(0)) {
                found.values().append_value(part.as_str());
            }
        }
        found.append(true);
    }
    Ok(Arc::new(found.finish()))
}
