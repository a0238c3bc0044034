//! Raft's messages to the other members, over gRPC.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::codec;
use granary_catalog::remote::wire;
use granary_common::{Error, ErrorKind, Result, TaskOwner};
use granary_proto::internal::{RaftMessage, SnapshotChunk, snapshot_chunk::Chunk};
use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, ReplicationClosed,
    StreamingError, Unreachable,
};
use openraft::impls::BasicNode;
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, Snapshot, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::TypeConfig;
use crate::peers::Peers;
use crate::store::entry::StoredVote;
use crate::store::snapshot::{Manifest, SnapshotFolder};

/// Pause before a member that cannot be reached is tried again.
const BACKOFF: Duration = Duration::from_millis(200);
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that are read ahead of the connection.
const CHUNKS_AHEAD: usize = 4;
/// A transfer that takes longer begins anew.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(600);

/// What a streamed snapshot begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotHeader {
    pub vote: StoredVote,
    pub manifest: Manifest,
}

/// Makes a [`Connection`] for each member.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub peers: Arc<Peers>,
    pub tasks: TaskOwner,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, _target: u64, node: &BasicNode) -> Connection {
        Connection { network: self.clone(), address: node.addr.clone() }
    }
}

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Connection {
    network: Network,
    address: String,
}

type RpcResult<T, E = openraft::error::Infallible> =
    std::result::Result<T, RPCError<u64, BasicNode, RaftError<u64, E>>>;

fn message<T: Serialize>(value: &T) -> Result<RaftMessage> {
    let payload = codec::encode(value)?.into();
    Ok(RaftMessage { payload, ..RaftMessage::default() })
}

/// Reads an answer, which counts only if it comes with the folder that its sender is known by.
async fn read<T: DeserializeOwned>(
    peers: &Peers,
    result: std::result::Result<Response<RaftMessage>, Status>,
) -> Result<T> {
    let response = result.map_err(|status| wire::error_of(&status))?.into_inner();
    if let Err(error) = peers.members.meet(&response.member).await {
        tracing::warn!(%error, "the answer of a member does not count");
        return Err(error);
    }
    peers.heard.note(&response.member, response.protocol_version);
    codec::decode(&response.payload)
}

/// A member that is away is tried again after a pause, any other failure at once.
fn rpc_error<E: std::error::Error>(error: Error) -> RPCError<u64, BasicNode, E> {
    match error.kind() {
        ErrorKind::DeadlineExceeded => RPCError::Network(NetworkError::new(&error)),
        _ => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

impl Connection {
    async fn send_append(
        &self,
        rpc: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<u64>> {
        let peers = &self.network.peers;
        let request = peers.request(message(&rpc)?);
        let sent = peers.raft(&self.address)?.append_entries(request).await;
        read(peers, sent).await
    }

    async fn send_vote(&self, rpc: VoteRequest<u64>) -> Result<VoteResponse<u64>> {
        let peers = &self.network.peers;
        let request = peers.request(message(&rpc)?);
        let sent = peers.raft(&self.address)?.vote(request).await;
        read(peers, sent).await
    }

    async fn send_snapshot(
        &self,
        vote: Vote<u64>,
        folder: SnapshotFolder,
    ) -> Result<SnapshotResponse<u64>> {
        let header = SnapshotHeader { vote: (&vote).into(), manifest: folder.manifest()?.clone() };
        let header = SnapshotChunk { chunk: Some(Chunk::Header(codec::encode(&header)?.into())) };
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        let reader =
            self.network.tasks.spawn(async move { send_files(folder, header, chunks).await });
        let peers = &self.network.peers;
        let request = peers.request(ReceiverStream::new(stream));
        let sent = peers.raft(&self.address)?.install_snapshot(request).await;
        if let Ok(Some(Err(error))) = reader.await {
            return Err(error.context("a snapshot cannot be read"));
        }
        let vote: StoredVote = read(peers, sent).await?;
        Ok(SnapshotResponse::new(vote.into()))
    }
}

/// Sends the header and then the files, one after the other.
async fn send_files(
    folder: SnapshotFolder,
    header: SnapshotChunk,
    chunks: mpsc::Sender<SnapshotChunk>,
) -> Result<()> {
    let mut open = chunks.send(header).await.is_ok();
    for (name, bytes) in &folder.manifest()?.files {
        let failed = |error: std::io::Error| Error::internal(format!("file {name}: {error}"));
        let mut file = tokio::fs::File::open(folder.file(name)?).await.map_err(failed)?;
        let mut left = *bytes as usize;
        while open && left > 0 {
            let mut data = vec![0; left.min(CHUNK_BYTES)];
            file.read_exact(&mut data).await.map_err(failed)?;
            left -= data.len();
            let chunk = SnapshotChunk { chunk: Some(Chunk::Data(data.into())) };
            open = chunks.send(chunk).await.is_ok(); // Else the receiver has refused it.
        }
    }
    Ok(())
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        self.send_append(rpc).await.map_err(rpc_error)
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        // Whole snapshots are sent by `full_snapshot`, which does not use this.
        Err(rpc_error(Error::internal("snapshots are not sent in pieces")))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> RpcResult<VoteResponse<u64>> {
        self.send_vote(rpc).await.map_err(rpc_error)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> std::result::Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let send = self.send_snapshot(vote, *snapshot.snapshot);
        let limited = tokio::time::timeout(SNAPSHOT_LIMIT, send);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = limited => match sent {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(error)) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
                Err(late) => Err(StreamingError::Network(AnyError::new(&late).into())),
            },
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
