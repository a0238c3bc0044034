//! A JSON object for each row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::json::ReaderBuilder;
use arrow::json::reader::{Decoder, infer_json_schema};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use granary_common::{Error, Result};

use crate::columns::fitted;
use crate::file::{Chunks, FileReader, beginning};
use crate::scan::{Batches, SAMPLE_BYTES, Wanted};

/// A longer row is none.
const ROW_BYTES_MAX: usize = 64 << 20;
/// Rows from which columns are told.
const SAMPLE_ROWS: usize = 10_000;
/// A column that no row has, for queries that only count.
const NO_COLUMN: &str = "\u{0}";

/// The columns that the beginning of a file tells; `None` for an empty file.
pub(crate) async fn schema(bytes: Chunks, reader: &FileReader) -> Result<Option<Schema>> {
    let (mut sample, whole) = beginning(bytes, SAMPLE_BYTES).await?;
    if !whole {
        // The last line is torn.
        let end = sample.iter().rposition(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| reader.wrong("its first row is longer than 1 MiB"))?;
        sample.truncate(end + 1);
    }
    let text = sample.trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    told(text).map(Some).map_err(|error| error.context(reader.shown()))
}

fn told(sample: &[u8]) -> Result<Schema> {
    if sample.starts_with(b"[") {
        return Err(Error::unsupported(
            "it is one JSON array; JSONEachRow has an object for each row",
        ));
    }
    let told = infer_json_schema(sample, Some(SAMPLE_ROWS));
    let (told, _) = told.map_err(|error| Error::invalid(plain(&error)))?;
    // The inference forgets the order in which names come up.
    let text = String::from_utf8_lossy(sample);
    let mut fields: Vec<FieldRef> = told.fields().iter().cloned().collect();
    fields.sort_by_cached_key(|field| {
        let name = format!("\"{}\"", field.name());
        (text.find(&name).unwrap_or(usize::MAX), field.name().clone())
    });
    Ok(Schema::new(fields))
}

/// The rows of a file.
pub(crate) fn read(bytes: Chunks, reader: FileReader, wanted: Arc<Wanted>) -> Result<Batches> {
    let mut fields: Vec<Field> = wanted.schema.fields().iter().map(decoded).collect();
    if fields.is_empty() {
        fields.push(Field::new(NO_COLUMN, DataType::Boolean, true));
    }
    let decoder = ReaderBuilder::new(Arc::new(Schema::new(fields)))
        .with_batch_size(wanted.batch_rows)
        .with_coerce_primitive(true)
        .build_decoder()
        .map_err(|error| reader.wrong(plain(&error)))?;
    let rows = Rows {
        decoder,
        bytes,
        pending: Bytes::new(),
        ended: false,
        row_bytes: 0,
        reader,
        wanted,
        next_row: 1,
    };
    // Nothing follows an error.
    let batches = futures::stream::unfold(Some(rows), |rows| async move {
        let mut rows = rows?;
        let batch = rows.next().await.transpose()?;
        let next = batch.is_ok().then_some(rows);
        Some((batch, next))
    });
    Ok(batches.boxed())
}

/// What the decoder makes of a column, before it is cast: a value may be missing.
fn decoded(field: &FieldRef) -> Field {
    let data_type = match field.data_type() {
        DataType::Dictionary(..) => DataType::Utf8View,
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

struct Rows {
    decoder: Decoder,
    bytes: Chunks,
    pending: Bytes,
    ended: bool,
    /// Bytes of the row that has not ended.
    row_bytes: usize,
    reader: FileReader,
    wanted: Arc<Wanted>,
    next_row: u64,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            while self.pending.is_empty() && !self.ended {
                match self.bytes.next().await {
                    Some(chunk) => self.pending = chunk?,
                    None => self.ended = true,
                }
            }
            let before = self.decoder.len();
            let taken = self.decoder.decode(&self.pending);
            let taken = taken.map_err(|error| {
                let row = self.next_row + self.decoder.len().max(1) as u64 - 1;
                self.reader.wrong(format!("near row {row}: {}", plain(&error)))
            })?;
            self.pending.advance(taken);
            self.row_bytes += taken;
            if self.decoder.len() > before {
                self.row_bytes = 0;
            }
            if self.row_bytes > ROW_BYTES_MAX && self.decoder.has_partial_record() {
                return Err(self.reader.wrong("a row is longer than 64 MiB"));
            }
            // A batch is full, or the file has ended.
            if !self.pending.is_empty() || self.ended {
                return self.batch();
            }
        }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let last = self.next_row + self.decoder.len().max(1) as u64 - 1;
        let batch = self.decoder.flush().map_err(|error| {
            let rows = format!("rows {} to {last}", self.next_row);
            self.reader.wrong(format!("{rows}: {}", plain(&error)))
        })?;
        let Some(batch) = batch else { return Ok(None) };
        let columns: &[ArrayRef] = match self.wanted.schema.fields().is_empty() {
            true => &[],
            false => batch.columns(),
        };
        let rows = batch.num_rows();
        let fitted = fitted(columns, &self.wanted.schema, rows, Some(self.next_row));
        self.next_row += rows as u64;
        fitted.map(Some).map_err(|error| error.context(self.reader.shown()))
    }
}

fn plain(error: &arrow::error::ArrowError) -> String {
    error.to_string().trim_start_matches("Json error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_tells_names_and_types() {
        for (text, expected) in [
            ("{\"b\":1,\"a\":\"x\"}\n{\"c\":[1.5]}", "b Int64, a Utf8, c List(Float64)"),
            ("{\"b\":null}", "b Null"),
        ] {
            let schema = told(text.as_bytes()).unwrap();
            let columns = schema.fields().iter();
            let shown: Vec<String> =
                columns.map(|field| format!("{} {}", field.name(), field.data_type())).collect();
            assert_eq!(shown.join(", "), expected);
        }
        assert!(told(b"[{\"a\":1}]").unwrap_err().message().contains("one JSON array"));
        assert!(told(b"{\"a\":").is_err());
    }
}
