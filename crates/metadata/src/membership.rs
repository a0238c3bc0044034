//! Adding and removing members.

use std::collections::BTreeSet;

use granary_catalog::MetadataMember;
use granary_catalog::protocol::{self, FIRST_PROTOCOL};
use granary_catalog::remote::members::gather;
use granary_catalog::remote::wire::within;
use granary_common::{Error, Result};
use granary_proto::internal::change_membership_request::Change;
use granary_proto::internal::{ChangeMembershipRequest, Member, StatusRequest, StatusResponse};
use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use openraft::impls::BasicNode;

use crate::group::{Group, Hop};
use crate::members::{GroupMember, GroupView, MemberStep, step_to_add, step_to_remove};

/// For how long a new member may take to receive the state before it votes.
const CATCH_UP_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);
/// For how long a new member may take to say what it speaks.
const ASK_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

impl Group {
    /// The members as this node knows them.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let member = |(id, node): (&u64, &BasicNode)| Member {
            node_id: *id,
            address: node.addr.clone(),
            voter: voters.contains(id),
        };
        membership.nodes().map(member).collect()
    }

    /// What this node says of itself and of the group.
    pub fn status(&self) -> StatusResponse {
        let metrics = self.raft.metrics().borrow().clone();
        StatusResponse {
            node_id: self.node.0,
            leader_id: metrics.current_leader.unwrap_or(0),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            cluster_id: self.feed.cluster_id(),
            members: self.members(),
            protocol_version: self.peers.heard.own(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Every member with what it says of itself.
    pub async fn member_reports(&self) -> Vec<MetadataMember> {
        let ask = |member: &Member| {
            let mut client = self.peers.metadata(&member.address)?;
            let request = self.peers.request(StatusRequest {});
            Ok(async move { client.status(request).await })
        };
        gather(&*self.clock, self.status(), ask).await
    }

    /// What each member speaks, as far as it has said so.
    pub fn spoken(&self) -> Vec<Option<u32>> {
        let members = self.members();
        let of = |member: &Member| match member.node_id == self.node.0 {
            true => Some(self.peers.heard.own()),
            false => self.peers.heard.of(member.node_id),
        };
        members.iter().map(of).collect()
    }

    /// Refuses a new member of a build that could not read the log. One that does not answer may be
    /// on its way up.
    async fn check_speaks(&self, member: &Member) -> Result<()> {
        let mut client = self.peers.metadata(&member.address)?;
        let asked = client.status(self.peers.request(StatusRequest {}));
        match within(&*self.clock, ASK_LIMIT, asked).await {
            Some(Ok(status)) => {
                let who = format!("metadata node {} at {}", member.node_id, member.address);
                let speaks = status.get_ref().protocol_version.max(FIRST_PROTOCOL);
                protocol::check_node(&who, speaks, &self.feed.snapshot())
            }
            _ => Ok(()),
        }
    }

    /// Adds or removes a member, on the leader. A new member receives the state before it votes.
    pub async fn change_membership(
        &self,
        request: ChangeMembershipRequest,
        hop: Hop,
    ) -> Result<Vec<Member>> {
        let change = request.change.clone();
        let change = change.ok_or_else(|| Error::invalid("say whom to add or to remove"))?;
        if self.leads().is_none() {
            return self.change_elsewhere(request, hop).await;
        }
        self.confirm_lead().await?;
        match change {
            Change::Add(member) => self.add_member(member).await?,
            Change::RemoveNodeId(node) => self.remove_member(node).await?,
        }
        Ok(self.members())
    }

    /// Whether this node still leads, so that it knows every member: one that was replaced without
    /// knowing it would tell that a member is gone which others have let in meanwhile. Kind
    /// `Unavailable` otherwise.
    async fn confirm_lead(&self) -> Result<()> {
        let version = self.read_version(Hop::Forwarded).await?;
        let reached = self.feed.reached(version);
        let behind = || Error::unavailable(format!("node {} is behind the others", self.node));
        within(&*self.clock, self.timing.command_limit, reached).await.map(drop).ok_or_else(behind)
    }

    async fn change_elsewhere(
        &self,
        request: ChangeMembershipRequest,
        hop: Hop,
    ) -> Result<Vec<Member>> {
        let leader = self.raft.metrics().borrow().current_leader;
        let known = self.members();
        let leader = known.iter().find(|member| Some(member.node_id) == leader);
        let (Hop::First, Some(leader)) = (hop, leader) else {
            return Err(Error::unavailable("the metadata group has no leader; try again"));
        };
        let mut client = self.peers.metadata(&leader.address)?;
        let response = client.change_membership(self.peers.forwarded(request)).await;
        let response =
            response.map_err(|status| granary_catalog::remote::wire::error_of(&status))?;
        Ok(response.into_inner().members)
    }

    async fn add_member(&self, member: Member) -> Result<()> {
        let node = member.node_id;
        let (known, was_known) = (self.members(), self.feed.knew_node(node));
        let voting = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        match step_to_add(&self.view(&known), node, &member.address, was_known)? {
            MemberStep::Nothing => return Ok(()),
            MemberStep::Vote => return self.change(voting).await,
            _ => {}
        }
        self.check_speaks(&member).await?;
        let address = BasicNode { addr: member.address };
        let learn = self.raft.add_learner(node, address, true);
        let learned = within(&*self.clock, CATCH_UP_LIMIT, learn).await.ok_or_else(|| {
            Error::deadline(format!(
                "metadata node {node} has not caught up in {CATCH_UP_LIMIT:?}; it stays without \
                 a vote, ask again once it runs"
            ))
        })?;
        learned.map_err(|error| change_error(&error))?;
        self.change(voting).await
    }

    async fn remove_member(&self, node: u64) -> Result<()> {
        let known = self.members();
        let leaving = BTreeSet::from([node]);
        match step_to_remove(&self.view(&known), node)? {
            MemberStep::RemoveVoter => self.change(ChangeMembers::RemoveVoters(leaving)).await,
            MemberStep::RemoveNode => self.change(ChangeMembers::RemoveNodes(leaving)).await,
            _ => Ok(()),
        }
    }

    /// The group with these members, as this node knows it.
    fn view<'a>(&self, members: &'a [Member]) -> GroupView<'a> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let newest = &metrics.membership_config;
        let members = members.iter().map(|member| GroupMember {
            node: member.node_id,
            address: &member.address,
            votes: member.voter,
        });
        GroupView {
            members: members.collect(),
            is_certain: *newest.log_id() <= metrics.last_applied,
            is_between: newest.membership().get_joint_config().len() > 1,
        }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<()> {
        let limit = self.timing.command_limit;
        let change = self.raft.change_membership(change, false);
        let changed = within(&*self.clock, limit, change).await.ok_or_else(|| {
            Error::deadline(format!("no majority has agreed to the new members in {limit:?}"))
        })?;
        changed.map(|_| ()).map_err(|error| change_error(&error))
    }
}

fn change_error(error: &RaftError<u64, ClientWriteError<u64, BasicNode>>) -> Error {
    match error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            Error::conflict(error.to_string())
        }
        other => Error::unavailable(other.to_string()),
    }
}
