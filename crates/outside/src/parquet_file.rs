//! Parquet files: only the columns that are wanted, of the row groups that may match.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use granary_common::{Error, Result};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use crate::columns::position;
use crate::file::FileReader;
use crate::prune::may_match;
use crate::scan::{Batches, Wanted};

/// Bytes of the end of a file that are read at once: most footers are shorter.
const FOOTER_BYTES_GUESS: usize = 64 << 10;

/// A file as the library asks for it.
struct Ranges {
    reader: FileReader,
    length: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.reader.range(range).map(|read| read.map_err(external)).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.reader.ranges(&ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let length = self.length;
            let metadata = ParquetMetaDataReader::new()
                .with_prefetch_hint(Some(FOOTER_BYTES_GUESS))
                .load_and_finish(self, length)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// What the library says, or what our reader said to it.
fn failed(reader: &FileReader, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => reader.wrong(format!("it cannot be read: {other}")),
        },
        other => {
            let text = other.to_string();
            let text = text.trim_start_matches("Parquet error: ");
            reader.wrong(format!("it is no Parquet file, or damaged: {text}"))
        }
    }
}

async fn open(reader: &FileReader) -> Result<ParquetRecordBatchStreamBuilder<Ranges>> {
    let ranges = Ranges { reader: reader.clone(), length: reader.length()? };
    // Types are those of the file: what a writer noted of Arrow's may be any encoding of them.
    let options = ArrowReaderOptions::new();
    let opened = ParquetRecordBatchStreamBuilder::new_with_options(ranges, options).await;
    opened.map_err(|error| failed(reader, error))
}

/// The columns of a file.
pub(crate) async fn schema(reader: &FileReader) -> Result<Schema> {
    Ok((**open(reader).await?.schema()).clone())
}

/// The rows of the row groups that begin in `range`.
pub(crate) async fn read(
    reader: FileReader,
    range: Option<(u64, u64)>,
    wanted: Arc<Wanted>,
) -> Result<Batches> {
    let builder = open(&reader).await?;
    let groups = chosen_groups(&builder, range, &wanted);
    let schema = Arc::clone(builder.schema());
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let place = |name: &String| {
        position(names.clone(), name).map_err(|error| error.context(reader.shown()))
    };
    let fields = wanted.schema.fields().iter();
    let roots = fields.map(|field| place(field.name())).collect::<Result<Vec<_>>>()?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let batches = builder
        .with_row_groups(groups)
        .with_projection(mask)
        .with_batch_size(wanted.batch_rows)
        .build()
        .map_err(|error| failed(&reader, error))?;
    let rows = batches.map(move |batch| {
        let batch = batch.map_err(|error| failed(&reader, error))?;
        wanted.of_batch(&batch).map_err(|error| error.context(reader.shown()))
    });
    Ok(rows.boxed())
}

fn chosen_groups(
    builder: &ParquetRecordBatchStreamBuilder<Ranges>,
    range: Option<(u64, u64)>,
    wanted: &Wanted,
) -> Vec<usize> {
    let begins_in = |group: &RowGroupMetaData| match range {
        None => true,
        Some((from, to)) => {
            let begin = group.columns().first().map_or(0, |column| {
                column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset())
            });
            (from..to).contains(&(begin.max(0) as u64))
        }
    };
    let all = builder.metadata().row_groups();
    let own: Vec<usize> = (0..all.len()).filter(|at| begins_in(&all[*at])).collect();
    let Some(filter) = &wanted.filter else { return own };
    let groups: Vec<&RowGroupMetaData> = own.iter().map(|at| &all[*at]).collect();
    let (of_file, parquet_schema) = (builder.schema(), builder.parquet_schema());
    let may = may_match(filter, &wanted.filter_schema, of_file, parquet_schema, &groups);
    own.into_iter().zip(may).filter(|(_, may)| *may).map(|(at, _)| at).collect()
}
