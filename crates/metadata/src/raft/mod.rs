//! What this crate tells the consensus library about itself: types, network and service.

pub(crate) mod network;
pub(crate) mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use granary_catalog::{Command, Outcome, codec};
use granary_common::{CatalogVersion, Error, ErrorKind, Result};
use granary_proto::internal::{ExecuteResponse, Refusal};
use serde::{Deserialize, Serialize};

use crate::store::snapshot::SnapshotFolder;

openraft::declare_raft_types!(
    /// The group's types: catalog commands in, outcomes back.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = openraft::impls::BasicNode,
        SnapshotData = SnapshotFolder,
);

/// The group's Raft handle.
pub(crate) type Raft = openraft::Raft<TypeConfig>;

/// A command on its way into the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Proposal {
    pub command: Command,
    /// Set when this process begins to write the proposal to its log. Until then it is certain
    /// that a refused proposal has not been done; the library's refusal alone does not say so.
    #[serde(skip)]
    written: Option<Arc<AtomicBool>>,
}

impl Proposal {
    /// A proposal, and the mark that tells whether it got into the log.
    pub fn new(command: Command) -> (Self, Arc<AtomicBool>) {
        let written = Arc::new(AtomicBool::new(false));
        (Self { command, written: Some(Arc::clone(&written)) }, written)
    }

    /// One that was read from the log.
    pub fn stored(command: Command) -> Self {
        Self { command, written: None }
    }

    pub fn mark_written(&self) {
        if let Some(written) = &self.written {
            written.store(true, Ordering::SeqCst);
        }
    }
}

/// What came of a command: an outcome, or an error that keeps its kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Outcome(Outcome),
    Refused { kind: ErrorKind, message: String },
}

impl Reply {
    /// As it is sent to a caller.
    pub fn into_response(self, version: CatalogVersion) -> Result<ExecuteResponse> {
        let (outcome, refusal) = match self {
            Reply::Outcome(outcome) => (codec::encode(&outcome)?, None),
            Reply::Refused { kind, message } => {
                (Vec::new(), Some(Refusal { kind: kind.code().to_owned(), message }))
            }
        };
        Ok(ExecuteResponse { version: version.0, outcome: outcome.into(), refusal })
    }

    /// As another member has sent it.
    pub fn of_response(response: &ExecuteResponse) -> Result<Self> {
        Ok(Reply::from(granary_catalog::remote::wire::outcome_of(response)?))
    }
}

impl From<Result<Outcome>> for Reply {
    fn from(result: Result<Outcome>) -> Self {
        match result {
            Ok(outcome) => Reply::Outcome(outcome),
            Err(error) => {
                Reply::Refused { kind: error.kind(), message: error.message().to_owned() }
            }
        }
    }
}

impl From<Reply> for Result<Outcome> {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Outcome(outcome) => Ok(outcome),
            Reply::Refused { kind, message } => Err(Error::new(kind, message)),
        }
    }
}
