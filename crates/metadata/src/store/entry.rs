//! The stored forms of what Raft relies on: our own, so that neither the library's types nor their
//! serialisation can change what is on disk.

use std::collections::{BTreeMap, BTreeSet};

use granary_catalog::Command;
use openraft::impls::BasicNode;
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, Membership, StoredMembership, Vote};
use serde::{Deserialize, Serialize};

use crate::raft::{Proposal, TypeConfig};

/// A position in the log, with the leader that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredLogId {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}

impl From<LogId<u64>> for StoredLogId {
    fn from(id: LogId<u64>) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<StoredLogId> for LogId<u64> {
    fn from(id: StoredLogId) -> Self {
        LogId::new(CommittedLeaderId::new(id.term, id.node), id.index)
    }
}

/// Whom this node voted for, and whether that one was elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredVote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

impl From<&Vote<u64>> for StoredVote {
    fn from(vote: &Vote<u64>) -> Self {
        let leader = vote.leader_id();
        Self { term: leader.term, node: leader.node_id, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote<u64> {
    fn from(vote: StoredVote) -> Self {
        match vote.committed {
            true => Vote::new_committed(vote.term, vote.node),
            false => Vote::new(vote.term, vote.node),
        }
    }
}

/// The members of the group: one set of voters, two while they change, and everyone's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembers {
    pub voters: Vec<BTreeSet<u64>>,
    pub addresses: BTreeMap<u64, String>,
}

impl From<&Membership<u64, BasicNode>> for StoredMembers {
    fn from(membership: &Membership<u64, BasicNode>) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            addresses: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
        }
    }
}

impl From<StoredMembers> for Membership<u64, BasicNode> {
    fn from(members: StoredMembers) -> Self {
        let nodes: BTreeMap<u64, BasicNode> =
            members.addresses.into_iter().map(|(id, addr)| (id, BasicNode { addr })).collect();
        Membership::new(members.voters, nodes)
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredEntry {
    pub id: StoredLogId,
    pub payload: StoredPayload,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Nearly every entry is a command.
pub(crate) enum StoredPayload {
    Blank,
    Command(Command),
    Members(StoredMembers),
}

impl From<Entry<TypeConfig>> for StoredEntry {
    fn from(entry: Entry<TypeConfig>) -> Self {
        let payload = match entry.payload {
            EntryPayload::Blank => StoredPayload::Blank,
            EntryPayload::Normal(proposal) => StoredPayload::Command(proposal.command),
            EntryPayload::Membership(members) => StoredPayload::Members((&members).into()),
        };
        Self { id: entry.log_id.into(), payload }
    }
}

impl From<StoredEntry> for Entry<TypeConfig> {
    fn from(entry: StoredEntry) -> Self {
        let payload = match entry.payload {
            StoredPayload::Blank => EntryPayload::Blank,
            StoredPayload::Command(command) => EntryPayload::Normal(Proposal::stored(command)),
            StoredPayload::Members(members) => EntryPayload::Membership(members.into()),
        };
        Entry { log_id: entry.id.into(), payload }
    }
}

/// How far the state machine has come. Written in one batch with the rows that it describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Which rows of the `state` column family count; moves when a snapshot is installed.
    pub generation: u32,
    pub last: Option<StoredLogId>,
    pub members_at: Option<StoredLogId>,
    pub members: StoredMembers,
    /// Every node that ever was a member: a removed node's id is never used again.
    pub known: BTreeSet<u64>,
}

impl Applied {
    pub fn membership(&self) -> StoredMembership<u64, BasicNode> {
        StoredMembership::new(self.members_at.map(Into::into), self.members.clone().into())
    }

    pub fn last_log_id(&self) -> Option<LogId<u64>> {
        self.last.map(Into::into)
    }

    pub fn version(&self) -> granary_common::CatalogVersion {
        granary_common::CatalogVersion(self.last.map_or(0, |id| id.index))
    }
}
