//! Texts in parts.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use super::regex::Patterns;
use crate::rows::{integers, texts};
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "splitByRegexp",
            arity: Arity::Exactly(2),
            returns: |_| Ok(parts_type()),
            kernel: by_regexp,
        },
        Scalar {
            name: "splitByWhitespace",
            arity: Arity::Exactly(1),
            returns: |_| Ok(parts_type()),
            kernel: |arguments| {
                parts(&arguments[0], |text| text.split_whitespace().map(str::to_owned).collect())
            },
        },
        Scalar {
            name: "splitByNonAlpha",
            arity: Arity::Exactly(1),
            returns: |_| Ok(parts_type()),
            kernel: |arguments| {
                parts(&arguments[0], |text| {
                    let separates = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
                    words(text.split(separates))
                })
            },
        },
        Scalar {
            name: "alphaTokens",
            arity: Arity::Exactly(1),
            returns: |_| Ok(parts_type()),
            kernel: |arguments| {
                parts(&arguments[0], |text| words(text.split(|c: char| !c.is_ascii_alphabetic())))
            },
        },
        Scalar {
            name: "ngrams",
            arity: Arity::Exactly(2),
            returns: |_| Ok(parts_type()),
            kernel: ngrams,
        },
    ]
}

fn parts_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

fn words<'t>(parts: impl Iterator<Item = &'t str>) -> Vec<String> {
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn lists(rows: impl Iterator<Item = Result<Option<Vec<String>>>>) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let row = row?;
        let present = row.is_some();
        for part in row.into_iter().flatten() {
            lists.values().append_value(part);
        }
        lists.append(present);
    }
    Ok(Arc::new(lists.finish()))
}

fn parts(values: &ArrayRef, of: impl Fn(&str) -> Vec<String>) -> Result<ArrayRef> {
    lists(texts(values)?.iter().map(|text| Ok(text.map(&of))))
}

fn by_regexp(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (patterns, values) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let mut compiled = Patterns::default();
    lists(patterns.iter().zip(values.iter()).map(|(pattern, text)| {
        let (Some(pattern), Some(text)) = (pattern, text) else { return Ok(None) };
        // Nothing to split by separates the characters.
        if pattern.is_empty() {
            return Ok(Some(text.chars().map(String::from).collect()));
        }
        Ok(Some(compiled.get(pattern)?.split(text).map(str::to_owned).collect()))
    }))
}

fn ngrams(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, lengths) = (texts(&arguments[0])?, integers(&arguments[1])?);
    lists(values.iter().zip(lengths.iter()).map(|(text, length)| {
        let (Some(text), Some(length)) = (text, length) else { return Ok(None) };
        let characters: Vec<char> = text.chars().collect();
        let length = usize::try_from(length).unwrap_or(0).max(1);
        Ok(Some(characters.windows(length).map(|part| part.iter().collect()).collect()))
    }))
}
