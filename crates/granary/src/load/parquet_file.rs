//! Parquet files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use granary_common::{Error, Result};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::progress::Meter;
use super::source::{BATCH_ROWS, Source};

pub(super) fn open(path: &Path, meter: Arc<Meter>) -> Result<Source> {
    let file = File::open(path).map_err(|error| Error::invalid(format!("cannot open: {error}")))?;
    let bytes = file.metadata().map(|data| data.len()).unwrap_or(0);
    let not_parquet = |error| Error::invalid(format!("not a Parquet file: {error}"));
    let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(not_parquet)?;
    let wanted = ArrowReaderOptions::new().with_schema(as_sent(found.schema()));
    let metadata =
        ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), wanted).map_err(not_parquet)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let rows = builder.metadata().file_metadata().num_rows().max(1) as u64;
    let schema = Arc::clone(builder.schema());
    let reader = builder
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| Error::invalid(format!("not a readable Parquet file: {error}")))?;
    let mut row = 0;
    let batches = reader.map(move |batch| {
        let batch = batch.map_err(|error| Error::invalid(format!("after row {row}: {error}")))?;
        row += batch.num_rows() as u64;
        meter.set_bytes(bytes * row / rows);
        Ok(batch)
    });
    Ok(Source { schema, batches: Box::new(batches) })
}

/// The schema with its texts side by side. Views of a file's texts point into whole pages, of which
/// all would be sent, and a short text takes a third of the bytes that its view does.
fn as_sent(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(field_as_sent).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn field_as_sent(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(field_as_sent(item)),
        DataType::LargeList(item) => DataType::LargeList(field_as_sent(item)),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(field_as_sent(item), *n),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_as_sent).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(field_as_sent(entries), *is_sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, AsArray, BinaryViewArray, RecordBatch, StringViewArray, StructArray,
    };
    use parquet::arrow::ArrowWriter;

    #[test]
    fn texts_are_read_side_by_side() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("short"), None, Some("")]));
        let bytes: ArrayRef = Arc::new(BinaryViewArray::from_iter_values([b"a", b"b", b"c"]));
        let inner = Arc::new(Field::new("t", DataType::Utf8View, true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(inner, Arc::clone(&texts))]));
        let columns = [("t", texts), ("b", bytes), ("s", nested)];
        let rows = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(rows).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let source = open(&path, Arc::default()).unwrap();
        let types: Vec<DataType> =
            source.schema.fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types[..2], [DataType::Utf8, DataType::Binary]);
        let read: Vec<RecordBatch> = source.batches.collect::<Result<_>>().unwrap();
        let texts = |column: &ArrayRef| -> Vec<Option<String>> {
            column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
        };
        let expected = [Some("short".to_owned()), None, Some(String::new())];
        assert_eq!(texts(read[0].column(0)), expected);
        assert_eq!(texts(read[0].column(2).as_struct().column(0)), expected);
    }
}
