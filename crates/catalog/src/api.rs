//! The seam between roles: who needs the catalog holds a `dyn Catalog`.

use std::sync::Arc;

use async_trait::async_trait;
use granary_common::{BucketIndex, CatalogVersion, NodeId, Result, TableId, WorkerId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::command::{BucketPlacement, CommandBody, Outcome};
use crate::protocol;
use crate::snapshot::Snapshot;

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LeaseHolder {
    Worker {
        worker: WorkerId,
        incarnation: u64,
    },
    /// By the identity that it drew at its start.
    Coordinator {
        identity: String,
    },
}

/// A renewal of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub holder: LeaseHolder,
    /// `host:port` that clients or peers reach the holder at.
    pub address: String,
    /// The lowest version that the holder may still read: of its running queries, and of its newest
    /// snapshot, at which the next query may begin. `None` from a holder that reads nothing.
    pub lowest_pinned: Option<CatalogVersion>,
    /// The version of the protocol that the holder speaks.
    #[serde(default = "protocol::first")]
    pub protocol: u32,
    /// What the buckets with most of it give a worker to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<BucketLoad>,
    /// Whether the disks of a worker take no more writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_full: bool,
}

/// What a bucket gives a worker to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLoad {
    pub table: TableId,
    pub bucket: BucketIndex,
    /// Read by scans and written by inserts, over the last minutes.
    pub bytes_per_s: u64,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// For how long the lease holds from when the heartbeat was sent, in milliseconds.
    pub lease_ms: u64,
    /// Addresses of the coordinators whose leases hold.
    pub coordinators: Vec<String>,
}

/// A member of the metadata group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataMember {
    pub node: NodeId,
    pub address: String,
    pub is_voter: bool,
    pub is_leader: bool,
    /// What it says of itself; `None` when it does not answer.
    pub report: Option<MemberReport>,
}

/// What a member of the metadata group says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// The version of the catalog that it has applied.
    pub applied: CatalogVersion,
    pub protocol: u32,
    pub software_version: String,
}

/// A change of the metadata group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A member more, which receives the state before it votes. Its id was never used before.
    Add {
        node: NodeId,
        /// `host:port` that the others reach it at.
        address: String,
    },
    /// A member less.
    Remove { node: NodeId },
}

/// The catalog as workers and coordinators see it.
#[async_trait]
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// The newest state that has reached this process; may lag behind others.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// A state that holds everything acknowledged before the call, through anyone. Calls that wait
    /// at the same moment share one round.
    async fn read_latest(&self) -> Result<Arc<Snapshot>>;

    /// Runs a command and returns what it brought about with its version; afterwards `snapshot`
    /// is at or past that version.
    ///
    /// Kind `Unavailable`: certainly not done, run it again. Kind `DeadlineExceeded`: unknown.
    async fn execute(&self, command: CommandBody) -> Result<(CatalogVersion, Outcome)>;

    /// Renews a lease. A holder that cannot renew within its lease must stop relying on it.
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply>;

    /// What the controller would do with buckets, in turn, as if nobody came or went and copies took
    /// no time. Nothing is changed.
    async fn planned_placements(&self) -> Result<Vec<BucketPlacement>>;

    /// The members of the metadata group; those that do not answer soon have no report.
    async fn metadata_members(&self) -> Result<Vec<MetadataMember>>;

    /// Adds a member to the metadata group or removes one. Done again, it changes nothing.
    async fn change_member(&self, change: MemberChange) -> Result<()>;

    /// The version of `snapshot`, whenever it moves. A value borrowed from the receiver must not be
    /// held across an await: as long as it is, no new version can be published.
    fn watch(&self) -> watch::Receiver<CatalogVersion>;
}
