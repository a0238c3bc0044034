//! A file as a stream of batches.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use granary_common::{Error, Result};

use super::progress::Meter;
use super::{csv, ndjson, parquet_file};
use crate::client::Batches;

/// Rows of a batch that is read at once.
pub(super) const BATCH_ROWS: usize = 8192;

/// What a file contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Values separated by a delimiter.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// How files are read.
#[derive(Clone, Debug, clap::Args)]
pub struct ReadOptions {
    /// What the files contain. Not given: as their names end, .parquet, .csv, .tsv, .ndjson,
    /// .jsonl or .json.
    #[arg(long = "input-format", value_enum, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
    /// CSV: character between values. Default: comma, or tab in .tsv files.
    #[arg(long, value_name = "CHARACTER")]
    pub delimiter: Option<char>,
    /// CSV: the first line holds values, not names.
    #[arg(long)]
    pub no_header: bool,
    /// CSV, NDJSON: names of the columns to fill, separated by commas. For CSV they name the
    /// values of a line in order. Not given: the header's names, or all of the table's columns;
    /// for NDJSON, the names in the first rows.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Vec<String>,
    /// CSV: text that stands for NULL. An empty value stands for NULL where the column may be
    /// NULL and this is not given.
    #[arg(long, value_name = "TEXT")]
    pub null: Option<String>,
}

/// An open file.
pub struct Source {
    /// The columns that it fills.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Batches,
}

impl Source {
    /// Opens the file at `path`, to fill columns of a table with `table_schema`. `meter` counts
    /// the bytes of the file that were read.
    ///
    /// Kind `InvalidInput` when it cannot be read or has columns that the table has not.
    pub fn open(
        path: &Path,
        options: &ReadOptions,
        table_schema: &SchemaRef,
        meter: Arc<Meter>,
    ) -> Result<Source> {
        match format_of(path, options)? {
            FileFormat::Parquet => parquet_file::open(path, meter),
            FileFormat::Csv => csv::open(path, options, table_schema, meter),
            FileFormat::Ndjson => ndjson::open(path, options, table_schema, meter),
        }
    }
}

fn format_of(path: &Path, options: &ReadOptions) -> Result<FileFormat> {
    if let Some(format) = options.format {
        return Ok(format);
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match ending.as_str() {
        "parquet" | "pq" => Ok(FileFormat::Parquet),
        "csv" | "tsv" => Ok(FileFormat::Csv),
        "ndjson" | "jsonl" | "json" => Ok(FileFormat::Ndjson),
        _ => Err(Error::invalid(
            "the name does not tell what the file contains; say it with --input-format",
        )),
    }
}

/// The table's column that `name` means: matched exactly, else without regard to case.
pub(super) fn table_field(
    table_schema: &SchemaRef,
    name: &str,
) -> Result<arrow::datatypes::FieldRef> {
    let fields = table_schema.fields();
    let exact = fields.iter().find(|field| field.name() == name);
    let folded = || fields.iter().find(|field| field.name().eq_ignore_ascii_case(name));
    exact.or_else(folded).cloned().ok_or_else(|| {
        let names = fields.iter().map(|field| field.name().as_str());
        let hint = crate::config::nearest(name, names);
        let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
        Error::invalid(format!("the table has no column {name}{hint}"))
    })
}
