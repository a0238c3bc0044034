//! Files with one JSON object per line.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use granary_common::{Error, Result};

use super::progress::Meter;
use super::source::{BATCH_ROWS, ReadOptions, Source, table_field};

/// A longer line is no row.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// A chunk of lines ends here even when it has fewer rows than a batch.
const CHUNK_BYTES: usize = 8 << 20;

pub(super) fn open(
    path: &Path,
    options: &ReadOptions,
    table_schema: &SchemaRef,
    meter: Arc<Meter>,
) -> Result<Source> {
    let file = File::open(path).map_err(|error| Error::invalid(format!("cannot open: {error}")))?;
    read(BufReader::with_capacity(1 << 20, file), options, table_schema, meter)
}

fn read<R: BufRead + Send + 'static>(
    reader: R,
    options: &ReadOptions,
    table_schema: &SchemaRef,
    meter: Arc<Meter>,
) -> Result<Source> {
    let mut lines = Lines { reader, next_row: 1, bytes: 0, meter };
    let first = lines.chunk()?;
    let fields: Vec<FieldRef> = match (&first, options.columns.as_slice()) {
        (Some(chunk), []) => columns_of(chunk, table_schema)?,
        (None, []) => table_schema.fields().iter().cloned().collect(),
        (_, names) => {
            names.iter().map(|name| table_field(table_schema, name)).collect::<Result<_>>()?
        }
    };
    // A NULL is refused by the server where it may not be, with its row.
    let nullable = |field: &FieldRef| Field::clone(field).with_nullable(true);
    let schema = Arc::new(Schema::new(fields.iter().map(nullable).collect::<Vec<_>>()));
    let decode_schema = Arc::clone(&schema);
    let rest = std::iter::from_fn(move || lines.chunk().transpose());
    let chunks = first.into_iter().map(Ok).chain(rest);
    let batches = chunks.map(move |chunk| decode(&chunk?, &decode_schema));
    Ok(Source { schema, batches: Box::new(batches) })
}

/// Lines of a file with the row of the first one.
struct Chunk {
    text: Vec<u8>,
    /// Ends of the lines in `text`.
    ends: Vec<usize>,
    first_row: u64,
}

struct Lines<R> {
    reader: R,
    next_row: u64,
    bytes: u64,
    meter: Arc<Meter>,
}

impl<R: BufRead> Lines<R> {
    fn chunk(&mut self) -> Result<Option<Chunk>> {
        let mut chunk = Chunk { text: Vec::new(), ends: Vec::new(), first_row: self.next_row };
        while chunk.ends.len() < BATCH_ROWS && chunk.text.len() < CHUNK_BYTES {
            let start = chunk.text.len();
            let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX + 1);
            let read = limited
                .read_until(b'\n', &mut chunk.text)
                .map_err(|error| self.error(&format!("cannot read: {error}")))?;
            if read == 0 {
                break;
            }
            if read as u64 > LINE_BYTES_MAX {
                return Err(self.error("the line is longer than 64 MiB"));
            }
            self.bytes += read as u64;
            if chunk.text[start..].trim_ascii().is_empty() {
                chunk.text.truncate(start);
                continue;
            }
            chunk.ends.push(chunk.text.len());
            self.next_row += 1;
        }
        self.meter.set_bytes(self.bytes);
        Ok((!chunk.ends.is_empty()).then_some(chunk))
    }

    fn error(&self, what: &str) -> Error {
        Error::invalid(format!("row {}: {what}", self.next_row))
    }
}

impl Chunk {
    fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let lines = starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end]);
        (self.first_row..).zip(lines)
    }
}

/// The table's columns, in its order, that the rows of a chunk name.
fn columns_of(chunk: &Chunk, table_schema: &SchemaRef) -> Result<Vec<FieldRef>> {
    let mut names = BTreeSet::new();
    for (row, line) in chunk.lines() {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line)
            .map_err(|error| Error::invalid(format!("row {row}: not a JSON object: {error}")))?;
        names.extend(object.into_iter().map(|(name, _)| name));
    }
    // The decoder finds values by the name in the row, so that name must stand in the schema.
    let field = |name: &String| {
        table_field(table_schema, name).map(|field| Field::clone(&field).with_name(name))
    };
    names.iter().map(|name| field(name).map(Arc::new)).collect()
}

fn decode(chunk: &Chunk, schema: &SchemaRef) -> Result<RecordBatch> {
    match decode_text(&chunk.text, chunk.ends.len(), schema) {
        Ok(batch) => Ok(batch),
        Err(error) => Err(first_bad_row(chunk, schema).unwrap_or(error)),
    }
}

fn first_bad_row(chunk: &Chunk, schema: &SchemaRef) -> Option<Error> {
    let complain = |(row, line)| {
        decode_text(line, 1, schema).err().map(|error| error.context(format!("row {row}")))
    };
    chunk.lines().find_map(complain)
}

fn decode_text(text: &[u8], rows: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let invalid = |error: arrow::error::ArrowError| {
        let text = error.to_string();
        Error::invalid(text.trim_start_matches("Json error: ").to_owned())
    };
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows.max(1))
        .with_strict_mode(true)
        .build_decoder()
        .map_err(invalid)?;
    let read = decoder.decode(text).map_err(invalid)?;
    let batch = decoder.flush().map_err(invalid)?;
    match batch {
        Some(batch) if batch.num_rows() == rows && text[read..].trim_ascii().is_empty() => {
            Ok(batch)
        }
        _ => Err(Error::invalid("a line must hold one JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::datatypes::DataType;
    use arrow::json::LineDelimitedWriter;

    use super::*;

    fn check(text: &str, columns: &[&str]) -> Result<String> {
        let table: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8View, true),
            Field::new("day", DataType::Date32, true),
        ]));
        let options = ReadOptions {
            format: None,
            delimiter: None,
            no_header: false,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            null: None,
        };
        let reader = Cursor::new(text.to_owned());
        let source = read(reader, &options, &table, Arc::new(Meter::default()))?;
        let mut writer = LineDelimitedWriter::new(Vec::new());
        for batch in source.batches {
            writer.write(&batch?).expect("printable");
        }
        writer.finish().expect("printable");
        Ok(String::from_utf8(writer.into_inner()).expect("text"))
    }

    #[test]
    fn rows_fill_the_columns_that_they_name() {
        let text = "{\"id\":1,\"day\":\"2024-02-29\"}\n\n  {\"id\": 2}\n";
        let expected = "{\"day\":\"2024-02-29\",\"id\":1}\n{\"id\":2}\n";
        assert_eq!(check(text, &[]).expect("good rows"), expected);
        assert_eq!(check("", &[]).expect("no rows"), "");
    }

    #[test]
    fn bad_rows_are_named() {
        for (text, columns, complaint) in [
            ("{\"id\":1}\n{\"id\":\"x\"}\n", &[][..], "row 2: "),
            ("{\"id\":1}\n{\"id\":", &[], "row 2: not a JSON object"),
            ("{\"idd\":1}\n", &[], "no column idd; did you mean id?"),
            ("{\"id\":1,\"name\":\"a\"}\n", &["id"], "row 1: "),
            ("{\"id\":1}\n[1]\n", &["id"], "row 2: "),
        ] {
            let error = check(text, columns).expect_err(complaint);
            assert!(error.message().contains(complaint), "{complaint}: {error}");
        }
    }
}
