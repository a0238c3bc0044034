//! What any member can do for a caller: by itself when it leads, else through the leader.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use granary_catalog::remote::wire::{self, within};
use granary_catalog::{
    BucketPlacement, Command, CommandBody, Heartbeat, HeartbeatReply, LeaseHolder, Outcome, codec,
    protocol,
};
use granary_common::{CatalogVersion, Clock, Error, ErrorKind, NodeId, Result};
use granary_proto::internal::metadata_client::MetadataClient;
use granary_proto::internal::{
    ExecuteRequest, HeartbeatRequest, PlanPlacementsRequest, ReadVersionRequest,
};
use openraft::error::{CheckIsLeaderError, ClientWriteError, ForwardToLeader, RaftError};
use openraft::impls::BasicNode;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::config::{Retention, Timing};
use crate::controller::View;
use crate::dry_run;
use crate::duties::{observed, view};
use crate::feed::Feed;
use crate::leases::Leases;
use crate::peers::Peers;
use crate::raft::{Proposal, Raft, Reply};
use crate::resumed::Resumed;
use crate::space::Space;

/// Pause before the group is asked again while it has no leader.
const PAUSE: Duration = Duration::from_millis(50);
/// For how long a call waits for the group to have a leader.
const LEADER_LIMIT: Duration = Duration::from_secs(6);
/// For how long another member may take to answer what changes nothing.
const READ_LIMIT: Duration = Duration::from_secs(3);
/// Bytes of one command. A longer insert stages its parts by several.
const COMMAND_BYTES_MAX: usize = 16 << 20;

/// One member's handle to its group.
#[derive(Clone)]
pub(crate) struct Group {
    pub node: NodeId,
    /// Set when it led as it stopped.
    pub resumed: Option<Resumed>,
    pub raft: Raft,
    pub feed: Arc<Feed>,
    pub peers: Arc<Peers>,
    pub leases: Arc<Leases>,
    pub clock: Arc<dyn Clock>,
    pub timing: Timing,
    pub retention: Retention,
    pub space: Arc<Space>,
}

/// Whether a call may be passed on to the leader, or was passed on already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    First,
    Forwarded,
}

/// Who should have been asked.
type Elsewhere = ForwardToLeader<u64, BasicNode>;

/// Why an attempt did not end the call.
enum Attempt<T> {
    Done(Result<T>),
    /// Certainly nothing was done here.
    Elsewhere(Elsewhere),
}

impl Group {
    /// The term in which this node leads, if it does.
    pub fn leads(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        (metrics.current_leader == Some(self.node.0)).then_some(metrics.current_term)
    }

    /// Runs a command. Kinds as in [`granary_catalog::Catalog::execute`].
    pub async fn execute(&self, body: CommandBody, hop: Hop) -> Result<(CatalogVersion, Outcome)> {
        let (version, reply) = self.run(body, hop).await?;
        Result::from(reply).map(|outcome| (version, outcome))
    }

    /// Runs a command. An error means that it did not go through the log, or that this is unknown;
    /// a refusal by the catalog is a reply, and asking again for it would not help.
    pub async fn run(&self, body: CommandBody, hop: Hop) -> Result<(CatalogVersion, Reply)> {
        self.check_protocol(&body, hop).await?;
        let request = codec::encode(&body)?;
        if request.len() > COMMAND_BYTES_MAX {
            return Err(Error::exhausted(format!(
                "a change of the catalog takes {} bytes and {COMMAND_BYTES_MAX} are the limit; \
                 stage its parts by several commands",
                request.len()
            )));
        }
        let request = bytes::Bytes::from(request);
        self.lead_or_forward(
            hop,
            true,
            || self.propose(body.clone()),
            |mut leader| {
                let request = self.peers.forwarded(ExecuteRequest { command: request.clone() });
                async move { leader.execute(request).await }
            },
            |response| Ok((CatalogVersion(response.version), Reply::of_response(&response)?)),
        )
        .await
    }

    /// Refuses what some node could not read. A member that is behind the others may not know yet what
    /// they speak by now, so it refuses only with everything that was acknowledged before the call.
    async fn check_protocol(&self, body: &CommandBody, hop: Hop) -> Result<()> {
        if protocol::check(body, &self.feed.snapshot()).is_ok() {
            return Ok(());
        }
        let version = self.read_version(hop).await?;
        let limit = self.timing.command_limit;
        match within(&*self.clock, limit, self.feed.reached(version)).await {
            Some(snapshot) => protocol::check(body, &snapshot),
            None => Err(Error::unavailable(format!("node {} is behind the others", self.node))),
        }
    }

    /// Runs a command on this node, which must lead.
    pub async fn execute_here(&self, body: CommandBody) -> Result<(CatalogVersion, Outcome)> {
        protocol::check(&body, &self.feed.snapshot())?;
        match self.propose(body).await {
            Attempt::Done(result) => {
                let (version, reply) = result?;
                Result::from(reply).map(|outcome| (version, outcome))
            }
            Attempt::Elsewhere(_) => Err(Error::unavailable("this node does not lead any more")),
        }
    }

    async fn propose(&self, body: CommandBody) -> Attempt<(CatalogVersion, Reply)> {
        // Only the leader's disk is looked at: a majority goes on without the others.
        if self.leads().is_some()
            && let Err(error) = self.space.check(&body, self.clock.monotonic_ms())
        {
            return Attempt::Done(Err(error));
        }
        let command = Command { time_ms: self.clock.now_ms(), body };
        let (proposal, written) = Proposal::new(command);
        let limit = self.timing.command_limit;
        let write = within(&*self.clock, limit, self.raft.client_write(proposal)).await;
        let unknown = |why: String| Attempt::Done(Err(Error::deadline(why)));
        match write {
            Some(Ok(response)) => {
                let version = CatalogVersion(response.log_id.index);
                Attempt::Done(Ok((version, response.data)))
            }
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(leader)))) => {
                match written.load(Ordering::SeqCst) {
                    false => Attempt::Elsewhere(leader),
                    true => unknown("the leader changed while a command was on its way".to_owned()),
                }
            }
            Some(Err(error)) => match written.load(Ordering::SeqCst) {
                false => Attempt::Done(Err(Error::unavailable(error.to_string()))),
                true => unknown(error.to_string()),
            },
            None => unknown(format!("no majority of the metadata group has answered in {limit:?}")),
        }
    }

    /// A version that holds everything acknowledged before the call.
    pub async fn read_version(&self, hop: Hop) -> Result<CatalogVersion> {
        self.lead_or_forward(
            hop,
            false,
            || self.confirm_version(),
            |mut leader| {
                let request = self.peers.forwarded(ReadVersionRequest {});
                async move { leader.read_version(request).await }
            },
            |response| Ok(CatalogVersion(response.version)),
        )
        .await
    }

    /// The newest committed position, once a majority confirms that this node still leads.
    async fn confirm_version(&self) -> Attempt<CatalogVersion> {
        let confirm = within(&*self.clock, READ_LIMIT, self.raft.get_read_log_id());
        match confirm.await {
            Some(Ok((position, _))) => {
                let position = position.map_or(0, |id| id.index);
                let position = Resumed::read_position(self.resumed, position, self.leads());
                Attempt::Done(Ok(CatalogVersion(position)))
            }
            Some(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(leader)))) => {
                Attempt::Elsewhere(leader)
            }
            Some(Err(error)) => Attempt::Done(Err(Error::unavailable(error.to_string()))),
            None => Attempt::Done(Err(Error::unavailable("the metadata group does not answer"))),
        }
    }

    /// Renews a lease. A majority confirms the leader first, so that no lease is granted by a node
    /// that was replaced without knowing it.
    pub async fn heartbeat(&self, heartbeat: Heartbeat, hop: Hop) -> Result<HeartbeatReply> {
        let request = bytes::Bytes::from(codec::encode(&heartbeat)?);
        self.lead_or_forward(
            hop,
            false,
            || self.grant(heartbeat.clone()),
            |mut leader| {
                let request = HeartbeatRequest { heartbeat: request.clone() };
                let request = self.peers.forwarded(request);
                async move { leader.heartbeat(request).await }
            },
            |response| codec::decode(&response.reply),
        )
        .await
    }

    async fn grant(&self, heartbeat: Heartbeat) -> Attempt<HeartbeatReply> {
        let version = match self.confirm_version().await {
            Attempt::Done(Ok(version)) => version,
            Attempt::Done(Err(error)) => return Attempt::Done(Err(error)),
            Attempt::Elsewhere(leader) => return Attempt::Elsewhere(leader),
        };
        let Some(term) = self.leads() else { return Attempt::Elsewhere(Elsewhere::empty()) };
        let snapshot = self.feed.reached(version).await;
        let now_ms = self.clock.monotonic_ms();
        let lease_ms = self.timing.lease.as_millis() as u64;
        let granted = match heartbeat.holder {
            LeaseHolder::Worker { .. } => self.timing.worker_lease,
            LeaseHolder::Coordinator { .. } => self.timing.lease,
        };
        let renewed = self.leases.renew(term, now_ms, heartbeat, version, &snapshot);
        Attempt::Done(renewed.map(|()| HeartbeatReply {
            lease_ms: granted.as_millis() as u64,
            coordinators: self.leases.coordinators(now_ms, lease_ms),
        }))
    }

    /// What the controller would do with buckets. Only the leader knows who is alive.
    pub async fn planned_placements(&self, hop: Hop) -> Result<Vec<BucketPlacement>> {
        self.lead_or_forward(
            hop,
            false,
            || self.plan_here(),
            |mut leader| {
                let request = self.peers.forwarded(PlanPlacementsRequest {});
                async move { leader.plan_placements(request).await }
            },
            |response| codec::decode(&response.placements),
        )
        .await
    }

    async fn plan_here(&self) -> Attempt<Vec<BucketPlacement>> {
        let version = match self.confirm_version().await {
            Attempt::Done(Ok(version)) => version,
            Attempt::Done(Err(error)) => return Attempt::Done(Err(error)),
            Attempt::Elsewhere(leader) => return Attempt::Elsewhere(leader),
        };
        let Some(term) = self.leads() else { return Attempt::Elsewhere(Elsewhere::empty()) };
        let snapshot = self.feed.reached(version).await;
        let leases = observed(self, term, &snapshot);
        // As if it were time for everything.
        let view = View { wall_ms: 0, ..view(self, &snapshot, &leases, true) };
        let planned = dry_run::placements(&view).await;
        Attempt::Done(Ok(planned))
    }

    /// Does `here` if this node leads, else asks the leader, and looks for the leader while there
    /// is none. What `changes` something is asked for again only if nothing was done.
    async fn lead_or_forward<T, R, Here, There>(
        &self,
        hop: Hop,
        changes: bool,
        here: impl Fn() -> Here,
        there: impl Fn(MetadataClient<Channel>) -> There,
        read: impl Fn(R) -> Result<T>,
    ) -> Result<T>
    where
        Here: Future<Output = Attempt<T>>,
        There: Future<Output = Result<Response<R>, Status>>,
    {
        let give_up_ms = self.clock.monotonic_ms() + LEADER_LIMIT.as_millis() as u64;
        loop {
            let result = match here().await {
                Attempt::Done(result) => result,
                Attempt::Elsewhere(_) if hop == Hop::Forwarded => {
                    return Err(Error::unavailable(format!("node {} does not lead", self.node)));
                }
                Attempt::Elsewhere(leader) => match self.address_of(&leader) {
                    Some(found) => self.ask(found, changes, &there).await.and_then(&read),
                    None => Err(Error::unavailable("the metadata group has no leader; try again")),
                },
            };
            let again = match &result {
                Ok(_) => false,
                Err(error) if changes => error.kind() == ErrorKind::Unavailable,
                Err(error) => wire::is_transient(error),
            };
            if !again || hop == Hop::Forwarded || self.clock.monotonic_ms() >= give_up_ms {
                return result;
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    fn address_of(&self, leader: &Elsewhere) -> Option<(u64, String)> {
        let id = leader.leader_id.filter(|id| *id != self.node.0)?;
        let address = match &leader.leader_node {
            Some(node) => node.addr.clone(),
            None => {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow();
                metrics.membership_config.membership().get_node(&id)?.addr.clone()
            }
        };
        Some((id, address))
    }

    async fn ask<R, There>(
        &self,
        (leader, address): (u64, String),
        changes: bool,
        there: &impl Fn(MetadataClient<Channel>) -> There,
    ) -> Result<R>
    where
        There: Future<Output = Result<Response<R>, Status>>,
    {
        let limit = if changes { self.timing.command_limit } else { READ_LIMIT };
        let asking = there(self.peers.metadata(&address)?);
        let answer = async {
            tokio::select! {
                biased;
                answer = asking => Some(answer),
                // One that was stopped in its tracks never answers.
                () = self.replaced(leader) => None,
            }
        };
        match within(&*self.clock, limit, answer).await.flatten() {
            Some(Ok(response)) => Ok(response.into_inner()),
            Some(Err(status)) => Err(wire::error_of(&status)),
            None => Err(Error::deadline("the leader of the metadata group has not answered")),
        }
    }

    /// Waits until this member has followed `leader` and does so no more.
    async fn replaced(&self, leader: u64) {
        let mut metrics = self.raft.metrics();
        let following = metrics.wait_for(|now| now.current_leader == Some(leader)).await.is_ok();
        let left = metrics.wait_for(|now| now.current_leader != Some(leader)).await.is_ok();
        if !(following && left) {
            // The group stops, and so does every call.
            std::future::pending().await
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("node", &self.node).finish_non_exhaustive()
    }
}
