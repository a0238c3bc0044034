//! Results as text and files.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::writer::StreamWriter;
use granary_common::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::bytes;
use super::table::TableWriter;
use crate::exit;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people, with the number of rows and the time.
    Table,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per row and line.
    Json,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    fn is_binary(self) -> bool {
        matches!(self, Format::Arrow | Format::Parquet)
    }
}

#[derive(Debug)]
enum Sink {
    Standard(BufWriter<Stdout>),
    File(BufWriter<File>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Sink::Standard(to) => to.write(bytes).map_err(end_without_reader),
            Sink::File(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Sink::Standard(to) => to.flush().map_err(end_without_reader),
            Sink::File(to) => to.flush(),
        }
    }
}

/// Where the results of a run go, one after the other.
#[derive(Debug)]
pub struct Output {
    format: Format,
    sink: Sink,
    results: usize,
}

impl Output {
    /// Writes to the file at `path`, or to the standard output.
    ///
    /// Kind `InvalidInput` when the file cannot be made, or a terminal would get binary data.
    pub fn open(format: Format, path: Option<&Path>) -> Result<Output> {
        let sink = match path {
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    Error::invalid(format!("cannot write {}: {error}", path.display()))
                })?;
                Sink::File(BufWriter::new(file))
            }
            None if format.is_binary() && std::io::stdout().is_terminal() => {
                return Err(Error::invalid(
                    "a terminal cannot show arrow or parquet; name a file with --output",
                ));
            }
            None => Sink::Standard(BufWriter::new(std::io::stdout())),
        };
        Ok(Output { format, sink, results: 0 })
    }

    /// Changes the format of the results that follow.
    pub(super) fn set_format(&mut self, format: Format) -> Result<()> {
        if format.is_binary() && matches!(self.sink, Sink::Standard(_)) {
            return Err(Error::invalid("the terminal shows table, csv and json"));
        }
        self.format = format;
        Ok(())
    }

    /// Begins the result of a statement with the columns of `schema`; with none, it is a
    /// statement without a result.
    pub(super) fn begin(&mut self, schema: SchemaRef) -> Result<ResultWriter<'_>> {
        if !schema.fields().is_empty() {
            self.results += 1;
            if self.format.is_binary() && self.results > 1 {
                return Err(Error::invalid("arrow and parquet hold the result of one statement"));
            }
        }
        let state = State::Waiting(&mut self.sink);
        Ok(ResultWriter { schema, format: self.format, rows: 0, state })
    }

    /// Writes out what is buffered.
    pub fn close(mut self) -> Result<()> {
        self.sink.flush().map_err(write_error)
    }
}

enum State<'a> {
    Waiting(&'a mut Sink),
    Writing(Box<Writer<'a>>),
    Failed,
}

/// Writes the result of one statement.
pub(super) struct ResultWriter<'a> {
    schema: SchemaRef,
    format: Format,
    rows: u64,
    state: State<'a>,
}

impl ResultWriter<'_> {
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if let State::Waiting(_) = self.state {
            self.start(batch.schema())?;
        }
        match &mut self.state {
            State::Writing(writer) => writer.write(batch),
            State::Waiting(_) | State::Failed => Err(Error::internal("the output has failed")),
        }
    }

    fn start(&mut self, schema: SchemaRef) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Waiting(sink) => {
                self.state = State::Writing(Box::new(Writer::open(self.format, sink, schema)?));
            }
            other => self.state = other,
        }
        Ok(())
    }

    /// Ends the result of a statement that took `elapsed_ms`.
    pub(super) fn finish(mut self, elapsed_ms: u64) -> Result<()> {
        if let State::Waiting(sink) = self.state {
            if self.schema.fields().is_empty() {
                if self.format == Format::Table {
                    writeln!(sink, "OK ({})", seconds(elapsed_ms)).map_err(write_error)?;
                }
                return sink.flush().map_err(write_error);
            }
            let schema = Arc::clone(&self.schema);
            self.state = State::Waiting(sink);
            self.write(&RecordBatch::new_empty(schema))?;
        }
        match self.state {
            State::Writing(writer) => writer.finish(self.rows, elapsed_ms),
            State::Waiting(_) | State::Failed => Ok(()),
        }
    }
}

enum Writer<'a> {
    Table(TableWriter<&'a mut Sink>),
    Csv(arrow::csv::Writer<&'a mut Sink>),
    Json(LineDelimitedWriter<&'a mut Sink>),
    Arrow(StreamWriter<&'a mut Sink>),
    Parquet(ArrowWriter<&'a mut Sink>),
}

impl<'a> Writer<'a> {
    fn open(format: Format, sink: &'a mut Sink, schema: SchemaRef) -> Result<Self> {
        Ok(match format {
            Format::Table => Writer::Table(TableWriter::new(sink, schema)),
            Format::Csv => Writer::Csv(arrow::csv::WriterBuilder::new().build(sink)),
            Format::Json => {
                let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
                Writer::Json(builder.build(sink))
            }
            Format::Arrow => {
                Writer::Arrow(StreamWriter::try_new(sink, &schema).map_err(format_error)?)
            }
            Format::Parquet => {
                let compression = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(compression).build();
                let writer = ArrowWriter::try_new(sink, schema, Some(properties));
                Writer::Parquet(writer.map_err(|error| format_error(error.into()))?)
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Writer::Table(writer) => {
                let shown = bytes::as_text(batch).map_err(format_error)?;
                writer.write(&shown).map_err(write_error)
            }
            Writer::Csv(writer) => {
                let shown = bytes::as_text(&nested_as_text(batch)?).map_err(format_error)?;
                writer.write(&shown).map_err(format_error)
            }
            Writer::Json(writer) => {
                writer.write(&bytes::as_text(batch).map_err(format_error)?).map_err(format_error)
            }
            Writer::Arrow(writer) => writer.write(batch).map_err(format_error),
            Writer::Parquet(writer) => {
                writer.write(batch).map_err(|error| format_error(error.into()))
            }
        }
    }

    fn finish(self, rows: u64, elapsed_ms: u64) -> Result<()> {
        let sink = match self {
            Writer::Table(writer) => {
                let sink = writer.finish().map_err(write_error)?;
                let noun = if rows == 1 { "row" } else { "rows" };
                writeln!(sink, "{rows} {noun} in {}", seconds(elapsed_ms)).map_err(write_error)?;
                sink
            }
            Writer::Csv(writer) => writer.into_inner(),
            Writer::Json(mut writer) => {
                writer.finish().map_err(format_error)?;
                writer.into_inner()
            }
            Writer::Arrow(writer) => writer.into_inner().map_err(format_error)?,
            Writer::Parquet(writer) => {
                writer.into_inner().map_err(|error| format_error(error.into()))?
            }
        };
        sink.flush().map_err(write_error)
    }
}

/// CSV has no spelling of its own for lists, maps and tuples: they are written as the tables
/// show them.
fn nested_as_text(batch: &RecordBatch) -> Result<RecordBatch> {
    if !batch.columns().iter().any(|column| column.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut columns = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        columns.push(match column.data_type().is_nested() {
            true => Arc::new(texts(column)?) as ArrayRef,
            false => Arc::clone(column),
        });
    }
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name());
    RecordBatch::try_from_iter_with_nullable(
        names.zip(columns).map(|(name, column)| (name, column, true)),
    )
    .map_err(format_error)
}

fn texts(column: &ArrayRef) -> Result<StringArray> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(format_error)?;
    let text = |row| column.is_valid(row).then(|| formatter.value(row).to_string());
    Ok((0..column.len()).map(text).collect())
}

fn seconds(elapsed_ms: u64) -> String {
    format!("{}.{:03} s", elapsed_ms / 1000, elapsed_ms % 1000)
}

/// Here and not where errors end up: the writers of formats make texts of them on the way.
fn end_without_reader(error: std::io::Error) -> std::io::Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        // Whoever read has seen enough, as in `granary sql -c ... | head`.
        std::process::exit(i32::from(exit::BROKEN_PIPE));
    }
    error
}

fn write_error(error: std::io::Error) -> Error {
    Error::exhausted(format!("cannot write the result: {error}"))
}

fn format_error(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => write_error(error),
        other => Error::unsupported(format!("cannot write the result: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    fn written(format: Format, batches: &[RecordBatch]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("result");
        let mut output = Output::open(format, Some(&path)).expect("a file");
        let mut result = output.begin(batches[0].schema()).expect("begun");
        batches.iter().for_each(|batch| result.write(batch).expect("written"));
        result.finish(1_234).expect("finished");
        output.close().expect("closed");
        String::from_utf8(std::fs::read(&path).expect("there")).expect("text")
    }

    fn numbers(values: &[Option<i64>]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("n", column, true)]).expect("a batch")
    }

    #[test]
    fn formats() {
        let (some, none) = (numbers(&[Some(1), None]), numbers(&[]));
        for (format, batch, expected) in [
            // An empty line would be no row at all.
            (Format::Csv, &some, "n\n1\n\"\"\n"),
            (Format::Csv, &none, "n\n"),
            (Format::Json, &some, "{\"n\":1}\n{\"n\":null}\n"),
            (Format::Json, &none, ""),
        ] {
            assert_eq!(written(format, std::slice::from_ref(batch)), expected, "{format:?}");
        }
        assert!(written(Format::Table, &[some]).ends_with("2 rows in 1.234 s\n"));
    }
}
