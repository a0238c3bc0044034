//! Batches from messages that a client streams, decoded one at a time.

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use granary_common::units::display_bytes;
use granary_common::{Error, Result};
use granary_proto::status::from_status;
use tonic::{Code, Status};

use super::wire::{BatchDecoder, Framer};

/// What a client sends.
pub enum Piece {
    /// Bytes of an Arrow IPC stream, cut anywhere.
    Stream(Bytes),
    /// One message: metadata and body.
    Message(Bytes, Bytes),
}

/// The error of a stream that broke; one message above `message_bytes_max` is what the transport itself
/// refuses.
pub fn stream_error(status: &Status, message_bytes_max: usize) -> Error {
    match status.code() {
        Code::OutOfRange => Error::exhausted(format!(
            "a message of the stream is above the limit of {}; send smaller batches",
            display_bytes(message_bytes_max as u64)
        )),
        _ => from_status(status),
    }
}

/// Decodes a client's pieces.
pub struct ArrowSource<'a> {
    pieces: BoxStream<'a, Result<Piece>>,
    framer: Framer,
    decoder: BatchDecoder,
    ready: VecDeque<RecordBatch>,
}

impl<'a> ArrowSource<'a> {
    /// A source over `pieces` that refuses messages above `message_bytes_max`.
    pub fn new(pieces: BoxStream<'a, Result<Piece>>, message_bytes_max: usize) -> Self {
        Self {
            pieces,
            framer: Framer::new(message_bytes_max),
            decoder: BatchDecoder::new(message_bytes_max),
            ready: VecDeque::new(),
        }
    }

    /// Waits for the schema, then gives it with the batches.
    pub async fn open(self) -> Result<(SchemaRef, BoxStream<'a, Result<RecordBatch>>)> {
        let opened = self.open_if_any().await?;
        opened.ok_or_else(|| Error::invalid("the Arrow stream ended before its schema"))
    }

    /// The same for a stream that may be empty.
    pub async fn open_if_any(
        mut self,
    ) -> Result<Option<(SchemaRef, BoxStream<'a, Result<RecordBatch>>)>> {
        while self.decoder.schema().is_none() {
            if !self.advance().await? {
                return Ok(None);
            }
        }
        let schema = self.decoder.schema().cloned();
        let schema = schema.ok_or_else(|| Error::internal("a schema was lost"))?;
        let batches = futures::stream::unfold(Some(self), |source| async {
            let mut source = source?;
            match source.next().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(source))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Some((schema, batches.boxed())))
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if !self.advance().await? {
                return Ok(None);
            }
        }
    }

    /// Takes one piece in; false at the end of a whole stream.
    async fn advance(&mut self) -> Result<bool> {
        match self.pieces.next().await.transpose()? {
            Some(Piece::Stream(bytes)) => {
                self.framer.push(&bytes)?;
                while let Some((metadata, body)) = self.framer.next_message()? {
                    self.ready.extend(self.decoder.decode(&metadata, body)?);
                }
                Ok(true)
            }
            Some(Piece::Message(metadata, body)) => {
                self.ready.extend(self.decoder.decode(&metadata, body)?);
                Ok(true)
            }
            None => {
                self.framer.finish()?;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use arrow_ipc::writer::StreamWriter;
    use futures::stream;
    use std::sync::Arc;

    fn bytes(rows: i64) -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    async fn rows(bytes: &[u8], chunk: usize) -> Result<usize> {
        let pieces: Vec<Result<Piece>> =
            bytes.chunks(chunk).map(|piece| Ok(Piece::Stream(piece.to_vec().into()))).collect();
        let source = ArrowSource::new(stream::iter(pieces).boxed(), 1 << 20);
        let (schema, mut batches) = source.open().await?;
        assert_eq!(schema.fields().len(), 1);
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows();
        }
        Ok(rows)
    }

    #[test]
    fn what_the_transport_refuses_is_told_with_the_limit() {
        let large = Status::out_of_range("decoded message length too large");
        let error = stream_error(&large, 256 << 20);
        assert_eq!(error.kind(), granary_common::ErrorKind::ResourceExhausted);
        assert!(error.message().contains("limit of 256.0 MiB; send smaller batches"), "{error}");
        let gone = stream_error(&Status::cancelled("the client went away"), 1);
        assert_eq!(gone.kind(), granary_common::ErrorKind::Cancelled);
    }

    #[tokio::test]
    async fn pieces_of_any_size_give_the_same_rows() {
        let bytes = bytes(1000);
        for chunk in [1, 100, bytes.len()] {
            assert_eq!(rows(&bytes, chunk).await.unwrap(), 1000);
        }
    }

    #[tokio::test]
    async fn nothing_and_half_a_stream_are_errors() {
        assert!(rows(&[], 1).await.unwrap_err().message().contains("before its schema"));
        let bytes = bytes(1000);
        let error = rows(&bytes[..bytes.len() / 2], 64).await.unwrap_err();
        assert!(error.message().contains("cut short"), "{error}");
    }
}
