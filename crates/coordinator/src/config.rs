//! What a coordinator is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use granary_storage::Tiers;

/// Addresses and limits of a coordinator.
#[derive(Clone)]
pub struct CoordinatorConfig {
    /// Where clients connect: Flight SQL, bulk insert, health, reflection. Port 0 takes a free one.
    pub grpc_listen: SocketAddr,
    /// The host under which clients and peers reach this coordinator.
    pub advertise_host: String,
    /// The secret that tickets and tokens are signed with, the same on every coordinator.
    pub secret: String,
    pub limits: Limits,
    /// Disks and storage policies.
    pub tiers: Arc<Tiers>,
    /// The folder whose files queries may read; `None`: no file of this machine.
    pub user_files_path: Option<PathBuf>,
}

impl std::fmt::Debug for CoordinatorConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoordinatorConfig")
            .field("grpc_listen", &self.grpc_listen)
            .field("advertise_host", &self.advertise_host)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl CoordinatorConfig {
    /// A coordinator on this address with default limits and without a secret.
    pub fn new(grpc_listen: SocketAddr) -> Self {
        Self {
            grpc_listen,
            advertise_host: grpc_listen.ip().to_string(),
            secret: String::new(),
            limits: Limits::default(),
            tiers: Arc::default(),
            user_files_path: None,
        }
    }
}

/// Every queue and buffer of a coordinator has one of these bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries that run at the same time. Default 64.
    pub running_queries_max: usize,
    /// Queries that wait for their turn; one more is refused. Default 512.
    pub waiting_queries_max: usize,
    /// Inserts that run at the same time; one more is refused. Default 64.
    pub running_inserts_max: usize,
    /// Buckets that one insert writes at the same time. Default 8.
    pub bucket_writes_max: usize,
    /// Bytes of a statement's text. Default 16 MiB.
    pub statement_bytes_max: usize,
    /// Bytes of one message that a client sends, and of one Arrow batch of an insert. Default 256 MiB.
    pub message_bytes_max: usize,
    /// Bytes of one message of a result. Default 2 MiB, well below what clients accept.
    pub result_message_bytes_max: usize,
    /// Sessions that are remembered. Default 65536.
    pub sessions_max: usize,
    /// A session that is unused for longer ends. Default 1 hour.
    pub session_idle_max: Duration,
    /// How long the plan of a statement is kept for its ticket; a later one is planned again.
    /// Default 1 minute.
    pub pending_age_max: Duration,
    /// A result that its client does not read from for longer is cancelled. Default 10 minutes.
    pub result_idle_max: Duration,
    /// Finished queries that `system.queries` remembers. Default 1000.
    pub finished_queries_max: usize,
    /// For how long a query or an insert is tried again when somebody was faster, a worker died or
    /// the metadata group elects. Default 20 seconds.
    pub retry_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running_queries_max: 64,
            waiting_queries_max: 512,
            running_inserts_max: 64,
            bucket_writes_max: 8,
            statement_bytes_max: 16 << 20,
            message_bytes_max: 256 << 20,
            result_message_bytes_max: 2 << 20,
            sessions_max: 65_536,
            session_idle_max: Duration::from_secs(3_600),
            pending_age_max: Duration::from_secs(60),
            result_idle_max: Duration::from_secs(600),
            finished_queries_max: 1_000,
            retry_time_max: Duration::from_secs(20),
        }
    }
}
