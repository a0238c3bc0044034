//! Parquet files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use granary_common::{Error, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::progress::Meter;
use super::source::{BATCH_ROWS, Source};

pub(super) fn open(path: &Path, meter: Arc<Meter>) -> Result<Source> {
    let file = File::open(path).map_err(|error| Error::invalid(format!("cannot open: {error}")))?;
    let bytes = file.metadata().map(|data| data.len()).unwrap_or(0);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| Error::invalid(format!("not a Parquet file: {error}")))?;
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
