//! Adding and removing members.

use std::collections::BTreeSet;

use granary_catalog::remote::wire::within;
use granary_common::{Error, NodeId, Result};
use granary_proto::internal::change_membership_request::Change;
use granary_proto::internal::{ChangeMembershipRequest, Member};
use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use openraft::impls::BasicNode;

use crate::group::{Group, Hop};

/// For how long a new member may take to receive the state before it votes.
const CATCH_UP_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

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
        match change {
            Change::Add(member) => self.add_member(member).await?,
            Change::RemoveNodeId(node) => self.remove_member(node).await?,
        }
        Ok(self.members())
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
        let known = self.members();
        let current = known.iter().find(|known| known.node_id == node);
        match current {
            Some(known) if known.address != member.address => {
                return Err(Error::already_exists(format!(
                    "metadata node {node} is a member already, at {}",
                    known.address
                )));
            }
            Some(known) if known.voter => return Ok(()),
            Some(_) => {}
            None if self.feed.knew_node(node) => {
                return Err(Error::invalid(format!(
                    "metadata node {node} was removed from this group; give the new member an id \
                     that was never used"
                )));
            }
            None => {}
        }
        let address = BasicNode { addr: member.address };
        let learn = self.raft.add_learner(node, address, true);
        let learned = within(&*self.clock, CATCH_UP_LIMIT, learn).await.ok_or_else(|| {
            Error::deadline(format!(
                "metadata node {node} has not caught up in {CATCH_UP_LIMIT:?}; it stays without \
                 a vote, ask again once it runs"
            ))
        })?;
        learned.map_err(|error| change_error(&error))?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await
    }

    async fn remove_member(&self, node: u64) -> Result<()> {
        let known = self.members();
        let Some(member) = known.iter().find(|known| known.node_id == node) else {
            return Err(Error::not_found(format!("metadata node {node} is not a member")));
        };
        let voters = known.iter().filter(|known| known.voter).count();
        match member.voter {
            true if voters == 1 => {
                let only = NodeId(node);
                Err(Error::invalid(format!("metadata node {only} is the last one that votes")))
            }
            true => self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node]))).await,
            false => self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await,
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
