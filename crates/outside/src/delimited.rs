//! Values between commas or tabs. Every value is read as text first and then cast to its column's
//! type, so that a value that does not fit can be named by its row and column.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::{Decoder, Format as CsvFormat};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use granary_common::Result;
use regex::Regex;

use crate::columns::{fitted, is_text, position};
use crate::file::{Chunks, FileReader, beginning};
use crate::format::Header;
use crate::scan::{Batches, SAMPLE_BYTES, Wanted};

/// A longer first line is none.
const FIRST_LINE_BYTES_MAX: usize = 1 << 20;
/// Rows from which columns are told.
const SAMPLE_ROWS: usize = 10_000;
/// What stands for NULL beside nothing at all.
const NULL_TEXT: &str = "\\N";
/// The mark that some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the files are written, and their columns.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) tabs: bool,
    pub(crate) header: Header,
    /// All columns of the scan, as files without names have them.
    pub(crate) of_all: SchemaRef,
}

fn csv_format(tabs: bool) -> CsvFormat {
    // Values that are NULL say nothing about types.
    static NULL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(\\N)?$").ok());
    let format = match tabs {
        true => CsvFormat::default().with_delimiter(b'\t').with_quote(0),
        false => CsvFormat::default(),
    };
    match &*NULL {
        Some(null) => format.with_null_regex(null.clone()).with_truncated_rows(true),
        None => format.with_truncated_rows(true),
    }
}

/// The columns that the beginning of a file tells; `None` for an empty file.
pub(crate) async fn schema(
    bytes: Chunks,
    reader: &FileReader,
    tabs: bool,
    header: Header,
) -> Result<Option<Schema>> {
    let (mut sample, whole) = beginning(bytes, SAMPLE_BYTES).await?;
    if !whole {
        // The last line is torn.
        let end = sample.iter().rposition(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| reader.wrong("its first line is longer than 1 MiB"))?;
        sample.truncate(end + 1);
    }
    let told = told(&sample, tabs, header);
    told.map_err(|error| reader.wrong(plain(&error)))
}

fn told(
    sample: &[u8],
    tabs: bool,
    header: Header,
) -> Result<Option<Schema>, arrow::error::ArrowError> {
    let sample = sample.strip_prefix(BYTE_ORDER_MARK).unwrap_or(sample);
    if sample.trim_ascii().is_empty() {
        return Ok(None);
    }
    let tell = |has_names: bool, rows: usize| {
        let told = csv_format(tabs).with_header(has_names).infer_schema(sample, Some(rows));
        told.map(|(schema, _)| schema)
    };
    let named = tell(true, SAMPLE_ROWS)?;
    let has_names = match header {
        Header::Always => true,
        Header::IfItNamesColumns => {
            let is_name = |field: &FieldRef| field.data_type() == &DataType::Utf8;
            let first = tell(false, 1)?;
            let other =
                |field: &FieldRef| !matches!(field.data_type(), DataType::Utf8 | DataType::Null);
            first.fields().iter().all(is_name) && named.fields().iter().any(other)
        }
    };
    let told = if has_names { named } else { tell(false, SAMPLE_ROWS)? };
    let column = |(at, field): (usize, &FieldRef)| {
        let name = match has_names {
            true => field.name().trim().to_owned(),
            false => format!("c{}", at + 1),
        };
        let data_type = match field.data_type() {
            // Later rows may have fractions of seconds.
            DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            other => other.clone(),
        };
        Field::new(name, data_type, true)
    };
    Ok(Some(Schema::new(told.fields().iter().enumerate().map(column).collect::<Vec<_>>())))
}

/// The rows of a file.
pub(crate) async fn read(
    mut bytes: Chunks,
    reader: FileReader,
    shape: Shape,
    wanted: Arc<Wanted>,
) -> Result<Batches> {
    let first = first_line(&mut bytes, &reader).await?;
    if first.trim_ascii().is_empty() {
        return Ok(futures::stream::empty().boxed());
    }
    let values = csv_format(shape.tabs).with_header(true).infer_schema(&first[..], Some(0));
    let (values, _) = values.map_err(|error| reader.wrong(plain(&error)))?;
    let values: Vec<&str> = values.fields().iter().map(|field| field.name().trim()).collect();
    let (has_names, positions) = positions(&values, &shape, &wanted.schema)
        .map_err(|error| error.context(reader.shown()))?;
    let rows = Rows {
        decoder: decoder(values.len(), has_names, &positions, shape.tabs, wanted.batch_rows),
        bytes,
        pending: first,
        ended: false,
        reader,
        tabs: shape.tabs,
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

/// Whether the first line has names, and where each wanted column is.
fn positions(values: &[&str], shape: &Shape, wanted: &SchemaRef) -> Result<(bool, Vec<usize>)> {
    let own: Vec<&str> = shape.of_all.fields().iter().map(|field| field.name().as_str()).collect();
    let has_names = match shape.header {
        Header::Always => true,
        Header::IfItNamesColumns => {
            let is_own = |value: &&str| own.iter().any(|name| name.eq_ignore_ascii_case(value));
            values.iter().all(is_own)
        }
    };
    if !has_names && values.len() != own.len() {
        return Err(granary_common::Error::invalid(format!(
            "its first line has {} values, {} columns are read",
            values.len(),
            own.len()
        )));
    }
    let names = if has_names { values } else { &own };
    let place = |field: &FieldRef| position(names.iter().copied(), field.name());
    let mut positions = wanted.fields().iter().map(place).collect::<Result<Vec<_>>>()?;
    if positions.is_empty() {
        // Rows are counted by any of their values.
        positions.push(0);
    }
    Ok((has_names, positions))
}

fn decoder(
    width: usize,
    has_names: bool,
    positions: &[usize],
    tabs: bool,
    batch_rows: usize,
) -> Decoder {
    let text = |at: usize| Field::new(at.to_string(), DataType::Utf8, true);
    let texts = Arc::new(Schema::new((0..width).map(text).collect::<Vec<_>>()));
    let builder = ReaderBuilder::new(texts)
        .with_header(has_names)
        .with_projection(positions.to_vec())
        .with_batch_size(batch_rows);
    let builder = match tabs {
        true => builder.with_delimiter(b'\t').with_quote(0),
        false => builder,
    };
    builder.build_decoder()
}

/// Bytes from the beginning on that have the first line, without a byte order mark.
async fn first_line(bytes: &mut Chunks, reader: &FileReader) -> Result<Bytes> {
    let mut first: Vec<u8> = Vec::new();
    while !has_line(&first) {
        if first.len() > FIRST_LINE_BYTES_MAX {
            return Err(reader.wrong("its first line is longer than 1 MiB"));
        }
        match bytes.next().await {
            Some(chunk) => first.extend_from_slice(&chunk?),
            None => break,
        }
    }
    let mut first = Bytes::from(first);
    if first.starts_with(BYTE_ORDER_MARK) {
        first.advance(BYTE_ORDER_MARK.len());
    }
    Ok(first)
}

/// Whether a line ends within `text`; within quotes none does.
fn has_line(text: &[u8]) -> bool {
    let mut quoted = false;
    text.iter().any(|byte| {
        quoted ^= *byte == b'"';
        *byte == b'\n' && !quoted
    })
}

struct Rows {
    decoder: Decoder,
    bytes: Chunks,
    pending: Bytes,
    ended: bool,
    reader: FileReader,
    tabs: bool,
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
            let taken = self.decoder.decode(&self.pending);
            let taken = taken.map_err(|error| self.reader.wrong(plain(&error)))?;
            self.pending.advance(taken);
            // A batch is full, or the file has ended.
            if taken == 0 {
                let texts = self.decoder.flush();
                let texts = texts.map_err(|error| self.reader.wrong(plain(&error)))?;
                return texts.map(|texts| self.typed(&texts)).transpose();
            }
        }
    }

    fn typed(&mut self, texts: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.wanted.schema.fields().iter();
        let columns: Vec<ArrayRef> = texts
            .columns()
            .iter()
            .zip(fields)
            .map(|(texts, field)| values(texts.as_string(), field, self.tabs))
            .collect();
        let rows = texts.num_rows();
        let batch = fitted(&columns, &self.wanted.schema, rows, Some(self.next_row));
        self.next_row += rows as u64;
        batch.map_err(|error| error.context(self.reader.shown()))
    }
}

/// The texts with what stands for NULL, and what is escaped, as what it means.
fn values(texts: &StringArray, field: &Field, tabs: bool) -> ArrayRef {
    // The reader gives nothing as NULL.
    let keeps_empty = !field.is_nullable() && is_text(field.data_type());
    let has_escapes = texts.value_data().contains(&b'\\');
    let is_filled = keeps_empty && texts.null_count() > 0;
    if !(has_escapes || is_filled) {
        return Arc::new(texts.clone());
    }
    let value = |text: Option<&str>| match text {
        None => keeps_empty.then(String::new),
        Some(NULL_TEXT) => None,
        Some(text) if tabs && text.contains('\\') => Some(unescaped(text)),
        Some(text) => Some(text.to_owned()),
    };
    Arc::new(texts.iter().map(value).collect::<StringArray>())
}

/// Values between tabs write tabs, ends of lines and backslashes with a backslash before a letter.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('0') => plain.push('\0'),
            Some('b') => plain.push('\u{8}'),
            Some('f') => plain.push('\u{c}'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

fn plain(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string();
    let text = text.trim_start_matches("Csv error: ").trim_start_matches("Parser error: ");
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_told(text: &str, tabs: bool, header: Header, expected: &str) {
        let told = told(text.as_bytes(), tabs, header).unwrap();
        let shown = told.map_or_else(String::new, |schema| {
            let columns = schema.fields().iter();
            let shown = columns.map(|field| format!("{} {}", field.name(), field.data_type()));
            shown.collect::<Vec<_>>().join(", ")
        });
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn the_beginning_tells_names_and_types() {
        use Header::{Always, IfItNamesColumns};
        for (text, tabs, header, expected) in [
            ("a,b\n1,x\n", false, IfItNamesColumns, "a Int64, b Utf8"),
            ("1,x\n2,y\n", false, IfItNamesColumns, "c1 Int64, c2 Utf8"),
            ("a,b\nx,y\n", false, IfItNamesColumns, "c1 Utf8, c2 Utf8"),
            ("a,b\nx,y\n", false, Always, "a Utf8, b Utf8"),
            ("a,b\n", false, Always, "a Null, b Null"),
            ("\u{feff}a,b\n1,\\N\n,2\n", false, Always, "a Int64, b Int64"),
            ("a\tb\n1.5\t\"x\n", true, IfItNamesColumns, "a Float64, b Utf8"),
            ("d,t\n2024-01-02,2024-01-02 03:04:05\n", false, Always, "d Date32, t Timestamp(µs)"),
            ("", false, Always, ""),
        ] {
            check_told(text, tabs, header, expected);
        }
    }

    #[test]
    fn escapes_and_missing_values_are_what_they_mean() {
        let texts = StringArray::from(vec![Some("a\\tb"), None, Some("\\N"), Some("c")]);
        for (nullable, tabs, expected) in [
            (true, true, [Some("a\tb"), None, None, Some("c")]),
            (true, false, [Some("a\\tb"), None, None, Some("c")]),
            (false, false, [Some("a\\tb"), Some(""), None, Some("c")]),
        ] {
            let field = Field::new("a", DataType::Utf8View, nullable);
            let got = values(&texts, &field, tabs);
            assert_eq!(got.as_string::<i32>(), &StringArray::from(expected.to_vec()));
        }
        assert!(!has_line(b"\"a\nb"));
        assert!(has_line(b"\"a\nb\"\n"));
    }
}
