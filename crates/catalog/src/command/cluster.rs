//! Commands about the cluster as a whole.

use granary_common::WorkerId;
use serde::{Deserialize, Serialize};

/// What to change of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterChange {
    /// All nodes speak this version of the protocol, and older builds stay out from now on.
    RaiseProtocol { version: u32 },
    /// Forgets a worker that is dead and holds nothing.
    DropWorker { worker: WorkerId },
    /// The disks of an incarnation of a worker take no more writes, or take them again.
    ChangeRoom { worker: WorkerId, incarnation: u64, is_full: bool },
}
