use granary_common::WorkerId;
use serde::{Deserialize, Serialize};

/// Whether a worker is given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerState {
    Alive,
    /// Its lease ran out.
    Dead,
    /// Leaving: it finishes what it has and gets nothing new.
    Draining,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub id: WorkerId,
    /// Drawn by the worker into its data folder, so that a re-registration finds its id.
    pub identity: String,
    /// `host:port` of its internal gRPC.
    pub address: String,
    /// Label for placement; empty when none is set.
    pub zone: String,
    pub state: WorkerState,
    /// Moves at each registration; ranges of an old incarnation are expired.
    pub incarnation: u64,
    /// The build that it runs.
    pub software_version: String,
    /// Whether an operator wants it empty: others take over what it holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Whether its disks take no more writes, as it says itself. Since protocol 7.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_full: bool,
}

impl Worker {
    /// Whether it may be given more to hold.
    pub fn takes_more(&self) -> bool {
        self.state == WorkerState::Alive && !self.drained
    }

    /// Whether it would take rows now.
    pub fn takes_writes(&self) -> bool {
        self.state == WorkerState::Alive && !self.is_full
    }
}

/// Part ids that one incarnation of a worker may use: `start..end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartIdRange {
    pub start: u64,
    pub end: u64,
    pub worker: WorkerId,
    pub incarnation: u64,
}

impl PartIdRange {
    /// Whether `part_id` lies in the range.
    pub fn contains(&self, part_id: u64) -> bool {
        (self.start..self.end).contains(&part_id)
    }
}
