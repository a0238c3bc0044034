//! Parts of texts: whether, where and how often they occur.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray, StringArray, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::regex::Patterns;
use crate::rows::{integers, lists, texts};
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    several_parts().into_iter().chain(patterns_and_counts()).collect()
}

/// Which of several parts occurs, and where.
fn several_parts() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "multiSearchAny",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| {
                let places = first_part(arguments, false)?;
                let found: BooleanArray =
                    places.iter().map(|place| place.map(|(part, _)| part > 0)).collect();
                Ok(Arc::new(found))
            },
        },
        Scalar {
            name: "multiSearchAnyCaseInsensitive",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| {
                let places = first_part(arguments, true)?;
                let found: BooleanArray =
                    places.iter().map(|place| place.map(|(part, _)| part > 0)).collect();
                Ok(Arc::new(found))
            },
        },
        Scalar {
            name: "multiSearchFirstIndex",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let places = first_part(arguments, false)?;
                let parts: UInt64Array =
                    places.iter().map(|place| place.map(|(part, _)| part)).collect();
                Ok(Arc::new(parts))
            },
        },
        Scalar {
            name: "multiSearchFirstPosition",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let places = first_part(arguments, false)?;
                let positions: UInt64Array =
                    places.iter().map(|place| place.map(|(_, position)| position)).collect();
                Ok(Arc::new(positions))
            },
        },
    ]
}

/// Patterns, and how often something occurs.
fn patterns_and_counts() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "multiMatchAny",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Boolean),
            kernel: match_any,
        },
        Scalar {
            name: "countSubstrings",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                counts(arguments, |text, part| {
                    Ok(if part.is_empty() { 0 } else { text.matches(part).count() })
                })
            },
        },
        Scalar {
            name: "countMatches",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let mut compiled = Patterns::default();
                counts(arguments, |text, pattern| {
                    Ok(compiled.get(pattern)?.find_iter(text).filter(|m| !m.is_empty()).count())
                })
            },
        },
        Scalar {
            name: "positionFrom",
            arity: Arity::Exactly(3),
            returns: |_| Ok(DataType::UInt64),
            kernel: position_from,
        },
    ]
}

/// Which part occurs first in the list, and the leftmost place of any, both from 1, else 0.
fn first_part(arguments: &[ArrayRef], any_case: bool) -> Result<Vec<Option<(u64, u64)>>> {
    let fold = |text: &str| if any_case { text.to_lowercase() } else { text.to_owned() };
    each_list(arguments, |text, parts| {
        let text = fold(text);
        let places: Vec<Option<usize>> = parts
            .map(|part| text.find(&fold(part)).map(|at| text[..at].chars().count() + 1))
            .collect();
        let first = places.iter().position(Option::is_some).map_or(0, |at| at as u64 + 1);
        let leftmost = places.into_iter().flatten().min().unwrap_or(0) as u64;
        Ok((first, leftmost))
    })
}

fn match_any(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Patterns::default();
    let found = each_list(arguments, |text, patterns| {
        for pattern in patterns {
            if compiled.get(pattern)?.is_match(text) {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    Ok(Arc::new(BooleanArray::from(found)))
}

/// What `of` makes of each text and its list of texts.
fn each_list<T>(
    arguments: &[ArrayRef],
    mut of: impl FnMut(&str, &mut dyn Iterator<Item = &str>) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    let values = texts(&arguments[0])?;
    let list: ListArray = lists(&arguments[1])?;
    let items: StringArray = texts(list.values())?;
    (0..values.len())
        .map(|row| {
            if values.is_null(row) || list.is_null(row) {
                return Ok(None);
            }
            let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
            let mut parts = range.filter(|at| items.is_valid(*at)).map(|at| items.value(at));
            of(values.value(row), &mut parts).map(Some)
        })
        .collect()
}

fn counts(
    arguments: &[ArrayRef],
    mut count: impl FnMut(&str, &str) -> Result<usize>,
) -> Result<ArrayRef> {
    let (values, parts) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let counts: UInt64Array = values
        .iter()
        .zip(parts.iter())
        .map(|(text, part)| match (text, part) {
            (Some(text), Some(part)) => count(text, part).map(|count| Some(count as u64)),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(counts))
}

fn position_from(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, parts) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let starts = integers(&arguments[2])?;
    let places: UInt64Array = values
        .iter()
        .zip(parts.iter())
        .zip(starts.iter())
        .map(|((text, part), start)| {
            let (text, skipped) = (text?, usize::try_from(start?).unwrap_or(0).max(1) - 1);
            let begin = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
            let found = text[begin..].find(part?);
            Some(found.map_or(0, |at| (text[..begin + at].chars().count() + 1) as u64))
        })
        .collect();
    Ok(Arc::new(places))
}
