//! Maps from their entries.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err, plan_err};

use crate::rows::{item_type, lists};
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "mapEntries",
            arity: Arity::Exactly(1),
            returns: |types| match &types[0] {
                DataType::Map(entries, _) => Ok(entries_type(entries)),
                other => plan_err!("a map is expected, not {other}"),
            },
            kernel: entries,
        },
        Scalar {
            name: "mapFromEntries",
            arity: Arity::Exactly(1),
            returns: |types| Ok(DataType::Map(Arc::new(entries_field(&types[0])?), false)),
            kernel: from_entries,
        },
    ]
}

fn entries_type(entries: &FieldRef) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(entries.data_type().clone(), false)))
}

fn entries(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let DataType::Map(field, _) = arguments[0].data_type() else {
        return exec_err!("a map is expected");
    };
    let DataType::List(item) = entries_type(field) else {
        return exec_err!("a map is expected");
    };
    let map = arguments[0].as_map();
    let rows = Arc::new(map.entries().clone());
    Ok(Arc::new(ListArray::try_new(item, map.offsets().clone(), rows, map.nulls().cloned())?))
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
