//! The BulkInsert call: batches in, one receipt out, a bounded number of messages between.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use granary_common::{Error, Result, TaskOwner};
use granary_proto::v1::insert_request::Message;
use granary_proto::v1::{InsertHeader, InsertRequest, InsertResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::{Client, call_error};

/// Bytes of one message, below the 4 MiB that gRPC refuses. Most batches are one message.
const CHUNK_BYTES: usize = 3 << 20;
/// Messages that wait for the network.
const CHUNKS_AHEAD: usize = 2;
/// Bytes that a batch's metadata may take beside what the batch before it took.
const SPARE_BYTES: usize = 64 << 10;

/// Where the rows of an insert come from. Read on a thread of its own, so it may block.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Told how many rows and encoded bytes were handed to the network.
pub type Progress = Box<dyn Fn(u64, u64) + Send>;

impl Client {
    /// Inserts `batches`, all or nothing. Memory is bounded by a few batches.
    ///
    /// The error of the source wins over that of the server; the server then sees a call that
    /// was given up, and makes nothing visible.
    pub async fn insert(
        &self,
        tasks: &TaskOwner,
        header: InsertHeader,
        schema: SchemaRef,
        batches: Batches,
        progress: Progress,
    ) -> Result<InsertResponse> {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let (complete, completed) = oneshot::channel::<()>();
        let producer = Producer { sender, progress };
        let mut producer =
            tasks.spawn_blocking(move || producer.send_all(header, &schema, batches));
        let requests = ReceiverStream::new(receiver).chain(end_when(completed));
        let mut bulk = self.bulk.clone();
        let call = bulk.insert(requests);
        tokio::pin!(call);
        let response = tokio::select! {
            produced = &mut producer => {
                produced.map_err(|error| Error::internal(format!("reading rows: {error}")))??;
                // Nobody waits for it any more when the server has answered early.
                let _ = complete.send(());
                call.await
            }
            response = &mut call => response,
        };
        response.map(|response| response.into_inner()).map_err(|status| call_error(&status))
    }
}

/// An end of the stream that only comes when the rows are complete. A source that failed must
/// look like a call that was given up, never like a stream that ended.
fn end_when(completed: oneshot::Receiver<()>) -> impl Stream<Item = InsertRequest> + Send {
    let end = async move {
        if completed.await.is_err() {
            std::future::pending::<()>().await;
        }
        None
    };
    futures::stream::once(end).filter_map(std::future::ready)
}

struct Producer {
    sender: mpsc::Sender<InsertRequest>,
    progress: Progress,
}

/// The server has hung up; its answer says why.
struct HungUp;

impl Producer {
    fn send_all(self, header: InsertHeader, schema: &SchemaRef, batches: Batches) -> Result<()> {
        let failed = |error| Error::internal(format!("encoding rows: {error}"));
        if self.send(Message::Header(header)).is_err() {
            return Ok(());
        }
        let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(failed)?;
        for batch in batches {
            let batch = batch?;
            writer.write(&batch).map_err(failed)?;
            // The next batch is about as large; growing towards it would copy it again and again.
            let next = Vec::with_capacity(writer.get_ref().len() + SPARE_BYTES);
            let encoded = std::mem::replace(writer.get_mut(), next);
            let bytes = encoded.len() as u64;
            if self.send_bytes(encoded).is_err() {
                return Ok(());
            }
            (self.progress)(batch.num_rows() as u64, bytes);
        }
        writer.finish().map_err(failed)?;
        let rest = std::mem::take(writer.get_mut());
        // Whether the server still listens shows in its answer.
        let _ = self.send_bytes(rest);
        Ok(())
    }

    fn send_bytes(&self, encoded: Vec<u8>) -> Result<(), HungUp> {
        let mut rest = Bytes::from(encoded);
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            self.send(Message::ArrowIpc(chunk))?;
        }
        Ok(())
    }

    fn send(&self, message: Message) -> Result<(), HungUp> {
        let request = InsertRequest { message: Some(message) };
        self.sender.blocking_send(request).map_err(|_| HungUp)
    }
}
