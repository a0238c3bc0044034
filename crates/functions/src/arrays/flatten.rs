//! Tuples within tuples as one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, plan_err};

use crate::scalar::{ONE, Scalar, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![scalar("flattenTuple", ONE, flat_type, flat)]
}

fn flat_type(types: &[DataType]) -> Result<DataType> {
    match &types[0] {
        DataType::Struct(fields) => Ok(DataType::Struct(flat_fields(fields, ""))),
        other => plan_err!("flattenTuple takes a tuple, not {other}"),
    }
}

/// The parts with the names of all the tuples around them.
fn flat_fields(fields: &Fields, within: &str) -> Fields {
    let named = |field: &Field| format!("{within}{}", field.name());
    let parts = fields.iter().flat_map(|field| match field.data_type() {
        DataType::Struct(inner) => {
            flat_fields(inner, &format!("{}.", named(field))).iter().cloned().collect::<Vec<_>>()
        }
        other => vec![Arc::new(Field::new(named(field), other.clone(), field.is_nullable()))],
    });
    parts.collect()
}

fn flat(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let tuple = arguments[0].as_struct();
    let fields = flat_fields(tuple.fields(), "");
    let mut columns = Vec::with_capacity(fields.len());
    gather(tuple, &mut columns)?;
    Ok(Arc::new(StructArray::try_new(fields, columns, tuple.nulls().cloned())?))
}

/// The columns of the parts.
fn gather(tuple: &StructArray, columns: &mut Vec<ArrayRef>) -> Result<()> {
    for part in tuple.columns() {
        match part.as_struct_opt() {
            Some(inner) => gather(inner, columns)?,
            None => columns.push(Arc::clone(part)),
        }
    }
    Ok(())
}
