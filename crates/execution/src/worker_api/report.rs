//! What a worker says of itself.

use serde::{Deserialize, Serialize};

/// How a worker is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The disks that only it reaches.
    #[serde(default)]
    pub disks: Vec<DiskReport>,
    #[serde(default)]
    pub scrub: ScrubReport,
}

/// A disk of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// By the name of the configuration.
    pub disk: String,
    pub total_bytes: u64,
    /// By whomever.
    pub used_bytes: u64,
    /// Beyond it writes are refused.
    pub budget_bytes: u64,
}

/// How far a worker's scrub has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Parts that were read since the worker started, and their bytes.
    pub parts_checked: u64,
    pub bytes_checked: u64,
    /// Those of them that were found damaged.
    pub parts_damaged: u64,
    /// Parts that were left when the round that goes on, or the last one, began or went on, and those
    /// of them that are done.
    pub parts_of_round: u64,
    pub parts_of_round_checked: u64,
    /// When the last round ended, in milliseconds since the epoch.
    pub finished_ms: Option<u64>,
}
