//! Maps from their entries.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err, plan_err};

use crate::functions::rows::{item_type, lists};
use crate::functions::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![Scalar {
        name: "mapFromEntries",
        summary: "mapFromEntries(entries): the map of an array of tuples (key, value). \
                  mapFromEntries([('a', 1)]) = map('a', 1)",
        arity: Arity::Exactly(1),
        returns: |types| Ok(DataType::Map(Arc::new(entries_field(&types[0])?), false)),
        kernel: from_entries,
    }]
}

fn entries_field(list: &DataType) -> Result<Field> {
    match item_type(list)? {
        DataType::Struct(parts) if parts.len() == 2 => {
            let fields = Fields::from(vec![
                Field::new("key", parts[0].data_type().clone(), false),
                Field::new("value", parts[1].data_type().clone(), parts[1].is_nullable()),
            ]);
            Ok(Field::new("entries", DataType::Struct(fields), false))
        }
        other => plan_err!("the entries of a map are tuples of key and value, not {other}"),
    }
}

fn from_entries(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let list = lists(&arguments[0])?;
    let field = Arc::new(entries_field(list.data_type())?);
    let DataType::Struct(fields) = field.data_type() else {
        return exec_err!("the entries of a map are tuples");
    };
    let columns = list.values().as_struct().columns().to_vec();
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = list.offsets().clone();
    let map =
        MapArray::try_new(Arc::clone(&field), offsets, entries, list.nulls().cloned(), false)?;
    Ok(Arc::new(map))
}
