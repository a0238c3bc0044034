//! Settings of a metadata node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_common::{Error, NodeId, Result};

/// How a member is started.
#[derive(Clone, Debug)]
pub struct MetadataConfig {
    /// This member's id. An id is never used again once it was removed from the group.
    pub node_id: NodeId,
    /// Every member with the `host:port` that the others reach it at, this one included.
    pub members: Vec<(NodeId, String)>,
    /// Holds the log and the catalog; belongs to this member alone.
    pub data_dir: PathBuf,
    /// Where to serve the group and the catalog; `None` for a group of one inside a process.
    pub listen: Option<SocketAddr>,
    pub timing: Timing,
    pub retention: Retention,
    /// The version of the protocol that this member says it speaks: that of this build, except in
    /// tests of groups that are upgraded.
    pub speaks: u32,
}

impl MetadataConfig {
    /// A group of one that serves its own process only.
    pub fn embedded(data_dir: PathBuf) -> Self {
        Self {
            node_id: NodeId(1),
            members: vec![(NodeId(1), "embedded".to_owned())],
            data_dir,
            listen: None,
            // Nobody could take over from the only worker, so there is no hurry to give it up.
            timing: Timing { worker_lease: Timing::default().lease, ..Timing::default() },
            retention: Retention::default(),
            speaks: PROTOCOL_VERSION,
        }
    }

    /// A member of a group.
    pub fn member(
        node_id: NodeId,
        members: Vec<(NodeId, String)>,
        data_dir: PathBuf,
        listen: SocketAddr,
    ) -> Self {
        let listen = Some(listen);
        let timing = Timing::default();
        Self { node_id, members, listen, timing, ..Self::embedded(data_dir) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !self.members.iter().any(|(id, _)| *id == self.node_id) {
            return Err(Error::invalid(format!(
                "metadata node {} is not among the members that it was given",
                self.node_id
            )));
        }
        let mut ids: Vec<NodeId> = self.members.iter().map(|(id, _)| *id).collect();
        ids.sort();
        ids.dedup();
        if ids.len() != self.members.len() {
            return Err(Error::invalid("two metadata members have the same id"));
        }
        if self.listen.is_none() && self.members.len() > 1 {
            return Err(Error::invalid("a group of several metadata nodes needs a listen address"));
        }
        Ok(())
    }
}

/// Times of the group. The defaults leave room for a machine with two busy cores.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two signs of life of the leader, and the limit of one message to a member.
    /// Default 200 ms.
    pub raft_heartbeat: Duration,
    /// A member that hears nothing stands for election after the longer time plus a random time
    /// between the two: a leader that is lost costs 1.0 to 1.2 s of writes, and up to 1.8 s when the
    /// first to stand lacks what another has. Default 400 to 600 ms.
    pub election: (Duration, Duration),
    /// For how long a heartbeat of a coordinator holds. Default 10 s.
    pub lease: Duration,
    /// For how long a heartbeat of a worker holds; then others lead its buckets. Default 4 s.
    pub worker_lease: Duration,
    /// For how long a dead worker is waited for before others get copies of its parts. Default 60 s.
    pub replace_after: Duration,
    /// For how long a dead worker that holds nothing any more is remembered; zero: until it is
    /// dropped by a statement. Default 1 hour.
    pub forget_after: Duration,
    /// Between two looks of the cluster's controller; it also looks when a worker's lease ends.
    /// Default 1 s.
    pub controller_tick: Duration,
    /// For how long a command may take until its outcome is reported as unknown. Default 10 s.
    pub command_limit: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            raft_heartbeat: Duration::from_millis(200),
            election: (Duration::from_millis(400), Duration::from_millis(600)),
            lease: Duration::from_secs(10),
            worker_lease: Duration::from_secs(4),
            replace_after: Duration::from_secs(60),
            forget_after: Duration::from_secs(3600),
            controller_tick: Duration::from_secs(1),
            command_limit: Duration::from_secs(10),
        }
    }
}

/// For how long things are remembered.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Age at which an insert's token is forgotten. Default 7 days.
    pub tokens: Duration,
    /// Newest tokens that a table keeps. Default 10,000.
    pub tokens_per_table: u64,
    /// Age at which parts of a long insert that nobody adds to are dropped. Default 1 hour.
    pub staged: Duration,
    /// Log entries after which a snapshot is taken. Default 5,000.
    pub snapshot_every: u64,
    /// Log entries that are kept behind a snapshot, for members that lag a little. Default 1,000.
    pub log_kept: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            tokens: Duration::from_secs(7 * 24 * 3600),
            tokens_per_table: 10_000,
            staged: Duration::from_secs(3600),
            snapshot_every: 5_000,
            log_kept: 1_000,
        }
    }
}
