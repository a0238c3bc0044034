//! Columns with one value in every row: those that were added after a part was written.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Datum, StructArray, UInt32Array, make_array, new_null_array,
};
use arrow::datatypes::{DataType, Field};
use granary_catalog::{ColumnType, Scalar};
use granary_common::{Error, Result};

use crate::scalar::to_arrow_scalar;
use crate::schema::{PART_COLUMN, PartColumn};

/// What every row of the part holds in a column that it lacks.
pub fn constant(column: &PartColumn) -> Result<Scalar> {
    match &column.added {
        Some(value) => Ok(value.clone()),
        None => zero(&column.column_type),
    }
}

fn zero(column_type: &ColumnType) -> Result<Scalar> {
    if column_type.is_nullable() {
        return Ok(Scalar::Null);
    }
    Ok(match column_type.base() {
        ColumnType::Bool => Scalar::Bool(false),
        ColumnType::Int8
        | ColumnType::Int16
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::Date
        | ColumnType::DateTime(_)
        | ColumnType::DateTime64(..)
        | ColumnType::Time(_) => Scalar::Int(0),
        ColumnType::UInt8
        | ColumnType::UInt16
        | ColumnType::UInt32
        | ColumnType::UInt64
        | ColumnType::Ipv4 => Scalar::UInt(0),
        ColumnType::Float32 | ColumnType::Float64 => Scalar::Float(0.0),
        ColumnType::Decimal(..) => Scalar::Wide(0),
        ColumnType::String => Scalar::Text(String::new()),
        ColumnType::FixedString(length) => Scalar::Bytes(vec![0; *length as usize]),
        ColumnType::Binary => Scalar::Bytes(Vec::new()),
        ColumnType::Uuid => Scalar::Text("00000000-0000-0000-0000-000000000000".to_owned()),
        ColumnType::Ipv6 => Scalar::Text("::".to_owned()),
        ColumnType::Enum8(names) | ColumnType::Enum16(names) => {
            Scalar::Text(names.first().map(|(name, _)| name.clone()).unwrap_or_default())
        }
        other => {
            return Err(Error::unsupported(format!(
                "a column of type {other} that was added after the part was written"
            )));
        }
    })
}

/// `rows` times what every row of the part holds in a column that it lacks.
pub fn repeated(column: &PartColumn, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    if column.added.is_none() && column.column_type.is_nullable() {
        return Ok(new_null_array(data_type, rows));
    }
    let has_no_scalar = data_type.is_nested() || matches!(data_type, DataType::Interval(_));
    if column.added.is_none() && has_no_scalar {
        return empty(&column.column_type, data_type, rows);
    }
    let value = to_arrow_scalar(&constant(column)?, data_type)?;
    let (value, _) = value.get();
    let same = UInt32Array::from(vec![0; rows]);
    arrow::compute::take(value, &same, None).map_err(|error| Error::internal(error.to_string()))
}

/// Empty lists and maps, tuples of zero values, states of no rows, intervals of no length.
fn empty(column_type: &ColumnType, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    let nulls = new_null_array(data_type, rows);
    let failed = |error: arrow::error::ArrowError| Error::internal(error.to_string());
    match (column_type.base(), data_type) {
        (ColumnType::Tuple(elements), DataType::Struct(fields)) => {
            let element = |((_, of), field): (&(Option<String>, ColumnType), &Arc<Field>)| {
                repeated(&PartColumn::new(PART_COLUMN, "", of.clone()), field.data_type(), rows)
            };
            let columns = elements.iter().zip(fields).map(element).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None).map_err(failed)?))
        }
        (ColumnType::AggregateFunction(_), DataType::Struct(fields)) => {
            let none = nulls.as_struct().columns().iter();
            let column = |state: &ArrayRef| {
                let value = to_arrow_scalar(&Scalar::Bytes(Vec::new()), state.data_type())?;
                let same = UInt32Array::from(vec![0; rows]);
                arrow::compute::take(value.get().0, &same, None).map_err(failed)
            };
            let columns = none.map(column).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None).map_err(failed)?))
        }
        // The offsets of NULLs are those of empty lists, and the bytes below them are zero.
        _ => {
            let builder = nulls.to_data().into_builder().nulls(None);
            builder.build().map(make_array).map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_common::ColumnId;

    use super::*;

    fn column(text: &str, added: Option<Scalar>) -> PartColumn {
        let column_type = text.parse().expect("a type");
        PartColumn { added, ..PartColumn::new(ColumnId(9), "c", column_type) }
    }

    #[test]
    fn every_type_has_a_value_for_old_rows() {
        for (text, added, null) in [
            ("Int32", None, false),
            ("Int32", Some(Scalar::Int(7)), false),
            ("Nullable(String)", None, true),
            ("Nullable(String)", Some(Scalar::Text("x".into())), false),
            ("Decimal(10, 2)", Some(Scalar::Wide(700)), false),
            ("Time(6)", None, false),
            ("Interval", None, false),
            ("Binary", None, false),
            ("Array(String)", None, false),
            ("Map(String, Array(UInt8))", None, false),
            ("Tuple(a UInt8, b Array(String))", None, false),
            ("AggregateFunction(sum, UInt64)", None, false),
        ] {
            let column = column(text, added);
            let field = column.column_type.arrow_field("c");
            let values = repeated(&column, field.data_type(), 3).expect(text);
            assert_eq!((values.len(), values.null_count() > 0), (3, null), "{text}");
            assert_eq!(values.data_type(), field.data_type(), "{text}");
        }
    }
}
