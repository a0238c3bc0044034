//! The groups of regular expressions, and several expressions at once.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ListBuilder, StringArray, StringBuilder, UInt64Array, UInt64Builder,
};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use super::regex::Patterns;
use crate::gives;
use crate::rows::{each, integers, lists, text_lists, texts};
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    let lists_of_texts = |_: &[DataType]| Ok(gives::list(gives::list(DataType::Utf8)));
    vec![
        scalar("extractAllGroupsVertical", TWO, lists_of_texts, |arguments| {
            all_groups(arguments, |matches| matches)
        }),
        scalar("extractAllGroupsHorizontal", TWO, lists_of_texts, |arguments| {
            all_groups(arguments, transposed)
        }),
        scalar("extractGroups", TWO, gives::texts, groups),
        scalar("regexpExtract", Arity::Between(2, 3), gives::text, extract),
        scalar("regexpQuoteMeta", ONE, gives::text, |arguments| {
            let quoted = each(&arguments[0], |text| Some(quoted(text)))?;
            Ok(Arc::new(StringArray::from(quoted)))
        }),
        scalar("multiMatchAnyIndex", TWO, gives::number, |arguments| {
            let found = matching(arguments)?;
            let first =
                found.into_iter().map(|row| row.map(|row| row.first().copied().unwrap_or(0)));
            Ok(Arc::new(first.collect::<UInt64Array>()))
        }),
        scalar(
            "multiMatchAllIndices",
            TWO,
            |_| Ok(gives::list(DataType::UInt64)),
            |arguments| {
                let mut all = ListBuilder::new(UInt64Builder::new());
                for row in matching(arguments)? {
                    let is_there = row.is_some();
                    row.into_iter().flatten().for_each(|place| all.values().append_value(place));
                    all.append(is_there);
                }
                Ok(Arc::new(all.finish()))
            },
        ),
    ]
}

/// The groups of each match, row by row.
fn matches_of(arguments: &[ArrayRef]) -> Result<Vec<Option<Vec<Vec<String>>>>> {
    let (values, patterns) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let mut compiled = Patterns::default();
    let mut rows = Vec::with_capacity(values.len());
    for (value, pattern) in values.iter().zip(patterns.iter()) {
        let (Some(value), Some(pattern)) = (value, pattern) else {
            rows.push(None);
            continue;
        };
        let regex = compiled.get(pattern)?;
        if regex.captures_len() < 2 {
            return exec_err!("'{pattern}' has no groups");
        }
        let groups = |found: regex::Captures<'_>| {
            let group =
                |group: Option<regex::Match<'_>>| group.map_or("", |g| g.as_str()).to_owned();
            found.iter().skip(1).map(group).collect()
        };
        rows.push(Some(regex.captures_iter(value).map(groups).collect()));
    }
    Ok(rows)
}

fn all_groups(
    arguments: &[ArrayRef],
    arranged: fn(Vec<Vec<String>>) -> Vec<Vec<String>>,
) -> Result<ArrayRef> {
    let mut all = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in matches_of(arguments)? {
        let is_there = row.is_some();
        for inner in row.map(arranged).into_iter().flatten() {
            inner.into_iter().for_each(|text| all.values().values().append_value(text));
            all.values().append(true);
        }
        all.append(is_there);
    }
    Ok(Arc::new(all.finish()))
}

/// A list for each group instead of one for each match.
fn transposed(matches: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let count = matches.first().map_or(0, Vec::len);
    (0..count)
        .map(|group| matches.iter().filter_map(|found| found.get(group).cloned()).collect())
        .collect()
}

fn groups(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = matches_of(arguments)?;
    Ok(text_lists(
        rows.into_iter().map(|row| row.map(|all| all.into_iter().next().unwrap_or_default())),
    ))
}

/// Group `n` of the first match, 1 unless it is said; 0 is the whole match.
fn extract(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let numbers = arguments.get(2).map(integers).transpose()?;
    let mut compiled = Patterns::default();
    let mut found: Vec<Option<String>> = Vec::with_capacity(values.len());
    for (row, (value, pattern)) in values.iter().zip(patterns.iter()).enumerate() {
        let (Some(value), Some(pattern)) = (value, pattern) else {
            found.push(None);
            continue;
        };
        let regex = compiled.get(pattern)?;
        let number = match &numbers {
            Some(numbers) => usize::try_from(numbers.value(row)).unwrap_or(usize::MAX),
            None => usize::from(regex.captures_len() > 1),
        };
        if number >= regex.captures_len() {
            return exec_err!("'{pattern}' has no group {number}");
        }
        let part = regex
            .captures(value)
            .and_then(|captures| captures.get(number).map(|part| part.as_str().to_owned()));
        found.push(Some(part.unwrap_or_default()));
    }
    Ok(Arc::new(StringArray::from(found)))
}

/// The text as a pattern that finds it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if "\\()[]{}|^$.?*+:-".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// Which patterns of an array, from 1, match each text.
fn matching(arguments: &[ArrayRef]) -> Result<Vec<Option<Vec<u64>>>> {
    let values = texts(&arguments[0])?;
    let patterns = lists(&arguments[1])?;
    let mut rows = Vec::with_capacity(values.len());
    let mut compiled: Vec<Patterns> = Vec::new();
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value else {
            rows.push(None);
            continue;
        };
        let of_row = texts(&patterns.value(row))?;
        let mut found = Vec::new();
        for (place, pattern) in of_row.iter().enumerate() {
            if compiled.len() <= place {
                compiled.push(Patterns::default());
            }
            if compiled[place].get(pattern.unwrap_or_default())?.is_match(value) {
                found.push(place as u64 + 1);
            }
        }
        rows.push(Some(found));
    }
    Ok(rows)
}
