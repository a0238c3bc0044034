//! Rows to the bytes of a file.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use granary_common::{Error, Result};
use vortex::array::ArrayRef;
use vortex::array::stream::ArrayStreamAdapter;
use vortex::arrow::ArrowSessionExt;
use vortex::compressor::BtrBlocksCompressorBuilder;
use vortex::dtype::{DType, FieldPath};
use vortex::error::VortexResult;
use vortex::file::WriteOptionsSessionExt;
use vortex::io::{IoBuf, VortexWrite};
use vortex_btrblocks::schemes::string::{FSSTScheme, StringDictScheme};
use vortex_btrblocks::{CompressionSessionExt, Scheme, SchemeExt};

use super::groups::{ArrayGroup, Grouped};
use super::layout::{self, Encodings};
use super::texts::{QUICK_TEXTS, QUICK_TEXTS_TRIAL};
use super::{SESSION, codecs, intervals, stored_name, write_error};
use crate::schema::{PartColumn, PartSchema};

/// What an insert tries on each block of a column: widths, references, dictionaries and symbol
/// tables, each chosen from statistics or a small sample. Deltas, run lengths and the rest of the
/// cascade belong to merges. Measured on TPC-H's `lineitem` at scale 1 (CPU time to write, size):
/// without symbol tables 2.7 s and 368 MB, with them 3.9 s and 181 MB, the whole cascade 4.7 s and
/// 178 MB.
pub(super) const LIGHT_SCHEMES: [&str; 10] = [
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

/// How many times larger than their file rows in memory are, at least and mostly.
const ENCODED_SHARE: usize = 4;

/// How much work encoding may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What an insert waits for.
    Light,
    /// The whole cascade, for rows that stay, and general compression of texts that it saves much of.
    Full,
    /// The cascade and general compression after it, for rows that are read seldom.
    Dense,
}

/// Takes the bytes of a file in order.
pub trait ByteSink: Send {
    /// Appends `bytes`; waits while the sink is full.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<()>> + Send;
}

impl ByteSink for Vec<u8> {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Encodes `rows`, whose columns are in the order of `schema.columns`, as one file. Columns and
/// blocks of rows are encoded on all threads of the current tokio runtime.
pub async fn encode(schema: &PartSchema, rows: RecordBatch) -> Result<Bytes> {
    // Made large enough at once for most rows: growing would copy all of it several times.
    let mut bytes = Vec::with_capacity(rows.get_array_memory_size() / ENCODED_SHARE);
    let rows = stream::once(async move { Ok(rows) }).boxed();
    let group = ColumnGroup { schema: Arc::new(schema.clone()), batches: rows };
    encode_groups(schema, vec![group], &mut bytes, Effort::Light).await?;
    Ok(Bytes::from(bytes))
}

/// Some columns of a file, with their rows in batches.
pub struct ColumnGroup {
    /// Describes the columns.
    pub schema: Arc<PartSchema>,
    /// In the order of `schema.columns`; every group of a file has the same number of rows.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

/// [`encode`] for rows that come in batches, into a sink.
#[cfg(test)]
pub async fn encode_stream(
    schema: &PartSchema,
    batches: BoxStream<'static, Result<RecordBatch>>,
    sink: &mut impl ByteSink,
    effort: Effort,
) -> Result<()> {
    let group = ColumnGroup { schema: Arc::new(schema.clone()), batches };
    encode_groups(schema, vec![group], sink, effort).await
}

/// [`encode`] for rows that come in batches and columns that come in groups, into a sink. Holds some
/// blocks of rows of each column of one group at a time; the next group is first asked for rows when
/// the one before it has no more. Every column of `schema` is in one group. Dropping the future stops
/// it.
pub async fn encode_groups(
    schema: &PartSchema,
    groups: Vec<ColumnGroup>,
    sink: &mut impl ByteSink,
    effort: Effort,
) -> Result<()> {
    // The library knows only its own errors; the first of ours is kept beside it.
    let failed = Arc::new(OnceLock::new());
    let dtype = dtype_of(schema).map_err(write_error)?;
    let groups = groups.into_iter().map(|group| arrays(group, &failed));
    let mut groups = groups.collect::<VortexResult<Vec<_>>>().map_err(write_error)?;
    let own = schema.columns.iter().filter_map(|column| {
        let writer = codecs::strategy(&column.codecs, schema.granularity)?;
        Some((FieldPath::from_name(stored_name(column.id)), writer))
    });
    let mut strategy = layout::strategy(encodings(effort), schema.granularity, own);
    let arrays = match groups.len() {
        1 => groups.remove(0).arrays,
        _ => {
            strategy = Arc::new(Grouped::new(strategy, groups));
            stream::empty().boxed()
        }
    };
    let mut sink = FileSink { sink, failed: Arc::clone(&failed) };
    let written = SESSION
        .write_options()
        .with_strategy(strategy)
        .with_file_statistics(Vec::new())
        .write(&mut sink, ArrayStreamAdapter::new(dtype, arrays))
        .await;
    match (written, failed.get()) {
        (_, Some(error)) => Err(error.clone()),
        (written, None) => written.map(|_| ()).map_err(write_error),
    }
}

/// The group as the library wants it; an error of ours goes to `failed`.
fn arrays(group: ColumnGroup, failed: &Arc<OnceLock<Error>>) -> VortexResult<ArrayGroup> {
    let (dtype, stored) = (dtype_of(&group.schema)?, stored_schema(&group.schema));
    let failed = Arc::clone(failed);
    let arrays = group.batches.map(move |batch| match batch {
        Ok(batch) => to_vortex(batch, &stored),
        Err(error) => {
            // A later failure does not matter.
            let _ = failed.set(error);
            Err(io::Error::other("the rows could not be read").into())
        }
    });
    Ok(ArrayGroup { dtype, arrays: arrays.boxed() })
}

fn dtype_of(schema: &PartSchema) -> VortexResult<DType> {
    let stored = stored_schema(schema);
    let empty = RecordBatch::new_empty(Arc::new(stored.clone()));
    Ok(to_vortex(empty, &stored)?.dtype().clone())
}

fn encodings(effort: Effort) -> Encodings {
    match effort {
        Effort::Light => light_encodings(),
        Effort::Full => Encodings {
            packs_texts: true,
            ..Encodings::of(BtrBlocksCompressorBuilder::from_session(&SESSION))
        },
        Effort::Dense => {
            Encodings::of(BtrBlocksCompressorBuilder::from_session(&SESSION).with_compact())
        }
    }
}

fn to_vortex(batch: RecordBatch, stored: &Schema) -> VortexResult<ArrayRef> {
    let batch = intervals::to_stored(batch)?;
    SESSION.arrow().from_arrow_record_batch(batch, stored)
}

/// A sink as the library wants it.
struct FileSink<'a, S> {
    sink: &'a mut S,
    failed: Arc<OnceLock<Error>>,
}

impl<S: ByteSink> VortexWrite for FileSink<'_, S> {
    async fn write_all<B: IoBuf>(&mut self, buffer: B) -> io::Result<B> {
        match self.sink.write(buffer.as_slice()).await {
            Ok(()) => Ok(buffer),
            Err(error) => {
                let _ = self.failed.set(error);
                Err(io::Error::other("the file could not be written"))
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The types of the file under the stored names.
fn stored_schema(schema: &PartSchema) -> Schema {
    let field = |column: &PartColumn| column.column_type.arrow_field(&stored_name(column.id));
    let logical = Schema::new(schema.columns.iter().map(field).collect::<Vec<_>>());
    Schema::new(intervals::stored_fields(&logical))
}

fn light_encodings() -> Encodings {
    let is_heavy = |scheme: &&'static dyn Scheme| !LIGHT_SCHEMES.contains(&scheme.scheme_name());
    let session = SESSION.compression();
    let heavy = session.schemes().iter().copied().filter(is_heavy).map(|scheme| scheme.id());
    let light = BtrBlocksCompressorBuilder::from_session(&SESSION)
        .exclude_schemes(heavy.chain([FSSTScheme.id()]));
    Encodings {
        // Which texts repeat is seen by the trial; each block would only be misled by how texts begin.
        data: light.clone().exclude_schemes([StringDictScheme.id()]).with_new_scheme(&QUICK_TEXTS),
        trial: light.with_new_scheme(&QUICK_TEXTS_TRIAL),
        packs_texts: false,
    }
}
