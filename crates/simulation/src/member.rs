//! A member of the metadata group: the consensus library, the leases and the controller's decisions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_catalog::{
    ClusterChange, Command, CommandBody, Heartbeat, HeartbeatReply, LeaseHolder, Outcome, Snapshot,
    protocol,
};
use granary_common::{CatalogVersion, Clock, ClusterId, Error, Result};
use granary_metadata::Retention;
use granary_metadata::decisions::{Leases, Resumed, View, decide};
use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::impls::BasicNode;
use openraft::{Config, SnapshotPolicy};
use tokio::sync::watch;

use crate::clock::HostClock;
use crate::cluster::{Cluster, MEMBERS};
use crate::executor;
use crate::net::Host;
use crate::raft::{Machine, MemberDisk, Proposal, Raft};
use crate::reform::address_of;
use crate::ways::Ways;

const RAFT_HEARTBEAT_MS: u64 = 200;
/// The shortest time without a sign of the leader; each member waits longer by its own amount.
const ELECTION_MS: u64 = 700;
/// Entries between two snapshots, and kept behind one.
const SNAPSHOT_EVERY: u64 = 150;
const ENTRIES_KEPT: u64 = 30;
/// For how long heartbeats hold, and a dead worker is waited for.
const LEASE_MS: u64 = 6_000;
const WORKER_LEASE_MS: u64 = 3_000;
/// For how long parts of a long insert are kept that nobody adds to.
const STAGED_FOR: Duration = Duration::from_secs(15);
const REPLACE_AFTER_MS: u64 = 12_000;
const CONTROLLER_TICK: Duration = Duration::from_millis(500);
const HOUSEKEEPING_EVERY: u64 = 4;
pub(crate) const COMMAND_LIMIT: Duration = Duration::from_secs(5);
const READ_LIMIT: Duration = Duration::from_secs(2);

/// A member in one life.
pub struct Member {
    number: u64,
    resumed: Option<Resumed>,
    pub raft: Raft,
    cluster: Arc<Cluster>,
    clock: Arc<HostClock>,
    leases: Leases,
    state: watch::Receiver<Arc<Snapshot>>,
    retention: Retention,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("number", &self.number).finish_non_exhaustive()
    }
}

/// An answer of a member, unless another one has to be asked.
#[derive(Debug)]
pub enum Answer<T> {
    Done(Result<T>),
    Elsewhere(Option<u64>),
}

impl Member {
    /// Starts the member of a host on its disk.
    pub async fn start(
        cluster: &Arc<Cluster>,
        number: u64,
        disk: &MemberDisk,
        clock: Arc<HostClock>,
    ) -> Arc<Member> {
        let host = Host::Metadata(number);
        let life = cluster.net.start(host);
        let is_new = life == 1;
        let disk = disk.reopen(life);
        let resumed = disk.resumed(number);
        let (machine, state) = Machine::open(disk.clone());
        // One value a member, so that only the seed decides who stands for election.
        let election_ms = ELECTION_MS + 160 * (1 + number % 4) + cluster.net.pick(0..150);
        let config = Config {
            cluster_name: "simulated".to_owned(),
            heartbeat_interval: RAFT_HEARTBEAT_MS,
            election_timeout_min: election_ms,
            election_timeout_max: election_ms + 1,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
            max_in_snapshot_log_to_keep: ENTRIES_KEPT,
            ..Config::default()
        };
        let ways = Ways { cluster: Arc::clone(cluster), from: host, life };
        let raft = Raft::new(number, Arc::new(config), ways, disk, machine);
        let raft = raft.await.expect("an empty or a whole disk");
        let member = Arc::new(Member {
            number,
            resumed,
            raft,
            cluster: Arc::clone(cluster),
            clock,
            leases: Leases::default(),
            state,
            retention: Retention { staged: STAGED_FOR, ..Retention::default() },
        });
        cluster.put_member(number, Arc::clone(&member));
        if is_new && number == 1 {
            let all: BTreeMap<u64, BasicNode> =
                (1..=MEMBERS).map(|id| (id, BasicNode::new(address_of(id)))).collect();
            // Refused only when the group was formed before.
            let _ = member.raft.initialize(all).await;
        }
        drop(cluster.net.spawn(host, Arc::clone(&member).perform()));
        member
    }

    /// The member's host has died.
    pub fn die(cluster: &Arc<Cluster>, number: u64) {
        let host = Host::Metadata(number);
        cluster.net.kill(host);
        if let Some(member) = cluster.member(number) {
            // The library's own tasks end by themselves: their disk and network are gone.
            let raft = member.raft.clone();
            drop(cluster.net.spawn(Host::Client, async move { raft.shutdown().await.is_ok() }));
        }
        cluster.remove(host);
    }

    /// What the member has applied.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.borrow())
    }

    pub(crate) fn leads(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        (metrics.current_leader == Some(self.number)).then_some(metrics.current_term)
    }

    /// Puts a command through the log.
    pub async fn propose(
        &self,
        body: CommandBody,
    ) -> Answer<(CatalogVersion, Outcome, Arc<Snapshot>)> {
        if protocol::check(&body, &self.snapshot()).is_err() {
            // A member that is behind the others may not know yet what they speak.
            let checked = match self.read().await {
                Answer::Done(snapshot) => snapshot.and_then(|now| protocol::check(&body, &now)),
                Answer::Elsewhere(leader) => return Answer::Elsewhere(leader),
            };
            if let Err(error) = checked {
                return Answer::Done(Err(error));
            }
        }
        let command = Command { time_ms: self.clock.now_ms(), body };
        let proposal = Proposal { command, written: Arc::default() };
        let written = Arc::clone(&proposal.written);
        let write = executor::timeout(COMMAND_LIMIT, self.raft.client_write(proposal)).await;
        let unknown = |why: String| Answer::Done(Err(Error::deadline(why)));
        match write {
            Ok(Ok(response)) => {
                let version = CatalogVersion(response.log_id.index);
                let outcome = response.data.into_result();
                Answer::Done(outcome.map(|outcome| (version, outcome, self.snapshot())))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(leader))))
                if !written.load(Ordering::SeqCst) =>
            {
                Answer::Elsewhere(leader.leader_id)
            }
            Ok(Err(error)) if !written.load(Ordering::SeqCst) => {
                Answer::Done(Err(Error::unavailable(error.to_string())))
            }
            Ok(Err(error)) => unknown(error.to_string()),
            Err(_) => unknown("no majority has answered".to_owned()),
        }
    }

    /// A state that holds everything acknowledged before the call.
    pub async fn read(&self) -> Answer<Arc<Snapshot>> {
        let version = match executor::timeout(READ_LIMIT, self.raft.get_read_log_id()).await {
            Ok(Ok((position, _))) => {
                let position = position.map_or(0, |id| id.index);
                CatalogVersion(Resumed::read_position(self.resumed, position, self.leads()))
            }
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(leader)))) => {
                return Answer::Elsewhere(leader.leader_id);
            }
            Ok(Err(error)) => return Answer::Done(Err(Error::unavailable(error.to_string()))),
            Err(_) => return Answer::Done(Err(Error::unavailable("no majority has answered"))),
        };
        let mut state = self.state.clone();
        let reached = state.wait_for(|state| state.version >= version);
        let reached = executor::timeout(READ_LIMIT, reached).await;
        match reached {
            Ok(Ok(state)) => Answer::Done(Ok(Arc::clone(&state))),
            _ => Answer::Done(Err(Error::unavailable("this member lags behind"))),
        }
    }

    /// Renews a lease, if this member certainly leads.
    pub async fn heartbeat(&self, heartbeat: Heartbeat) -> Answer<HeartbeatReply> {
        let snapshot = match self.read().await {
            Answer::Done(Ok(snapshot)) => snapshot,
            Answer::Done(Err(error)) => return Answer::Done(Err(error)),
            Answer::Elsewhere(leader) => return Answer::Elsewhere(leader),
        };
        let Some(term) = self.leads() else { return Answer::Elsewhere(None) };
        let now_ms = self.clock.monotonic_ms();
        let lease_ms = match heartbeat.holder {
            LeaseHolder::Worker { .. } => WORKER_LEASE_MS,
            LeaseHolder::Coordinator { .. } => LEASE_MS,
        };
        let renewed = self.leases.renew(term, now_ms, heartbeat, snapshot.version, &snapshot);
        let coordinators = self.leases.coordinators(now_ms, LEASE_MS);
        Answer::Done(renewed.map(|()| HeartbeatReply { lease_ms, coordinators }))
    }

    /// What the leader does besides answering.
    async fn perform(self: Arc<Member>) {
        let host = Host::Metadata(self.number);
        for looks in 0_u64.. {
            self.clock.sleep(CONTROLLER_TICK).await;
            self.cluster.net.breathe(host).await;
            if let Some(term) = self.leads() {
                for command in self.decide(term, looks.is_multiple_of(HOUSEKEEPING_EVERY)) {
                    // The next look decides anew.
                    let _ = self.propose(command).await;
                }
            }
        }
    }

    fn decide(&self, term: u64, housekeeping: bool) -> Vec<CommandBody> {
        let snapshot = self.snapshot();
        if snapshot.cluster.is_none() {
            let cluster = ClusterId("simulated".to_owned());
            return vec![CommandBody::InitCluster { cluster }];
        }
        if snapshot.protocol() < PROTOCOL_VERSION {
            let raise = ClusterChange::RaiseProtocol { version: PROTOCOL_VERSION };
            return vec![CommandBody::Cluster(raise)];
        }
        let now_ms = self.clock.monotonic_ms();
        let leases = self.leases.observe(term, now_ms, LEASE_MS, &snapshot);
        decide(&View {
            snapshot: &snapshot,
            leases: &leases,
            now_ms,
            wall_ms: self.clock.now_ms(),
            lease_ms: LEASE_MS,
            worker_lease_ms: WORKER_LEASE_MS,
            replace_after_ms: REPLACE_AFTER_MS,
            housekeeping,
            retention: &self.retention,
        })
    }
}
