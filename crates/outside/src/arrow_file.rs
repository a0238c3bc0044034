//! Arrow files, which are read batch by batch through their footer, and streams of batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow_ipc::Block;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{FileDecoder, StreamDecoder, read_footer_length};
use futures::StreamExt;
use granary_common::Result;

use crate::file::{Chunks, FileReader};
use crate::scan::{Batches, Wanted};

/// The length of the footer and the mark behind it.
const TRAILER_BYTES: u64 = 10;

/// What the footer says.
struct Footer {
    schema: Arc<Schema>,
    version: arrow_ipc::MetadataVersion,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

async fn footer(reader: &FileReader) -> Result<Footer> {
    let length = reader.length()?;
    let none = || reader.wrong("it is no Arrow file, or its end is missing");
    let end = length.checked_sub(TRAILER_BYTES).ok_or_else(none)?;
    let trailer = reader.range(end..length).await?;
    let trailer: [u8; 10] = trailer[..].try_into().map_err(|_| none())?;
    let footer_bytes = read_footer_length(trailer).map_err(|_| none())? as u64;
    let begin = end.checked_sub(footer_bytes).ok_or_else(none)?;
    let bytes = reader.range(begin..end).await?;
    let footer = arrow_ipc::root_as_footer(&bytes).map_err(|_| none())?;
    let schema = footer.schema().map(fb_to_schema).ok_or_else(none)?;
    let footer = Footer {
        schema: Arc::new(schema),
        version: footer.version(),
        dictionaries: footer.dictionaries().iter().flatten().copied().collect(),
        batches: footer.recordBatches().iter().flatten().copied().collect(),
    };
    let is_within = |block: &Block| {
        let sizes = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
        let end = sizes
            .into_iter()
            .try_fold(0_u64, |sum, size| sum.checked_add(u64::try_from(size).ok()?));
        end.is_some_and(|end| end <= length)
    };
    match footer.dictionaries.iter().chain(&footer.batches).all(is_within) {
        true => Ok(footer),
        false => Err(reader.wrong("its footer is damaged")),
    }
}

async fn block(reader: &FileReader, block: &Block) -> Result<Buffer> {
    let begin = block.offset() as u64;
    let length = block.metaDataLength() as u64 + block.bodyLength() as u64;
    Ok(Buffer::from(reader.range(begin..begin + length).await?))
}

/// The columns of a file.
pub(crate) async fn schema(reader: &FileReader) -> Result<Schema> {
    Ok((*footer(reader).await?.schema).clone())
}

/// The rows of a file.
pub(crate) async fn read(reader: FileReader, wanted: Arc<Wanted>) -> Result<Batches> {
    let Footer { schema, version, dictionaries, batches } = footer(&reader).await?;
    let mut decoder = FileDecoder::new(schema, version);
    for place in &dictionaries {
        let bytes = block(&reader, place).await?;
        decoder.read_dictionary(place, &bytes).map_err(|error| damaged(&reader, &error))?;
    }
    let rows = futures::stream::iter(batches).then(move |place| {
        let (reader, wanted) = (reader.clone(), Arc::clone(&wanted));
        async move {
            let bytes = block(&reader, &place).await?;
            Ok::<_, granary_common::Error>((reader, wanted, place, bytes))
        }
    });
    let decoded = rows.map(move |read| {
        let (reader, wanted, place, bytes) = read?;
        let batch = decoder.read_record_batch(&place, &bytes);
        let batch = batch.map_err(|error| damaged(&reader, &error))?;
        batch.map(|batch| chosen(&reader, &wanted, &batch)).transpose()
    });
    Ok(decoded.filter_map(|batch| std::future::ready(batch.transpose())).boxed())
}

fn chosen(reader: &FileReader, wanted: &Wanted, batch: &RecordBatch) -> Result<RecordBatch> {
    wanted.of_batch(batch).map_err(|error| error.context(reader.shown()))
}

fn damaged(reader: &FileReader, error: &arrow::error::ArrowError) -> granary_common::Error {
    reader.wrong(format!("it is damaged: {error}"))
}

/// The columns of a stream.
pub(crate) async fn stream_schema(mut chunks: Chunks, reader: &FileReader) -> Result<Schema> {
    let mut decoder = StreamDecoder::new();
    while decoder.schema().is_none() {
        let Some(chunk) = chunks.next().await else { break };
        let mut bytes = Buffer::from(chunk?);
        while !bytes.is_empty() && decoder.schema().is_none() {
            decoder.decode(&mut bytes).map_err(|error| damaged(reader, &error))?;
        }
    }
    let schema = decoder.schema();
    schema.map(|schema| (*schema).clone()).ok_or_else(|| reader.wrong("it is no stream of Arrow"))
}

/// The rows of a stream.
pub(crate) fn read_stream(chunks: Chunks, reader: FileReader, wanted: Arc<Wanted>) -> Batches {
    struct Rows {
        chunks: Chunks,
        bytes: Buffer,
        decoder: StreamDecoder,
        ended: bool,
    }
    let rows =
        Rows { chunks, bytes: Buffer::default(), decoder: StreamDecoder::new(), ended: false };
    let batches =
        futures::stream::unfold((rows, reader, wanted), |(mut rows, reader, wanted)| async move {
            let next = loop {
                if rows.ended {
                    return None;
                }
                if rows.bytes.is_empty() {
                    match rows.chunks.next().await {
                        Some(Ok(chunk)) => rows.bytes = Buffer::from(chunk),
                        Some(Err(error)) => break Err(error),
                        None => {
                            rows.ended = true;
                            match rows.decoder.finish() {
                                Ok(()) => return None,
                                Err(error) => break Err(damaged(&reader, &error)),
                            }
                        }
                    }
                    continue;
                }
                match rows.decoder.decode(&mut rows.bytes) {
                    Ok(Some(batch)) => break chosen(&reader, &wanted, &batch),
                    Ok(None) => {}
                    Err(error) => break Err(damaged(&reader, &error)),
                }
            };
            rows.ended |= next.is_err();
            Some((next, (rows, reader, wanted)))
        });
    batches.boxed()
}
