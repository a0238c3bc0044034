//! Parts of documents for the columns that the storage keeps of them.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use granary_common::{Error, Result};
use granary_execution::functions::DocumentReader;

use super::document::Value;

/// How deep paths go.
const DEPTH_MAX: usize = 8;
/// Different paths that are counted.
const PATHS_MAX: usize = 4096;
/// Bytes of documents that are looked at for their paths.
const BYTES_MAX: usize = 16 << 20;
/// Of so many documents one has a path that is frequent.
const ONE_OF: usize = 4;

/// Reads documents as the functions over them do.
#[derive(Clone, Copy, Debug)]
pub struct JsonDocuments;

impl DocumentReader for JsonDocuments {
    fn frequent_paths(&self, documents: &ArrayRef, paths_max: usize) -> Result<Vec<Vec<String>>> {
        let documents = as_texts(documents)?;
        if documents.iter().flatten().filter(|text| may_be_object(text)).count() * ONE_OF
            < documents.len()
        {
            return Ok(Vec::new());
        }
        let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let (mut seen, mut bytes) = (0, 0);
        for text in &documents {
            seen += 1;
            let Some(document) = text.and_then(object) else { continue };
            count(&document, &mut Vec::new(), &mut counts);
            bytes += text.map_or(0, str::len);
            if bytes > BYTES_MAX {
                break;
            }
        }
        let mut frequent: Vec<(Vec<String>, usize)> =
            counts.into_iter().filter(|(_, count)| count * ONE_OF >= seen).collect();
        // Of those that are as frequent the first by name, so that parts have the same ones.
        frequent.sort_by_key(|(_, count)| Reverse(*count));
        frequent.truncate(paths_max);
        Ok(frequent.into_iter().map(|(path, _)| path).collect())
    }

    fn parts(&self, documents: &ArrayRef, paths: &[Vec<String>]) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<StringViewBuilder> =
            paths.iter().map(|_| StringViewBuilder::new()).collect();
        for text in &as_texts(documents)? {
            let document = text.and_then(object);
            for (path, column) in paths.iter().zip(&mut columns) {
                let found = document.as_ref().and_then(|document| at(document, path));
                column.append_option(part_text(found));
            }
        }
        Ok(columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect())
    }
}

/// A part of a document as `j.a.b` gives it.
pub(super) fn part_text(value: Option<&Value>) -> Option<Cow<'_, str>> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// Not in the type that has less than 2 GiB of all rows together.
fn as_texts(documents: &ArrayRef) -> Result<StringViewArray> {
    let texts = cast(documents, &DataType::Utf8View);
    let texts = texts.map(|texts| texts.as_string_view().clone());
    texts.map_err(|error| Error::internal(format!("documents are no texts: {error}")))
}

/// Whether a text begins as an object does. Nothing else has members.
fn may_be_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\n', '\t', '\r']).starts_with('{')
}

fn object(text: &str) -> Option<Value> {
    may_be_object(text).then(|| serde_json::from_str(text).ok()).flatten()
}

fn at<'v>(document: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(document, |value, name| value.get(name))
}

/// Counts the paths of numbers, texts and booleans.
fn count(value: &Value, path: &mut Vec<String>, counts: &mut BTreeMap<Vec<String>, usize>) {
    match value {
        Value::Object(members) if path.len() < DEPTH_MAX => {
            for (name, member) in members.iter() {
                path.push(name.clone());
                count(member, path, counts);
                path.pop();
            }
        }
        Value::Number(_) | Value::String(_) | Value::Bool(_) => {
            if let Some(count) = counts.get_mut(&*path) {
                *count += 1;
            } else if counts.len() < PATHS_MAX {
                counts.insert(path.clone(), 1);
            }
        }
        Value::Object(_) | Value::Array(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;
    use crate::json::paths;

    fn column(documents: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(documents.to_vec()))
    }

    fn check(documents: &[Option<&str>], paths_max: usize, expected: &[&[&str]]) {
        let found = JsonDocuments.frequent_paths(&column(documents), paths_max).expect("reads");
        assert_eq!(found, expected, "{documents:?}");
    }

    #[test]
    fn paths_that_many_documents_have() {
        let (ab, a) = (Some(r#"{"a": {"b": 1}, "c": null}"#), Some(r#" {"a": "x", "d": [1]}"#));
        check(&[ab, a, a], 9, &[&["a"], &["a", "b"]]);
        check(&[ab, a, a], 1, &[&["a"]]);
        // One of five is too few, and what is no object has no paths.
        check(&[a, None, None, None, Some("x")], 9, &[]);
        check(&[a, None, None, Some("{")], 9, &[&["a"]]);
        check(&[Some("[{\"a\": 1}]"), Some("7"), Some("")], 9, &[]);
        check(&[], 9, &[]);
        check(&[Some(r#"{"": {"x.y": true}}"#)], 9, &[&["", "x.y"]]);
    }

    /// Names that meet, also escaped, empty and with dots.
    fn name() -> impl Strategy<Value = String> {
        let names = vec!["a", "b", "", "a.b", "A", "\u{e9}", "\"", "\\", "x y"];
        prop::sample::select(names).prop_map(str::to_owned)
    }

    /// A document as text, with spaces, names that are there twice and letters that are escaped.
    fn written() -> impl Strategy<Value = String> {
        let numbers =
            vec!["0", "-1", "1.0", "1e3", "-0.0", "1E-2", "18446744073709551615", "1e400"];
        let texts =
            vec!["\"\"", "\"x\"", "\"\\u0061\"", "\"{}\"", "\"null\"", "\"\\ud83d\\ude00\""];
        let broken = vec!["", "nul", "{", "[1,]", "'x'", "\"\\x\"", "NaN", "01"];
        let leaf = prop_oneof![
            6 => prop::sample::select(numbers).prop_map(str::to_owned),
            6 => prop::sample::select(texts).prop_map(str::to_owned),
            3 => prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
            1 => prop::sample::select(broken).prop_map(str::to_owned),
        ];
        let quoted = |name: String, escapes: bool| {
            let escaped = |c: char| format!("\\u{:04x}", u32::from(c));
            match escapes {
                true => format!("\"{}\"", name.chars().map(escaped).collect::<String>()),
                false => Value::String(name).to_string(),
            }
        };
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let member = (name(), any::<bool>(), inner.clone());
            let object = (prop::collection::vec(member, 0..5), any::<bool>());
            prop_oneof![
                3 => object.prop_map(move |(members, spaced)| {
                    let space = if spaced { " \n" } else { "" };
                    let members = members.into_iter();
                    let members: Vec<String> = members
                        .map(|(name, escapes, value)| {
                            format!("{}{space}:{space}{value}", quoted(name, escapes))
                        })
                        .collect();
                    format!("{space}{{{}{space}}}{space}", members.join(","))
                }),
                1 => prop::collection::vec(inner, 0..3)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
            ]
        })
    }

    proptest! {
        #[test]
        fn columns_hold_what_the_function_gives(
            documents in prop::collection::vec(prop::option::weighted(0.9, written()), 0..40),
            others in prop::collection::vec(prop::collection::vec(name(), 1..4), 0..4),
            paths_max in 0..20_usize,
        ) {
            let documents: ArrayRef = Arc::new(documents.into_iter().collect::<StringViewArray>());
            let frequent = JsonDocuments.frequent_paths(&documents, paths_max).expect("reads");
            prop_assert!(frequent.len() <= paths_max);
            let paths: Vec<Vec<String>> = frequent.into_iter().chain(others).collect();
            let columns = JsonDocuments.parts(&documents, &paths).expect("reads");
            prop_assert_eq!(columns.len(), paths.len());
            for (path, column) in paths.iter().zip(columns) {
                let names = path.iter().map(|name| {
                    let names = vec![name.as_str(); documents.len()];
                    Arc::new(StringArray::from(names)) as ArrayRef
                });
                let arguments: Vec<ArrayRef> =
                    std::iter::once(Arc::clone(&documents)).chain(names).collect();
                let of_function = paths::document_part(&arguments).expect("computes");
                let column = cast(&column, &DataType::Utf8).expect("texts");
                prop_assert_eq!(&column, &of_function, "{:?} of {:?}", path, documents);
            }
        }
    }
}
