//! Raft's messages from the other members.

use std::path::PathBuf;
use std::sync::Arc;

use granary_catalog::codec;
use granary_catalog::remote::wire;
use granary_common::{Error, Result};
use granary_proto::internal::raft_server;
use granary_proto::internal::{RaftMessage, SnapshotChunk, snapshot_chunk::Chunk};
use granary_proto::status::to_status;
use openraft::raft::AppendEntriesRequest;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tonic::{Request, Response, Status, Streaming};

use super::network::SnapshotHeader;
use super::{Raft, TypeConfig};
use crate::peers::Peers;
use crate::store::entry::StoredVote;
use crate::store::io_error;
use crate::store::snapshot::SnapshotFolder;

/// Serves the other members.
#[derive(Clone)]
pub(crate) struct RaftService {
    pub raft: Raft,
    pub peers: Arc<Peers>,
    pub incoming: PathBuf,
}

fn answer<T: Serialize, E: std::fmt::Display>(
    peers: &Peers,
    result: std::result::Result<T, E>,
) -> Result<Response<RaftMessage>, Status> {
    let answer = result.map_err(|error| Error::unavailable(format!("this member: {error}")));
    let payload = answer.and_then(|answer| codec::encode(&answer));
    let payload = payload.map_err(|error| to_status(&error))?;
    Ok(Response::new(RaftMessage {
        payload: payload.into(),
        member: peers.members.own_name(),
        protocol_version: peers.heard.own(),
    }))
}

impl RaftService {
    async fn payload(&self, request: Request<RaftMessage>) -> Result<bytes::Bytes, Status> {
        self.admit(&request).await?;
        Ok(request.into_inner().payload)
    }

    async fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let admitted = self.peers.admit(request).await;
        admitted.map_err(|error| {
            tracing::warn!(%error, "a message of another member is refused");
            to_status(&error)
        })
    }

    async fn receive(&self, mut stream: Streaming<SnapshotChunk>) -> Result<StoredVote> {
        let header = match next(&mut stream).await? {
            Some(Chunk::Header(bytes)) => codec::decode::<SnapshotHeader>(&bytes)?,
            _ => return Err(Error::invalid("a snapshot begins with its header")),
        };
        let folder = SnapshotFolder::receive(&self.incoming, &header.manifest)?;
        let mut rest = bytes::Bytes::new();
        for (name, length) in &header.manifest.files {
            rest = receive_file(&mut stream, &folder, name, *length, rest).await?;
        }
        let meta = header.manifest.meta();
        let snapshot = openraft::Snapshot { meta, snapshot: Box::new(folder) };
        let installed = self.raft.install_full_snapshot(header.vote.into(), snapshot).await;
        let response = installed.map_err(|error| Error::unavailable(error.to_string()))?;
        Ok((&response.vote).into())
    }
}

async fn next(stream: &mut Streaming<SnapshotChunk>) -> Result<Option<Chunk>> {
    let message = stream.message().await.map_err(|status| wire::error_of(&status))?;
    Ok(message.and_then(|message| message.chunk))
}

/// Writes and syncs one file; returns what came behind it.
async fn receive_file(
    stream: &mut Streaming<SnapshotChunk>,
    folder: &SnapshotFolder,
    name: &str,
    length: u64,
    mut rest: bytes::Bytes,
) -> Result<bytes::Bytes> {
    let path = folder.file(name)?;
    let failed = |error: std::io::Error| io_error("cannot write", &path, &error);
    let mut file = tokio::fs::File::create(&path).await.map_err(failed)?;
    let mut left = length;
    while left > 0 {
        if rest.is_empty() {
            rest = match next(stream).await? {
                Some(Chunk::Data(data)) => data,
                _ => return Err(Error::invalid("a snapshot ends in the middle of a file")),
            };
        }
        let part = rest.split_to(left.min(rest.len() as u64) as usize);
        file.write_all(&part).await.map_err(failed)?;
        left -= part.len() as u64;
    }
    file.sync_all().await.map_err(failed)?;
    Ok(rest)
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn append_entries(
        &self,
        request: Request<RaftMessage>,
    ) -> Result<Response<RaftMessage>, Status> {
        let payload = self.payload(request).await?;
        let rpc: AppendEntriesRequest<TypeConfig> =
            codec::decode(&payload).map_err(|error| to_status(&error))?;
        answer(&self.peers, self.raft.append_entries(rpc).await)
    }

    async fn vote(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        let payload = self.payload(request).await?;
        let rpc = codec::decode(&payload).map_err(|error| to_status(&error))?;
        answer(&self.peers, self.raft.vote(rpc).await)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RaftMessage>, Status> {
        self.admit(&request).await?;
        answer(&self.peers, self.receive(request.into_inner()).await)
    }
}
