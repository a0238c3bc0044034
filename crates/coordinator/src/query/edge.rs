//! Types as clients get them. Many clients know neither views nor run-ends, and a dictionary that
//! changes between batches confuses most, so results leave with plain layouts.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use granary_catalog::ColumnType;
use granary_common::{Error, Result};

/// The schema under which rows of `schema` leave. Every column may be NULL there: planners are
/// right about types and now and then too sure that an expression is never NULL.
pub fn edge_schema(schema: &Schema) -> SchemaRef {
    let nullable = |field: &FieldRef| edge_field(field).as_ref().clone().with_nullable(true);
    Arc::new(Schema::new(schema.fields().iter().map(nullable).collect::<Vec<_>>()))
}

/// The type in which clients give and get the values of a column of a table.
pub fn edge_type_of(column_type: &ColumnType) -> DataType {
    match column_type.base() {
        // Kept as a number and written as text.
        ColumnType::Ipv4 => DataType::Utf8,
        _ => column_type.arrow(),
    }
}

fn edge_field(field: &FieldRef) -> FieldRef {
    let data_type = edge_type(field.data_type());
    // Metadata of fields is the engine's own.
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn edge_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => edge_type(values),
        DataType::RunEndEncoded(_, values) => edge_type(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(edge_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(edge_field(item))
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(edge_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(edge_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(edge_field(entries), *sorted),
        plain => plain.clone(),
    }
}

/// `batch` under the schema that [`edge_schema`] gave for it.
pub fn to_edge(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let failed = |error: arrow::error::ArrowError| {
        Error::internal(format!("a result cannot be converted for its client: {error}"))
    };
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::internal("a result has other columns than were announced"));
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()).map_err(failed),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, DictionaryArray, StringArray, StringViewArray, StructArray};
    use arrow::datatypes::Int8Type;

    #[test]
    fn layouts_become_plain_at_every_depth() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
        let words: DictionaryArray<Int8Type> = vec!["x", "x"].into_iter().collect();
        let field = Arc::new(Field::new("t", DataType::Utf8View, true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, Arc::clone(&texts))]));
        let batch = RecordBatch::try_from_iter([
            ("t", texts),
            ("w", Arc::new(words) as ArrayRef),
            ("s", nested),
        ])
        .unwrap();
        let schema = edge_schema(&batch.schema());
        let plain = to_edge(&batch, &schema).unwrap();
        let wanted: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        assert_eq!(plain.column(0), &wanted);
        assert_eq!(plain.column(1).data_type(), &DataType::Utf8);
        assert!(!plain.schema().field(2).data_type().to_string().contains("View"));
    }
}
