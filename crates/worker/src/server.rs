//! The worker over gRPC.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use granary_catalog::codec;
use granary_common::{ClusterId, Error, Result};
use granary_execution::worker_api::{CLUSTER_HEADER, IpcDecoder, IpcEncoder};
use granary_execution::{
    BuiltPart, CopySpec, FileRead, KeySummary, OptimizeSpec, RemotePartScan, WorkerApi, WriteSpec,
};
use granary_proto::internal::worker_server::Worker;
use granary_proto::internal::{
    CheckPartRequest, CheckPartResponse, CopyPartsRequest, CopyPartsResponse, OfferFilterRequest,
    OfferFilterResponse, OptimizeRequest, OptimizeResponse, PartStatisticsRequest,
    PartStatisticsResponse, ReadFileRequest, ReadFileResponse, ReportRequest, ReportResponse,
    RunningMergesRequest, RunningMergesResponse, ScanPartRequest, ScanPartResponse,
    WriteBlockRequest, WriteBlockResponse, WriteDeletionsRequest, WriteDeletionsResponse,
    write_block_request,
};
use granary_proto::status::{from_status, to_status};
use granary_storage::{Deletions, PartRef};
use prost::Message;
use tonic::service::Interceptor;
use tonic::{Request, Response, Status, Streaming};

use crate::local::LocalWorker;

/// Bytes in memory of one block at most.
const BLOCK_BYTES_MAX: usize = 1 << 30;

/// Refuses requests of another cluster.
#[derive(Clone, Debug)]
pub struct ClusterCheck {
    cluster: ClusterId,
}

impl ClusterCheck {
    /// Lets requests of `cluster` pass.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster }
    }
}

impl Interceptor for ClusterCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let named = request.metadata().get(CLUSTER_HEADER).and_then(|value| value.to_str().ok());
        match named {
            Some(named) if named == self.cluster.0 => Ok(request),
            Some(named) => Err(to_status(&Error::denied(format!(
                "this worker belongs to cluster {}, and the request comes from {named}",
                self.cluster
            )))),
            None => Err(to_status(&Error::denied(format!(
                "a request to a worker names its cluster in the header {CLUSTER_HEADER}"
            )))),
        }
    }
}

/// Serves [`LocalWorker`].
#[derive(Debug)]
pub struct WorkerService {
    local: Arc<LocalWorker>,
}

impl WorkerService {
    /// A service over `local`.
    pub fn new(local: Arc<LocalWorker>) -> Self {
        Self { local }
    }

    async fn receive(
        &self,
        mut messages: Streaming<WriteBlockRequest>,
    ) -> Result<(WriteSpec, RecordBatch)> {
        let failed = |status: Status| from_status(&status).context("receiving rows");
        let first = messages.message().await.map_err(failed)?;
        let first = first.and_then(|request| request.message);
        let Some(write_block_request::Message::Spec(spec)) = first else {
            return Err(Error::invalid("a write begins with what to write"));
        };
        let spec: WriteSpec = codec::decode(&spec)?;
        let mut decoder = IpcDecoder::default();
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(request) = messages.message().await.map_err(failed)? {
            let Some(write_block_request::Message::ArrowIpc(chunk)) = request.message else {
                return Err(Error::invalid("a write says once what to write, then sends rows"));
            };
            bytes += chunk.len();
            if bytes > BLOCK_BYTES_MAX {
                return Err(Error::exhausted(format!(
                    "a block has more than {BLOCK_BYTES_MAX} bytes; send smaller ones"
                )));
            }
            batches.extend(decoder.decode(chunk)?);
        }
        decoder.finish()?;
        let block = match batches.as_slice() {
            [only] => only.clone(),
            [] => RecordBatch::new_empty(spec.schema.arrow_schema()),
            many => arrow::compute::concat_batches(&many[0].schema(), many)
                .map_err(|error| Error::invalid(format!("the rows do not fit: {error}")))?,
        };
        Ok((spec, block))
    }
}

/// The chunks of an IPC stream of `batches`; made as they are asked for.
fn ipc_chunks(
    encoder: IpcEncoder,
    batches: BoxStream<'static, Result<RecordBatch>>,
) -> BoxStream<'static, Result<Bytes>> {
    let state = Some((encoder, batches));
    let encoded = stream::try_unfold(state, async |state| {
        let Some((mut encoder, mut batches)) = state else {
            return Ok(None);
        };
        match batches.try_next().await? {
            Some(batch) => {
                let chunks = encoder.encode(&batch)?;
                drop(batch);
                Ok::<_, Error>(Some((chunks, Some((encoder, batches)))))
            }
            None => Ok(Some((encoder.finish()?, None))),
        }
    });
    encoded.map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok))).try_flatten().boxed()
}

#[tonic::async_trait]
impl Worker for WorkerService {
    async fn write_block(
        &self,
        request: Request<Streaming<WriteBlockRequest>>,
    ) -> Result<Response<WriteBlockResponse>, Status> {
        let written = async {
            self.local.check_stays()?;
            let (spec, block) = self.receive(request.into_inner()).await?;
            let parts = self.local.write_block(spec, block).await?;
            codec::encode(&parts)
        };
        let parts = written.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(WriteBlockResponse { parts: parts.into() }))
    }

    type ScanPartStream = BoxStream<'static, Result<ScanPartResponse, Status>>;

    async fn scan_part(
        &self,
        request: Request<ScanPartRequest>,
    ) -> Result<Response<Self::ScanPartStream>, Status> {
        let opened = async {
            let scan: RemotePartScan = codec::decode(&request.into_inner().scan)?;
            let encoder = IpcEncoder::new(&scan.schema.project(&scan.scan.columns)?)?;
            let read = self.local.scan_part(scan).await?;
            let skipped = codec::encode(&read.skipped)?.into();
            Ok::<_, Error>((ipc_chunks(encoder, read.batches), skipped))
        };
        let (chunks, skipped) = opened.await.map_err(|error| to_status(&error))?;
        let first = ScanPartResponse { arrow_ipc: Bytes::new(), skipped };
        let responses = chunks
            .map_ok(|arrow_ipc| ScanPartResponse { arrow_ipc, skipped: Bytes::new() })
            .map_err(|error| to_status(&error));
        Ok(Response::new(stream::iter([Ok(first)]).chain(responses).boxed()))
    }

    async fn part_statistics(
        &self,
        request: Request<PartStatisticsRequest>,
    ) -> Result<Response<PartStatisticsResponse>, Status> {
        let gathered = async {
            let parts: Vec<PartRef> = codec::decode(&request.into_inner().parts)?;
            codec::encode(&self.local.part_statistics(parts).await?)
        };
        let statistics = gathered.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(PartStatisticsResponse { statistics: statistics.into() }))
    }

    async fn write_deletions(
        &self,
        request: Request<WriteDeletionsRequest>,
    ) -> Result<Response<WriteDeletionsResponse>, Status> {
        let written = async {
            let WriteDeletionsRequest { part, deletions } = request.into_inner();
            let deletions = Deletions::decode(&deletions)
                .map_err(|error| Error::invalid(error.message().to_owned()))?;
            codec::encode(&self.local.write_deletions(codec::decode(&part)?, deletions).await?)
        };
        let written = written.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(WriteDeletionsResponse { written: written.into() }))
    }

    async fn optimize(
        &self,
        request: Request<OptimizeRequest>,
    ) -> Result<Response<OptimizeResponse>, Status> {
        let optimized = async {
            let spec: OptimizeSpec = codec::decode(&request.into_inner().spec)?;
            codec::encode(&self.local.optimize(spec).await?)
        };
        let optimized = optimized.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(OptimizeResponse { optimized: optimized.into() }))
    }

    async fn check_part(
        &self,
        request: Request<CheckPartRequest>,
    ) -> Result<Response<CheckPartResponse>, Status> {
        let checked = async {
            let part: PartRef = codec::decode(&request.into_inner().part)?;
            self.local.check_part(part).await
        };
        let damage = checked.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(CheckPartResponse { damage }))
    }

    async fn running_merges(
        &self,
        _request: Request<RunningMergesRequest>,
    ) -> Result<Response<RunningMergesResponse>, Status> {
        let listed = async { codec::encode(&self.local.running_merges().await?) };
        let merges = listed.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(RunningMergesResponse { merges: merges.into() }))
    }

    async fn report(
        &self,
        _request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let told = async { codec::encode(&self.local.report().await?) };
        let report = told.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(ReportResponse { report: report.into() }))
    }

    async fn copy_parts(
        &self,
        request: Request<CopyPartsRequest>,
    ) -> Result<Response<CopyPartsResponse>, Status> {
        let copied = async {
            let spec: CopySpec = codec::decode(&request.into_inner().spec)?;
            self.local.copy_parts(spec).await
        };
        copied.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(CopyPartsResponse {}))
    }

    type ReadFileStream = BoxStream<'static, Result<ReadFileResponse, Status>>;

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<Self::ReadFileStream>, Status> {
        let opened = async {
            let file: FileRead = codec::decode(&request.into_inner().file)?;
            self.local.read_file(file).await
        };
        let bytes = opened.await.map_err(|error| to_status(&error))?;
        let responses =
            bytes.map_ok(|data| ReadFileResponse { data }).map_err(|error| to_status(&error));
        Ok(Response::new(responses.boxed()))
    }

    async fn offer_filter(
        &self,
        request: Request<OfferFilterRequest>,
    ) -> Result<Response<OfferFilterResponse>, Status> {
        let OfferFilterRequest { id, summary, part, parts } = request.into_inner();
        let part = BuiltPart { index: part as usize, of: parts as usize };
        let summary = KeySummary::decode(summary)
            .map_err(|error| Status::invalid_argument(format!("a damaged filter: {error}")))?;
        let offered = self.local.offer_filter(id, part, Arc::new(summary)).await;
        offered.map_err(|error| to_status(&error))?;
        Ok(Response::new(OfferFilterResponse {}))
    }
}
