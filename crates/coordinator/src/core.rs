//! What every frontend of a coordinator shares.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use datafusion::execution::SessionState;
use granary_catalog::{Catalog, CommandBody, Outcome, Snapshot};
use granary_common::{Clock, Error, ErrorKind, Random, Result, TaskOwner};
use granary_execution::{FunctionSet, WorkerDirectory};
use granary_planner::QueryEngine;
use tokio::sync::watch;

use crate::auth::Authenticator;
use crate::config::CoordinatorConfig;
use crate::insert::InsertGroups;
use crate::query::{Admission, Admitted, PendingQueries, Pins, QueryRegistry};
use crate::seal::Sealer;
use crate::session::{Session, SessionStore, StatementSettings};
use crate::views::SessionViews;

/// What a coordinator works with; the role that starts it gives these.
#[derive(Clone, Debug)]
pub struct Collaborators {
    pub catalog: Arc<dyn Catalog>,
    pub engine: Arc<QueryEngine>,
    pub workers: Arc<dyn WorkerDirectory>,
    pub functions: Arc<dyn FunctionSet>,
    pub authenticator: Arc<dyn Authenticator>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub tasks: TaskOwner,
}

/// The state of a coordinator. Nothing in it is needed by a client of another coordinator.
#[derive(Debug)]
pub struct Coordinator {
    pub with: Collaborators,
    pub config: CoordinatorConfig,
    /// Drawn at the start; names this coordinator to the metadata group.
    pub identity: String,
    pub sessions: SessionStore,
    pub queries: QueryRegistry,
    pub pins: Pins,
    pub pending: PendingQueries,
    pub query_admission: Admission,
    pub insert_admission: Admission,
    pub insert_groups: InsertGroups,
    sealer: OnceLock<Sealer>,
    is_draining: AtomicBool,
    /// When the lease runs out, on the monotonic clock; 0 before the first heartbeat.
    lease_until_ms: AtomicU64,
    /// Addresses of the other coordinators, as the last heartbeat's answer had them.
    other_coordinators: watch::Sender<Vec<String>>,
    /// Counts blocks, for tables whose blocks rotate over their buckets.
    pub(crate) rotation: AtomicU64,
}

impl Coordinator {
    /// A coordinator that does not listen yet.
    pub fn new(config: CoordinatorConfig, with: Collaborators) -> Arc<Self> {
        let limits = &config.limits;
        let (clock, random) = (Arc::clone(&with.clock), Arc::clone(&with.random));
        Arc::new(Self {
            identity: random.next_hex(),
            sessions: SessionStore::new(
                limits.sessions_max,
                limits.session_idle_max,
                Arc::clone(&clock),
                Arc::clone(&random),
            ),
            queries: QueryRegistry::new(limits.finished_queries_max, clock, Arc::clone(&random)),
            pins: Pins::default(),
            pending: PendingQueries::new(limits.waiting_queries_max, limits.pending_age_max),
            query_admission: Admission::new(
                Admitted::Queries,
                limits.running_queries_max,
                limits.waiting_queries_max,
            ),
            insert_admission: Admission::new(
                Admitted::Inserts,
                limits.running_inserts_max,
                limits.waiting_queries_max,
            ),
            insert_groups: InsertGroups::default(),
            sealer: OnceLock::new(),
            is_draining: AtomicBool::new(false),
            lease_until_ms: AtomicU64::new(0),
            other_coordinators: watch::Sender::default(),
            rotation: AtomicU64::new(random.next_u64() >> 32),
            config,
            with,
        })
    }

    /// Signs and checks tickets and tokens. Kind `Unavailable` until the catalog was read.
    pub fn sealer(&self) -> Result<&Sealer> {
        if let Some(sealer) = self.sealer.get() {
            return Ok(sealer);
        }
        let snapshot = self.with.catalog.snapshot();
        let cluster = snapshot.cluster.as_ref().ok_or_else(|| {
            Error::unavailable("the coordinator has not read the catalog yet; try again")
        })?;
        Ok(self.sealer.get_or_init(|| Sealer::new(&cluster.id, &self.config.secret)))
    }

    /// From now on new statements are refused.
    pub fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Kind `Unavailable` when no new statement is taken.
    pub fn check_accepting(&self) -> Result<()> {
        match self.is_draining.load(Ordering::SeqCst) {
            true => Err(Error::unavailable(
                "this coordinator is shutting down; run the statement again through another one",
            )),
            false => Ok(()),
        }
    }

    /// Notes that the lease holds for `lease` from `sent_ms` on the monotonic clock.
    pub fn renew_lease(&self, sent_ms: u64, lease: Duration) {
        let until_ms = sent_ms.saturating_add(lease.as_millis() as u64).max(1);
        self.lease_until_ms.store(until_ms, Ordering::SeqCst);
    }

    /// Addresses of the cluster's other coordinators, as of the last heartbeat.
    pub fn other_coordinators(&self) -> Vec<String> {
        self.other_coordinators.borrow().clone()
    }

    /// The same as of a heartbeat from now on, which is not waited for longer than `limit`.
    pub async fn newest_other_coordinators(&self, limit: Duration) -> Vec<String> {
        let mut newest = self.other_coordinators.subscribe();
        self.pins.want_beat();
        tokio::select! {
            // The sender lives as long as this does.
            _ = newest.changed() => {}
            () = self.with.clock.sleep(limit) => {}
        }
        self.other_coordinators()
    }

    /// Takes over what the answer to a heartbeat says of them.
    pub fn learn_other_coordinators(&self, addresses: Vec<String>) {
        self.other_coordinators.send_replace(addresses);
    }

    /// Whether pins are protected. Before the first heartbeat nothing says that they are not.
    pub fn holds_lease(&self) -> bool {
        match self.lease_until_ms.load(Ordering::SeqCst) {
            0 => true,
            until_ms => self.with.clock.monotonic_ms() < until_ms,
        }
    }

    /// How long the lease holds from now on; `None` before the first heartbeat and after its end.
    pub fn lease_left(&self) -> Option<Duration> {
        let until_ms = self.lease_until_ms.load(Ordering::SeqCst);
        let left_ms = until_ms.checked_sub(self.with.clock.monotonic_ms())?;
        (left_ms > 0).then(|| Duration::from_millis(left_ms))
    }

    /// Whether statements can be served: the catalog was read and a worker is alive.
    pub fn check_ready(&self) -> Result<()> {
        self.check_accepting()?;
        self.sealer()?;
        if self.with.workers.live().is_empty() {
            return Err(Error::unavailable("no worker is alive"));
        }
        match self.lease_left() {
            Some(_) => Ok(()),
            None => Err(Error::unavailable("the metadata group does not answer")),
        }
    }

    /// The session of the engine for one statement at `snapshot`.
    pub fn session_state(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        session: &Session,
        settings: &StatementSettings,
    ) -> Result<SessionState> {
        SessionViews::new(self, snapshot, session, settings).session_state()
    }

    /// Runs a command that may be repeated until its outcome is known.
    pub(crate) async fn execute_until_known(&self, command: CommandBody) -> Result<Outcome> {
        let mut backoff = self.backoff();
        loop {
            let error = match self.with.catalog.execute(command.clone()).await {
                Ok((_, outcome)) => return Ok(outcome),
                Err(error) => error,
            };
            let is_open =
                matches!(error.kind(), ErrorKind::DeadlineExceeded | ErrorKind::Unavailable);
            if !(is_open && backoff.wait().await) {
                return Err(error);
            }
        }
    }

    /// A pause between attempts.
    pub fn backoff(&self) -> Backoff {
        let limit_ms = self.config.limits.retry_time_max.as_millis() as u64;
        let until_ms = self.with.clock.monotonic_ms().saturating_add(limit_ms);
        Backoff { clock: Arc::clone(&self.with.clock), delay: Backoff::FIRST, until_ms }
    }

    /// `host:port` under which clients and other coordinators reach this one, which listens on `port`.
    pub fn advertised_address(&self, port: u16) -> String {
        format!("{}:{port}", self.config.advertise_host)
    }
}

/// Growing pauses between attempts, for a limited time.
#[derive(Debug)]
pub struct Backoff {
    clock: Arc<dyn Clock>,
    delay: Duration,
    until_ms: u64,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    /// Waits before the next attempt; gives false, at once, when there is no time for one.
    pub async fn wait(&mut self) -> bool {
        if self.clock.monotonic_ms() >= self.until_ms {
            return false;
        }
        self.clock.sleep(self.delay).await;
        self.delay = (self.delay * 2).min(Self::LONGEST);
        true
    }
}
