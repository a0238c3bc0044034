//! Rows to the bytes of a file, with encodings that cost little to make.

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use granary_common::Result;
use vortex::arrow::ArrowSessionExt;
use vortex::compressor::BtrBlocksCompressorBuilder;
use vortex::file::{WriteOptionsSessionExt, WriteStrategyBuilder};
use vortex_btrblocks::{CompressionSessionExt, SchemeExt};

use super::{SESSION, stored_name, write_error};
use crate::schema::{PartColumn, PartSchema};

/// What an insert tries on each block of a column: widths, references, dictionaries and symbol
/// tables, each chosen from statistics or a small sample. Deltas, run lengths and the rest of the
/// cascade belong to merges. Measured on TPC-H's `lineitem` at scale 1 (CPU time to write, size):
/// without symbol tables 2.7 s and 368 MB, with them 3.9 s and 181 MB, the whole cascade 4.7 s and
/// 178 MB.
const LIGHT_SCHEMES: [&str; 10] = [
    "vortex.int.for",
    "vortex.int.bitpacking",
    "vortex.int.sequence",
    "vortex.int.dict",
    "vortex.float.alp",
    "vortex.float.dict",
    "vortex.string.dict",
    "vortex.string.fsst",
    "vortex.decimal.byte_parts",
    "vortex.ext.temporal",
];

/// Encodes `rows`, whose columns are in the order of `schema.columns`, as one file. Columns and
/// blocks of rows are encoded on all threads of the current tokio runtime.
pub async fn encode(schema: &PartSchema, rows: RecordBatch) -> Result<Bytes> {
    let stored = stored_schema(schema);
    let array = SESSION.arrow().from_arrow_record_batch(rows, &stored).map_err(write_error)?;
    let strategy = WriteStrategyBuilder::from_session(&SESSION)
        .with_row_block_size(schema.granularity)
        .with_btrblocks_builder(light_encodings())
        .build();
    let mut bytes = Vec::new();
    SESSION
        .write_options()
        .with_strategy(strategy)
        .with_file_statistics(Vec::new())
        .write(&mut bytes, array.to_array_stream())
        .await
        .map_err(write_error)?;
    Ok(Bytes::from(bytes))
}

/// The logical types under the stored names.
fn stored_schema(schema: &PartSchema) -> Schema {
    let field = |column: &PartColumn| column.column_type.arrow_field(&stored_name(column.id));
    Schema::new(schema.columns.iter().map(field).collect::<Vec<_>>())
}

fn light_encodings() -> BtrBlocksCompressorBuilder {
    let heavy: Vec<_> = SESSION
        .compression()
        .schemes()
        .iter()
        .filter(|scheme| !LIGHT_SCHEMES.contains(&scheme.scheme_name()))
        .map(|scheme| scheme.id())
        .collect();
    BtrBlocksCompressorBuilder::from_session(&SESSION).exclude_schemes(heavy)
}
