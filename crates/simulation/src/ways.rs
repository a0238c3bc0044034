//! The way from one member of the metadata group to another.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::Vote;
use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, ReplicationClosed,
    StreamingError,
};
use openraft::impls::BasicNode;
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    SnapshotResponse, VoteRequest, VoteResponse,
};

use crate::cluster::Cluster;
use crate::executor;
use crate::net::{Host, Lost};
use crate::raft::{Raft, Types};

/// Before a member that cannot be reached is tried again.
const BACKOFF: Duration = Duration::from_millis(100);

/// The way from one member to others.
#[derive(Clone, Debug)]
pub struct Ways {
    pub cluster: Arc<Cluster>,
    pub from: Host,
    pub life: u64,
}

/// The way to one member.
#[derive(Debug)]
pub struct Way {
    ways: Ways,
    to: u64,
}

impl RaftNetworkFactory<Types> for Ways {
    type Network = Way;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Way {
        Way { ways: self.clone(), to: target }
    }
}

/// Always as a message that was lost: the library tries again by itself, in an order that the seed
/// decides alone.
fn lost<E: std::error::Error>(why: &str) -> RPCError<u64, BasicNode, E> {
    RPCError::Network(NetworkError::new(&std::io::Error::other(why.to_owned())))
}

type RpcResult<T, E = openraft::error::Infallible> =
    std::result::Result<T, RPCError<u64, BasicNode, RaftError<u64, E>>>;

impl Way {
    async fn ask<T, F>(
        &self,
        ask: impl FnOnce(Raft) -> F + Send + 'static,
    ) -> std::result::Result<T, &'static str>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let Ways { cluster, from, life } = &self.ways;
        if !cluster.net.is_alive(*from, *life) {
            executor::sleep(BACKOFF).await;
            return Err("the host is dead");
        }
        let (there, to) = (Arc::clone(cluster), self.to);
        let serve = move || async move {
            match there.member(to) {
                Some(member) => ask(member.raft.clone()).await,
                None => None,
            }
        };
        let why = match cluster.net.call(*from, Host::Metadata(to), serve).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => "refused",
            Err(Lost::NotSent) => "nobody listens",
            Err(Lost::Unknown) => return Err("no answer"),
        };
        executor::sleep(BACKOFF).await;
        Err(why)
    }
}

impl RaftNetwork<Types> for Way {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        let asked = self.ask(|raft| async move { raft.append_entries(rpc).await.ok() });
        asked.await.map_err(lost)
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        Err(lost("snapshots are sent whole"))
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, _: RPCOption) -> RpcResult<VoteResponse<u64>> {
        self.ask(|raft| async move { raft.vote(rpc).await.ok() }).await.map_err(lost)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: openraft::Snapshot<Types>,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> std::result::Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let asked = self
            .ask(move |raft| async move { raft.install_full_snapshot(vote, snapshot).await.ok() });
        asked
            .await
            .map_err(|why| StreamingError::Network(NetworkError::new(&std::io::Error::other(why))))
    }
}
