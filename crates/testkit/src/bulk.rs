//! The BulkInsert call, with nothing between the test and the wire: what is sent is what the test
//! says, torn or corrupt if need be.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use futures::Stream;
use granary_proto::v1::bulk_insert_client::BulkInsertClient;
use granary_proto::v1::insert_request::Message;
use granary_proto::v1::{InsertHeader, InsertRequest, InsertResponse};

use crate::TestResult;

/// Bytes of one message.
const CHUNK_BYTES: usize = 1 << 20;

/// The bytes of one Arrow IPC stream.
pub fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()
}

/// The header of an insert into `table`.
pub fn header(table: &str, token: &str) -> InsertHeader {
    InsertHeader { table: table.to_owned(), token: token.to_owned(), ..InsertHeader::default() }
}

/// The messages that carry a header and then `ipc`, cut in chunks.
pub fn messages(header: InsertHeader, ipc: &[u8]) -> Vec<InsertRequest> {
    let chunks = ipc.chunks(CHUNK_BYTES).map(|chunk| Message::ArrowIpc(chunk.to_vec().into()));
    let all = std::iter::once(Message::Header(header)).chain(chunks);
    all.map(|message| InsertRequest { message: Some(message) }).collect()
}

/// Sends `batches` as one insert to the coordinator at `url`.
pub async fn insert(
    url: &str,
    header: InsertHeader,
    batches: &[RecordBatch],
) -> TestResult<InsertResponse> {
    let schema = batches.first().ok_or("an insert of no batches")?.schema();
    let ipc = encode(&schema, batches)?;
    Ok(send(url, futures::stream::iter(messages(header, &ipc))).await?)
}

/// Inserts batches that are made when the call takes them; one that cannot be made tears the stream.
pub async fn insert_stream<I>(
    url: &str,
    header: InsertHeader,
    mut batches: I,
) -> TestResult<InsertResponse>
where
    I: Iterator<Item = TestResult<RecordBatch>> + Send + 'static,
{
    let first = batches.next().ok_or("an insert of no batches")??;
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema())?;
    let all = std::iter::once(Ok(first)).chain(batches).map(Some).chain([None]);
    let pieces = all.map(move |batch| -> TestResult<Vec<u8>> {
        match batch {
            Some(batch) => writer.write(&batch?)?,
            None => writer.finish()?,
        }
        Ok(std::mem::take(writer.get_mut()))
    });
    let pieces = pieces.map_while(Result::ok).map(|bytes| Message::ArrowIpc(bytes.into()));
    let messages = std::iter::once(Message::Header(header)).chain(pieces);
    let requests = messages.map(|message| InsertRequest { message: Some(message) });
    Ok(send(url, futures::stream::iter(requests)).await?)
}

/// Sends any messages as one insert. An address that cannot be reached is a status as well.
pub async fn send<S>(url: &str, requests: S) -> Result<InsertResponse, tonic::Status>
where
    S: Stream<Item = InsertRequest> + Send + 'static,
{
    let client = BulkInsertClient::connect(url.to_owned()).await;
    let client = client.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let mut client = client.max_encoding_message_size(usize::MAX);
    client.insert(requests).await.map(|response| response.into_inner())
}
