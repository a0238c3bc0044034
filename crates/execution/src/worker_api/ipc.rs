//! Batches as the bytes of one Arrow IPC stream, in chunks of bounded size.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use granary_common::{Error, Result};

/// Bytes of a chunk at most.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Writes batches and hands out what became ready.
pub struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl IpcEncoder {
    /// An encoder of batches with `schema`. Nothing is compressed: that takes more time than a fast
    /// network saves.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let writer = StreamWriter::try_new(Vec::new(), schema).map_err(cannot_encode)?;
        Ok(Self { writer })
    }

    /// The chunks of `batch`, and before the first one those of the schema.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Bytes>> {
        self.writer.write(&compact(batch)?).map_err(cannot_encode)?;
        Ok(chunks(std::mem::take(self.writer.get_mut())))
    }

    /// The chunks that end the stream; without any batch, also those of the schema.
    pub fn finish(mut self) -> Result<Vec<Bytes>> {
        self.writer.finish().map_err(cannot_encode)?;
        Ok(chunks(std::mem::take(self.writer.get_mut())))
    }
}

fn cannot_encode(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot encode rows for another node: {error}"))
}

fn chunks(bytes: Vec<u8>) -> Vec<Bytes> {
    let mut rest = Bytes::from(bytes);
    let mut chunks = Vec::with_capacity(rest.len() / CHUNK_BYTES_MAX + 1);
    while !rest.is_empty() {
        chunks.push(rest.split_to(rest.len().min(CHUNK_BYTES_MAX)));
    }
    chunks
}

/// Views may hold on to buffers that the batch hardly uses; only what is used shall travel.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(compact_column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(cannot_encode)
}

fn compact_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

/// Reads batches out of chunks that may be cut anywhere.
#[derive(Default)]
pub struct IpcDecoder {
    decoder: StreamDecoder,
}

impl IpcDecoder {
    /// The batches that `chunk` completes.
    pub fn decode(&mut self, chunk: Bytes) -> Result<Vec<RecordBatch>> {
        let mut buffer = Buffer::from(chunk);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            let batch = self.decoder.decode(&mut buffer).map_err(cannot_decode)?;
            batches.extend(batch);
        }
        Ok(batches)
    }

    /// Checks that the stream did not end in the middle of a message.
    pub fn finish(mut self) -> Result<()> {
        self.decoder.finish().map_err(cannot_decode)
    }
}

fn cannot_decode(error: arrow::error::ArrowError) -> Error {
    Error::invalid(format!("the rows from another node are damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringViewArray};

    fn batch(rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let texts = (0..rows).map(|row| format!("a text longer than an inlined view {row}"));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
    }

    #[test]
    fn batches_survive_chunks_cut_anywhere() {
        let sent = [batch(3), batch(10_000), batch(0)];
        let mut encoder = IpcEncoder::new(&sent[0].schema()).unwrap();
        let mut bytes: Vec<u8> = Vec::new();
        for batch in &sent {
            encoder.encode(batch).unwrap().iter().for_each(|chunk| bytes.extend(chunk));
        }
        encoder.finish().unwrap().iter().for_each(|chunk| bytes.extend(chunk));
        for cut in [1, 7, 1000, bytes.len()] {
            let mut decoder = IpcDecoder::default();
            let mut received = Vec::new();
            for chunk in bytes.chunks(cut) {
                received.extend(decoder.decode(Bytes::copy_from_slice(chunk)).unwrap());
            }
            decoder.finish().unwrap();
            assert_eq!(received, sent, "cut at {cut}");
        }
    }

    #[test]
    fn a_torn_stream_is_an_error() {
        let mut encoder = IpcEncoder::new(&batch(1).schema()).unwrap();
        let chunks = encoder.encode(&batch(100)).unwrap();
        let bytes: Vec<u8> = chunks.iter().flatten().copied().collect();
        let mut decoder = IpcDecoder::default();
        let torn = Bytes::copy_from_slice(&bytes[..bytes.len() - 10]);
        let result = decoder.decode(torn).and_then(|_| decoder.finish());
        assert!(result.is_err());
    }
}
