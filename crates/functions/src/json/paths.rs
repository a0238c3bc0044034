//! Paths of the SQL standard, `$.a.b[0]`, and whole documents.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err};
use granary_execution::functions::DOCUMENT_PART;
use serde_json::Number;

use super::columns::part_text;
use super::document::{Members, Value};
use super::path::Documents;
use crate::gives;
use crate::rows::{list_of, lists, range_of, texts};
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("JSON_VALUE", TWO, gives::text, |arguments| {
            let rows = found(arguments)?.into_iter().map(|row| {
                row.map(|values| values.into_iter().find_map(single).unwrap_or_default())
            });
            Ok(Arc::new(rows.collect::<StringArray>()))
        }),
        scalar("JSON_QUERY", TWO, gives::text, |arguments| {
            let rows = found(arguments)?.into_iter().map(|row| {
                row.map(|values| match values.is_empty() {
                    true => String::new(),
                    false => Value::Array(values).to_string(),
                })
            });
            Ok(Arc::new(rows.collect::<StringArray>()))
        }),
        scalar("JSON_EXISTS", TWO, gives::flag, |arguments| {
            let rows =
                found(arguments)?.into_iter().map(|row| row.map(|values| !values.is_empty()));
            Ok(Arc::new(rows.collect::<BooleanArray>()))
        }),
        scalar(DOCUMENT_PART, Arity::AtLeastOne, gives::text, document_part),
        scalar("JSONMergePatch", Arity::AtLeastOne, gives::text, merged),
        scalar("toJSONString", ONE, gives::text, |arguments| {
            let values = documents_of(&arguments[0])?;
            Ok(Arc::new(values.iter().map(|v| Some(v.to_string())).collect::<StringArray>()))
        }),
        scalar(
            "JSONExtractKeysAndValuesRaw",
            Arity::AtLeastOne,
            |_| Ok(gives::list(DataType::Struct(member_fields()))),
            members,
        ),
    ]
}

/// The part of each document as a text.
pub(super) fn document_part(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let parts = Documents::new(arguments)?;
    let parts = parts.map(|value| part_text(value).map(Cow::into_owned));
    Ok(Arc::new(parts.into_iter().map(Option::flatten).collect::<StringArray>()))
}

/// One step of a path.
enum Step<'p> {
    Member(&'p str),
    Place(usize),
    All,
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']')?;
            let inside = inside.trim();
            steps.push(match inside.strip_prefix(['\'', '"']) {
                Some(name) => Step::Member(name.trim_end_matches(['\'', '"'])),
                None if inside == "*" => Step::All,
                None => Step::Place(inside.parse().ok()?),
            });
            rest = after;
            continue;
        }
        let after = rest.strip_prefix('.')?;
        if let Some(quoted) = after.strip_prefix('"') {
            let (name, after) = quoted.split_once('"')?;
            steps.push(Step::Member(name));
            rest = after;
            continue;
        }
        let end = after.find(['.', '[']).unwrap_or(after.len());
        let name = &after[..end];
        steps.push(if name == "*" { Step::All } else { Step::Member(name) });
        rest = &after[end..];
    }
    Some(steps)
}

fn values_at<'v>(value: &'v Value, steps: &[Step<'_>], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    match step {
        Step::Member(name) => {
            if let Some(member) = value.get(name) {
                values_at(member, rest, found);
            }
        }
        Step::Place(place) => {
            if let Some(element) = value.element(*place) {
                values_at(element, rest, found);
            }
        }
        Step::All => match value {
            Value::Array(elements) => elements.iter().for_each(|e| values_at(e, rest, found)),
            Value::Object(members) => members.values().for_each(|m| values_at(m, rest, found)),
            _ => {}
        },
    }
}

/// The values at the path of each row; none where the text is no document.
fn found(arguments: &[ArrayRef]) -> Result<Vec<Option<Vec<Value>>>> {
    let (documents, paths) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let mut rows = Vec::with_capacity(documents.len());
    for (document, path) in documents.iter().zip(paths.iter()) {
        let (Some(document), Some(path)) = (document, path) else {
            rows.push(None);
            continue;
        };
        let Some(steps) = steps(path) else {
            return exec_err!("'{path}' is no path into a document, as '$.a.b[0]' is one");
        };
        let mut values = Vec::new();
        let document = serde_json::from_str::<Value>(document).ok();
        if let Some(document) = &document {
            values_at(document, &steps, &mut values);
        }
        rows.push(Some(values.into_iter().cloned().collect()));
    }
    Ok(rows)
}

/// The text of a value that is neither an array nor an object.
fn single(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(_) | Value::Object(_) | Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn patch(target: &mut Value, change: &Value) {
    let Value::Object(changes) = change else {
        *target = change.clone();
        return;
    };
    let mut members = match std::mem::replace(target, Value::Null) {
        Value::Object(members) => members,
        _ => Members::default(),
    };
    for (name, value) in changes.iter() {
        match value {
            Value::Null => members.remove(name),
            value => patch(members.member_mut(name), value),
        }
    }
    *target = Value::Object(members);
}

fn merged(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let columns = arguments.iter().map(texts).collect::<Result<Vec<StringArray>>>()?;
    let mut rows = Vec::with_capacity(arguments[0].len());
    for row in 0..arguments[0].len() {
        let mut document = Value::Null;
        let mut is_there = true;
        for column in &columns {
            if column.is_null(row) {
                is_there = false;
                break;
            }
            match serde_json::from_str(column.value(row)) {
                Ok(change) => patch(&mut document, &change),
                Err(error) => return exec_err!("JSONMergePatch: this is no document: {error}"),
            }
        }
        rows.push(is_there.then(|| document.to_string()));
    }
    Ok(Arc::new(StringArray::from(rows)))
}

/// Whether nobody gave the elements of a tuple names.
fn is_without_names(fields: &Fields) -> bool {
    fields.iter().enumerate().all(|(place, field)| {
        *field.name() == (place + 1).to_string() || *field.name() == format!("c{place}")
    })
}

/// The values as documents.
pub(crate) fn documents_of(values: &ArrayRef) -> Result<Vec<Value>> {
    let text = || crate::text_of(values);
    Ok(match values.data_type() {
        DataType::Null => vec![Value::Null; values.len()],
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let list = lists(values)?;
            let items = documents_of(list.values())?;
            let row = |row: usize| match list.is_null(row) {
                true => Value::Null,
                false => Value::Array(items[range_of(&list, row)].to_vec()),
            };
            (0..list.len()).map(row).collect()
        }
        DataType::Struct(fields) => {
            let tuple: &StructArray = values.as_struct();
            let columns = tuple.columns().iter().map(documents_of).collect::<Result<Vec<_>>>()?;
            let by_place = is_without_names(fields);
            let row = |row: usize| {
                if by_place {
                    return Value::Array(
                        columns.iter().map(|column| column[row].clone()).collect(),
                    );
                }
                let members = fields.iter().zip(&columns);
                let members =
                    members.map(|(field, column)| (field.name().clone(), column[row].clone()));
                Value::Object(members.collect())
            };
            (0..tuple.len())
                .map(|at| if tuple.is_null(at) { Value::Null } else { row(at) })
                .collect()
        }
        DataType::Map(..) => {
            let map = values.as_map();
            let (keys, items) = (crate::text_of(map.keys())?, documents_of(map.values())?);
            let row = |row: usize| {
                let range =
                    map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
                Value::Object(
                    range.map(|at| (keys.value(at).to_owned(), items[at].clone())).collect(),
                )
            };
            (0..map.len()).map(|at| if map.is_null(at) { Value::Null } else { row(at) }).collect()
        }
        DataType::Boolean => {
            let flags = values.as_boolean();
            flags.iter().map(|flag| flag.map_or(Value::Null, Value::Bool)).collect()
        }
        number if number.is_numeric() => {
            let number = |text: Option<&str>| {
                let number = text.and_then(|text| text.parse::<Number>().ok());
                number.map_or(Value::Null, Value::Number)
            };
            text()?.iter().map(number).collect()
        }
        _ => {
            text()?.iter().map(|t| t.map_or(Value::Null, |t| Value::String(t.to_owned()))).collect()
        }
    })
}

fn member_fields() -> Fields {
    let field = |name: &str| Field::new(name, DataType::Utf8, true);
    Fields::from(vec![field("1"), field("2")])
}

fn members(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = Documents::new(arguments)?.map(|value| match value {
        Some(Value::Object(members)) => {
            members.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
        }
        _ => Vec::new(),
    });
    let lengths: Vec<Option<usize>> = rows.iter().map(|row| row.as_ref().map(Vec::len)).collect();
    let (names, values): (Vec<String>, Vec<String>) = rows.into_iter().flatten().flatten().unzip();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(names)), Arc::new(StringArray::from(values))];
    let count = columns[0].len();
    let tuples = StructArray::try_new_with_length(member_fields(), columns, None, count)?;
    list_of(Arc::new(tuples), &lengths)
}
