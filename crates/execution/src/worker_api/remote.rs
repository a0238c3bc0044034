//! A worker over gRPC.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use granary_catalog::{NewPart, codec};
use granary_common::{ClusterId, Error, Result};
use granary_proto::internal::worker_client::WorkerClient;
use granary_proto::internal::{
    CheckPartRequest, CopyPartsRequest, OfferFilterRequest, OptimizeRequest, PartStatisticsRequest,
    ReadFileRequest, ReportRequest, RunningMergesRequest, ScanPartRequest, ScanPartResponse,
    WriteBlockRequest, WriteDeletionsRequest, write_block_request,
};
use granary_storage::{ColumnStatistics, Deletions, PartRef};
use prost::Message;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use url::Url;

use super::{
    CopySpec, FileRead, IpcDecoder, IpcEncoder, OptimizeSpec, Optimized, RemotePartRead,
    RemotePartScan, RunningMerge, WorkerApi, WorkerReport, WriteSpec, WrittenDeletions,
};
use crate::error::from_peer_status;
use crate::part_scan::read::Skipped;
use crate::runtime_filter::{BuiltPart, KeySummary};

/// The header of every internal request: the cluster that the caller belongs to.
pub const CLUSTER_HEADER: &str = "granary-cluster-id";
/// Bytes of an internal message at most.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long to try to reach a worker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is probed after this time, and given up after as much again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Flow-control windows, so that bulk data is not slowed down by round trips.
const WINDOW_BYTES: u32 = 8 << 20;
/// Bytes of a frame that a worker may send: each costs a system call.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A channel to a worker that connects when it is first used, and again when it broke.
pub fn lazy_channel(url: &Url) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_string())
        .map_err(|error| Error::invalid(format!("'{url}' is not a worker's URL: {error}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .tcp_nodelay(true)
        .connect_lazy())
}

/// Speaks to one worker.
#[derive(Clone, Debug)]
pub struct RemoteWorker {
    client: WorkerClient<Channel>,
    cluster: Option<MetadataValue<Ascii>>,
    url: Url,
}

impl RemoteWorker {
    /// A handle on the worker at `url`; connects when it is used. Must run inside a runtime.
    pub fn new(url: &Url, cluster: Option<ClusterId>) -> Result<Self> {
        let client = WorkerClient::new(lazy_channel(url)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let cluster = cluster.and_then(|cluster| cluster.0.parse().ok());
        Ok(Self { client, cluster, url: url.clone() })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(cluster) = &self.cluster {
            request.metadata_mut().insert(CLUSTER_HEADER, cluster.clone());
        }
        request
    }

    fn failed(&self, doing: &str, status: &tonic::Status) -> Error {
        from_peer_status(status).context(format!("{doing} on the worker at {}", self.url))
    }
}

fn ipc_message(chunk: Bytes) -> WriteBlockRequest {
    WriteBlockRequest { message: Some(write_block_request::Message::ArrowIpc(chunk)) }
}

/// The messages that carry `spec` and `block`.
fn write_messages(spec: &WriteSpec, block: &RecordBatch) -> Result<Vec<WriteBlockRequest>> {
    let spec = write_block_request::Message::Spec(codec::encode(spec)?.into());
    let mut messages = vec![WriteBlockRequest { message: Some(spec) }];
    let mut encoder = IpcEncoder::new(&block.schema())?;
    messages.extend(encoder.encode(block)?.into_iter().map(ipc_message));
    messages.extend(encoder.finish()?.into_iter().map(ipc_message));
    Ok(messages)
}

#[async_trait]
impl WorkerApi for RemoteWorker {
    async fn write_block(&self, spec: WriteSpec, block: RecordBatch) -> Result<Vec<NewPart>> {
        let messages = write_messages(&spec, &block)?;
        drop(block);
        let mut client = self.client.clone();
        let response = client
            .write_block(self.request(stream::iter(messages)))
            .await
            .map_err(|status| self.failed("writing rows", &status))?;
        codec::decode(&response.into_inner().parts)
    }

    async fn scan_part(&self, scan: RemotePartScan) -> Result<RemotePartRead> {
        let scan = codec::encode(&scan)?;
        let mut client = self.client.clone();
        let response = client
            .scan_part(self.request(ScanPartRequest { scan: scan.into() }))
            .await
            .map_err(|status| self.failed("reading a part", &status))?;
        let this = self.clone();
        let chunks =
            response.into_inner().map_err(move |status| this.failed("reading a part", &status));
        let mut chunks = chunks.boxed();
        let first = chunks.try_next().await?;
        // A worker of an older build says nothing of it.
        let skipped = match first.as_ref().filter(|first| !first.skipped.is_empty()) {
            Some(first) => codec::decode(&first.skipped)?,
            None => Skipped::default(),
        };
        let chunks = stream::iter(first.map(Ok)).chain(chunks).boxed();
        Ok(RemotePartRead { batches: batches(chunks), skipped })
    }

    async fn part_statistics(&self, parts: Vec<PartRef>) -> Result<Vec<Vec<ColumnStatistics>>> {
        let request = PartStatisticsRequest { parts: codec::encode(&parts)?.into() };
        let mut client = self.client.clone();
        let response = client
            .part_statistics(self.request(request))
            .await
            .map_err(|status| self.failed("asking for statistics", &status))?;
        codec::decode(&response.into_inner().statistics)
    }

    async fn write_deletions(
        &self,
        part: PartRef,
        deletions: Deletions,
    ) -> Result<WrittenDeletions> {
        let request = WriteDeletionsRequest {
            part: codec::encode(&part)?.into(),
            deletions: deletions.encode().into(),
        };
        let mut client = self.client.clone();
        let response = client
            .write_deletions(self.request(request))
            .await
            .map_err(|status| self.failed("deleting rows", &status))?;
        codec::decode(&response.into_inner().written)
    }

    async fn optimize(&self, spec: OptimizeSpec) -> Result<Optimized> {
        let request = OptimizeRequest { spec: codec::encode(&spec)?.into() };
        let mut client = self.client.clone();
        let response = client
            .optimize(self.request(request))
            .await
            .map_err(|status| self.failed("merging parts", &status))?;
        codec::decode(&response.into_inner().optimized)
    }

    async fn check_part(&self, part: PartRef) -> Result<Option<String>> {
        let request = CheckPartRequest { part: codec::encode(&part)?.into() };
        let mut client = self.client.clone();
        let response = client
            .check_part(self.request(request))
            .await
            .map_err(|status| self.failed("checking a part", &status))?;
        Ok(response.into_inner().damage)
    }

    async fn running_merges(&self) -> Result<Vec<RunningMerge>> {
        let mut client = self.client.clone();
        let response = client
            .running_merges(self.request(RunningMergesRequest {}))
            .await
            .map_err(|status| self.failed("asking for merges", &status))?;
        codec::decode(&response.into_inner().merges)
    }

    async fn report(&self) -> Result<WorkerReport> {
        let mut client = self.client.clone();
        let told = client.report(self.request(ReportRequest {})).await;
        let response = told.map_err(|status| self.failed("asking how it is", &status))?;
        codec::decode(&response.into_inner().report)
    }

    async fn copy_parts(&self, spec: CopySpec) -> Result<()> {
        let request = CopyPartsRequest { spec: codec::encode(&spec)?.into() };
        let mut client = self.client.clone();
        let copied = client.copy_parts(self.request(request)).await;
        copied.map(drop).map_err(|status| self.failed("copying parts", &status))
    }

    async fn read_file(&self, file: FileRead) -> Result<BoxStream<'static, Result<Bytes>>> {
        let request = ReadFileRequest { file: codec::encode(&file)?.into() };
        let mut client = self.client.clone();
        let response = client
            .read_file(self.request(request))
            .await
            .map_err(|status| self.failed("reading a file", &status))?;
        let this = self.clone();
        let bytes = response.into_inner().map_ok(|piece| piece.data);
        Ok(bytes.map_err(move |status| this.failed("reading a file", &status)).boxed())
    }

    async fn offer_filter(&self, id: u64, part: BuiltPart, summary: Arc<KeySummary>) -> Result<()> {
        let summary = summary.encode_to_vec().into();
        let (part, parts) = (part.index as u64, part.of as u64);
        let request = OfferFilterRequest { id, summary, part, parts };
        let mut client = self.client.clone();
        let offered = client.offer_filter(self.request(request)).await;
        offered.map_err(|status| self.failed("offering a filter", &status))?;
        Ok(())
    }
}

/// Decodes chunks as they come; a chunk is asked for only when its batches are wanted.
fn batches(
    chunks: BoxStream<'static, Result<ScanPartResponse>>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let state = Some((chunks, IpcDecoder::default()));
    let decoded = stream::try_unfold(state, async |state| {
        let Some((mut chunks, mut decoder)) = state else {
            return Ok(None);
        };
        match chunks.try_next().await? {
            Some(chunk) => {
                let batches = decoder.decode(chunk.arrow_ipc)?;
                Ok(Some((batches, Some((chunks, decoder)))))
            }
            None => {
                decoder.finish()?;
                Ok(None::<(Vec<RecordBatch>, _)>)
            }
        }
    });
    decoded.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten().boxed()
}
