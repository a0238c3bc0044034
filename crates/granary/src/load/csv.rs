//! CSV files. Every value is read as text first and then cast to its column's type, so that a
//! value that does not fit can be named by its row and column.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use granary_common::{Error, Result};

use super::cast;
use super::progress::Meter;
use super::source::{BATCH_ROWS, ReadOptions, Source, table_field};

pub(super) fn open(
    path: &Path,
    options: &ReadOptions,
    table_schema: &SchemaRef,
    meter: Arc<Meter>,
) -> Result<Source> {
    let file = File::open(path).map_err(|error| Error::invalid(format!("cannot open: {error}")))?;
    let tabs = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
    let delimiter = delimiter(options, tabs)?;
    let counted = Counted { file, bytes: 0, meter };
    read(BufReader::with_capacity(1 << 20, counted), options, delimiter, table_schema)
}

fn delimiter(options: &ReadOptions, tabs: bool) -> Result<u8> {
    match options.delimiter {
        None if tabs => Ok(b'\t'),
        None => Ok(b','),
        Some(delimiter) => u8::try_from(delimiter)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| Error::invalid("the delimiter must be one ASCII character")),
    }
}

/// Counts the bytes of the file that were read.
struct Counted {
    file: File,
    bytes: u64,
    meter: Arc<Meter>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes += read as u64;
        self.meter.set_bytes(self.bytes);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.bytes = self.file.seek(to)?;
        Ok(self.bytes)
    }
}

fn read<R: Read + Seek + Send + 'static>(
    mut reader: R,
    options: &ReadOptions,
    delimiter: u8,
    table_schema: &SchemaRef,
) -> Result<Source> {
    let header = !options.no_header;
    let names = if !options.columns.is_empty() {
        options.columns.clone()
    } else if header {
        let names = header_names(&mut reader, delimiter)?;
        reader.rewind().map_err(|error| Error::invalid(format!("cannot read: {error}")))?;
        names
    } else {
        table_schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let fields: Vec<FieldRef> =
        names.iter().map(|name| table_field(table_schema, name)).collect::<Result<_>>()?;
    let text = |field: &FieldRef| Field::new(field.name(), DataType::Utf8, true);
    let texts = Arc::new(Schema::new(fields.iter().map(text).collect::<Vec<_>>()));
    let rows = ReaderBuilder::new(texts)
        .with_header(header)
        .with_delimiter(delimiter)
        .with_batch_size(BATCH_ROWS)
        .build(reader)
        .map_err(|error| Error::invalid(error.to_string()))?;
    let schema = Arc::new(Schema::new(fields));
    let typed = Arc::clone(&schema);
    let null = options.null.clone();
    let mut first_row = 1;
    let batches = rows.map(move |batch| {
        let batch = batch.map_err(|error| Error::invalid(error.to_string()))?;
        let cast = typed_batch(&batch, &typed, null.as_deref(), first_row);
        first_row += batch.num_rows() as u64;
        cast
    });
    Ok(Source { schema, batches: Box::new(batches) })
}

fn header_names<R: Read>(reader: R, delimiter: u8) -> Result<Vec<String>> {
    let format = Format::default().with_header(true).with_delimiter(delimiter);
    let (schema, _) = format
        .infer_schema(reader, Some(0))
        .map_err(|error| Error::invalid(format!("the header line: {error}")))?;
    let bare = |name: &String| name.trim_start_matches('\u{feff}').trim().to_owned();
    Ok(schema.fields().iter().map(|field| bare(field.name())).collect())
}

fn typed_batch(
    texts: &RecordBatch,
    schema: &SchemaRef,
    null: Option<&str>,
    first_row: u64,
) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(texts.num_columns());
    for (column, field) in texts.columns().iter().zip(schema.fields()) {
        let column = with_nulls(column.as_string(), field, null);
        columns.push(cast::column(&column, field, first_row)?);
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::invalid(format!("from row {first_row}: {error}")))
}

/// Decides what the empty values, which the reader gives as NULL, and the NULL text stand for.
fn with_nulls(texts: &StringArray, field: &Field, null: Option<&str>) -> StringArray {
    let is_text = matches!(field.data_type(), DataType::Utf8View | DataType::Utf8);
    let empty_is_text = is_text && (null.is_some() || !field.is_nullable());
    let value = |text: Option<&'_ str>| match text {
        None if empty_is_text && null != Some("") => Some(String::new()),
        None => None,
        Some(text) if Some(text) == null => None,
        Some(text) => Some(text.to_owned()),
    };
    if null.is_none() && (!empty_is_text || texts.null_count() == 0) {
        return texts.clone();
    }
    texts.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    fn table() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8View, false),
            Field::new("day", DataType::Date32, true),
            Field::new("price", DataType::Decimal128(10, 2), true),
        ]))
    }

    fn options() -> ReadOptions {
        ReadOptions { format: None, delimiter: None, no_header: false, columns: vec![], null: None }
    }

    fn check(text: &str, options: &ReadOptions) -> Result<String> {
        let delimiter = delimiter(options, false)?;
        let source = read(Cursor::new(text.to_owned()), options, delimiter, &table())?;
        let batches = source.batches.collect::<Result<Vec<_>>>()?;
        let table = pretty_format_batches(&batches).expect("printable").to_string();
        let lines = table.lines().filter(|line| line.starts_with('|'));
        let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(lines.map(squeeze).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn values_get_the_types_of_the_table() {
        let bars = ReadOptions { delimiter: Some('|'), no_header: true, ..options() };
        let named = ReadOptions { columns: vec!["id".into(), "name".into()], ..bars.clone() };
        let null = ReadOptions { null: Some("\\N".into()), ..options() };
        for (text, options, expected) in [
            ("NAME,id\n\"a,b\",1\n,2\n", &options(), "| name | id |\n| a,b | 1 |\n| | 2 |"),
            (
                "1|x|2024-02-29|1.5\n2|y||\n",
                &bars,
                "| id | name | day | price |\n| 1 | x | 2024-02-29 | 1.50 |\n| 2 | y | | |",
            ),
            ("1|x\n", &named, "| id | name |\n| 1 | x |"),
            ("id,name,day\n1,\\N2,\\N\n", &null, "| id | name | day |\n| 1 | \\N2 | |"),
        ] {
            assert_eq!(check(text, options).expect("good rows"), expected);
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (text, complaint) in [
            ("id,name\n1,a\nx,b\n", "row 2, column id: \"x\" is not a value of Int64"),
            ("id,day\n1,2024-02-30\n", "row 1, column day: \"2024-02-30\" is not a date"),
            ("id,name\n,a\n", "row 1, column id: the value is missing"),
            ("id,nam\n1,a\n", "no column nam; did you mean name?"),
            ("id,name\n1,a,b\n", "line 2"),
        ] {
            let error = check(text, &options()).expect_err(complaint);
            assert!(error.message().contains(complaint), "{complaint}: {error}");
        }
    }
}
