//! Documents and the paths into them.

use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use datafusion::common::Result;

use super::document::Value;
use crate::rows::{integers, texts};

/// The arguments of one call.
pub(super) struct Documents {
    documents: StringArray,
    path: Vec<Step>,
}

/// One argument of the path, for all rows.
enum Step {
    Names(StringArray),
    Places(Int64Array),
}

impl Documents {
    /// The document is the first argument, the others are the path.
    pub(super) fn new(arguments: &[ArrayRef]) -> Result<Documents> {
        let step = |values: &ArrayRef| {
            Ok(match values.data_type().is_integer() {
                true => Step::Places(integers(values)?),
                false => Step::Names(texts(values)?),
            })
        };
        let path = arguments.iter().skip(1).map(step).collect::<Result<_>>()?;
        Ok(Documents { documents: texts(&arguments[0])?, path })
    }

    /// What `of` makes of each row: of the value at the path, if there is one. NULL stays NULL.
    pub(super) fn map<T>(&self, mut of: impl FnMut(Option<&Value>) -> T) -> Vec<Option<T>> {
        let row = |row: usize| {
            if self.documents.is_null(row) {
                return None;
            }
            let document = serde_json::from_str::<Value>(self.documents.value(row)).ok();
            Some(of(document.as_ref().and_then(|document| self.find(document, row))))
        };
        (0..self.documents.len()).map(row).collect()
    }

    fn find<'v>(&self, document: &'v Value, row: usize) -> Option<&'v Value> {
        self.path.iter().try_fold(document, |value, step| match step {
            Step::Names(names) if names.is_valid(row) => value.get(names.value(row)),
            Step::Places(places) if places.is_valid(row) => at_place(value, places.value(row)),
            _ => None,
        })
    }
}

/// From 1; negative places count from the end.
fn at_place(value: &Value, place: i64) -> Option<&Value> {
    let index = |length: usize| match place {
        0 => None,
        1.. => usize::try_from(place - 1).ok(),
        _ => length.checked_sub(usize::try_from(place.unsigned_abs()).ok()?),
    };
    match value {
        Value::Array(elements) => elements.get(index(elements.len())?),
        Value::Object(members) => members.values().nth(index(members.len())?),
        _ => None,
    }
}
