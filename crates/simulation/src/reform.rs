//! Changes of who is in the metadata group: a member whose disk is lost is replaced under a new id, and
//! one is added and removed again.

use std::collections::BTreeSet;
use std::time::Duration;

use granary_catalog::{Catalog, MemberChange};
use granary_common::{Error, ErrorKind, NodeId, Result};
use granary_metadata::decisions::{
    GroupMember, GroupView, MemberStep, step_to_add, step_to_remove,
};
use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use openraft::impls::BasicNode;

use crate::clients::Clients;
use crate::executor;
use crate::faults::Machines;
use crate::member::{Answer, COMMAND_LIMIT, Member};
use crate::net::Host;

const PAUSE_MS: std::ops::Range<u64> = 3_000..20_000;
/// For how long a member that is not needed stays.
const STAYS_MS: std::ops::Range<u64> = 500..8_000;
const RETRY: Duration = Duration::from_millis(300);
/// For how long a new member may take to receive the state before it votes.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);

impl Member {
    /// The group as this member knows it, with its own list of who is in it.
    fn view<'a>(&self, members: &'a [(u64, String, bool)]) -> GroupView<'a> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let newest = &metrics.membership_config;
        let of = |(node, address, votes): &'a (u64, String, bool)| GroupMember {
            node: *node,
            address,
            votes: *votes,
        };
        GroupView {
            members: members.iter().map(of).collect(),
            is_certain: *newest.log_id() <= metrics.last_applied,
            is_between: newest.membership().get_joint_config().len() > 1,
        }
    }

    fn members(&self) -> Vec<(u64, String, bool)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let of = |(id, node): (&u64, &BasicNode)| (*id, node.addr.clone(), voters.contains(id));
        membership.nodes().map(of).collect()
    }

    /// What this member knows of the group: who is in it, whether that is certain, and nothing is
    /// half-done.
    pub fn group(&self) -> (BTreeSet<u64>, bool) {
        let members = self.members();
        let view = self.view(&members);
        let numbers = members.iter().map(|(number, ..)| *number).collect();
        (numbers, view.is_certain && !view.is_between)
    }

    /// Adds or removes a member, on the leader.
    pub async fn change_member(&self, change: MemberChange) -> Answer<()> {
        if self.leads().is_none() {
            return Answer::Elsewhere(self.raft.metrics().borrow().current_leader);
        }
        // One that was replaced without knowing it would answer from what it knew.
        match self.read().await {
            Answer::Done(Ok(_)) => {}
            Answer::Done(Err(error)) => return Answer::Done(Err(error)),
            Answer::Elsewhere(leader) => return Answer::Elsewhere(leader),
        }
        Answer::Done(match change {
            MemberChange::Add { node, address } => self.add(node.0, address).await,
            MemberChange::Remove { node } => self.remove(node.0).await,
        })
    }

    async fn add(&self, node: u64, address: String) -> Result<()> {
        let members = self.members();
        let voting = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        // Every new one has a number that was never used.
        match step_to_add(&self.view(&members), node, &address, false)? {
            MemberStep::Nothing => return Ok(()),
            MemberStep::Vote => return self.change(voting).await,
            _ => {}
        }
        let learn = self.raft.add_learner(node, BasicNode::new(address), true);
        let learned = executor::timeout(CATCH_UP_LIMIT, learn).await;
        let learned = learned.map_err(|_| Error::deadline("the new member has not caught up"))?;
        learned.map_err(|error| change_error(&error))?;
        self.change(voting).await
    }

    async fn remove(&self, node: u64) -> Result<()> {
        let members = self.members();
        let leaving = BTreeSet::from([node]);
        match step_to_remove(&self.view(&members), node)? {
            MemberStep::RemoveVoter => self.change(ChangeMembers::RemoveVoters(leaving)).await,
            MemberStep::RemoveNode => self.change(ChangeMembers::RemoveNodes(leaving)).await,
            _ => Ok(()),
        }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<()> {
        let changed = self.raft.change_membership(change, false);
        let changed = executor::timeout(COMMAND_LIMIT, changed).await;
        let changed = changed.map_err(|_| Error::deadline("no majority has agreed"))?;
        changed.map(drop).map_err(|error| change_error(&error))
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

impl Clients {
    /// Changes the group again and again; what was begun is brought to its end.
    pub(crate) async fn reform(&self, machines: &Machines) {
        while !self.is_over() {
            self.pause(PAUSE_MS).await;
            let leaving = match self.cluster.net.pick(0..3) {
                0 => None,
                _ => Some(machines.lose_any_member()),
            };
            let new = machines.add_member().await;
            self.change_group(MemberChange::Add { node: NodeId(new), address: address_of(new) })
                .await;
            let leaving = match leaving {
                Some(leaving) => leaving,
                None => {
                    self.pause(STAYS_MS).await;
                    new
                }
            };
            self.change_group(MemberChange::Remove { node: NodeId(leaving) }).await;
            machines.forget_member(leaving);
        }
    }

    async fn change_group(&self, change: MemberChange) {
        self.cluster.note(format!("{change:?}"));
        loop {
            match self.catalog.change_member(change.clone()).await {
                Ok(()) => break,
                // It has gone before, and the answer was lost.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => self.complain(&error, "a change of the members"),
            }
            executor::sleep(RETRY).await;
        }
        self.cluster.note("the group is changed");
    }
}

/// The address of a member.
pub fn address_of(number: u64) -> String {
    format!("m{number}")
}

impl Machines {
    /// A member dies and its disk with it; gives which one.
    fn lose_any_member(&self) -> u64 {
        let number = self.any_member();
        self.cluster.note(format!("the disk of member {number} is lost"));
        self.lose_member(number);
        number
    }

    /// Starts a member on a machine of its own, which nobody knows yet.
    async fn add_member(&self) -> u64 {
        let number = self.new_member();
        self.cluster.put_address(number);
        self.start(Host::Metadata(number)).await;
        number
    }

    /// A member that was removed is switched off.
    fn forget_member(&self, number: u64) {
        self.lose_member(number);
        self.cluster.remove_address(number);
    }
}
