//! The worker's lease, renewed on a thread and a runtime of its own: a heavy query must never cost
//! a worker its lease.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_catalog::{Catalog, CommandBody, Heartbeat, LeaseHolder, WorkerState};
use granary_common::{Clock, Error, ErrorKind, Result, WorkerId};
use tokio_util::sync::CancellationToken;

use crate::local::LocalWorker;
use crate::part_ids::LeasedPartIds;
use crate::registration::Registration;

/// How often the lease is renewed when nobody says how long it holds.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// Between attempts after a failure.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Renewals within one lease.
const RENEWALS_PER_LEASE: u64 = 3;

/// Who renews which lease.
#[derive(Clone, Debug)]
pub struct Lease {
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    pub worker: WorkerId,
    /// Knows the incarnation, and leases for it.
    pub ids: Arc<LeasedPartIds>,
    pub registration: Registration,
    /// Knows what it has to do.
    pub local: Arc<LocalWorker>,
}

impl Lease {
    /// Renews until `stop`. Returns when the thread runs.
    pub fn keep(self, stop: CancellationToken) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable(format!("no runtime for heartbeats: {error}")))?;
        let named = std::thread::Builder::new().name("granary-heartbeat".to_owned());
        let started = named.spawn(move || {
            runtime.block_on(stop.run_until_cancelled(self.renew_forever()));
        });
        let started = started.map(|_detached| ());
        started.map_err(|error| Error::unavailable(format!("no thread for heartbeats: {error}")))
    }

    async fn renew_forever(self) {
        loop {
            let pause = match self.renew().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(worker = %self.worker, %error, "the lease is not renewed");
                    if error.kind() == ErrorKind::Conflict
                        && let Err(error) = self.return_if_replaced().await
                    {
                        tracing::error!(worker = %self.worker, %error, "the worker is out");
                    }
                    RETRY_INTERVAL
                }
            };
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                // Whoever waits for somebody else to lead shall not wait for long.
                () = self.local.fullness().refused() => {}
            }
        }
    }

    /// Renews once and returns when to do it again.
    async fn renew(&self) -> Result<Duration> {
        let incarnation = self.ids.incarnation();
        let holder = LeaseHolder::Worker { worker: self.worker, incarnation };
        let address = self.registration.address.clone();
        let protocol = PROTOCOL_VERSION;
        let now_ms = self.clock.monotonic_ms();
        let loads = self.local.loads(&self.catalog.snapshot(), now_ms);
        let is_full = self.local.fullness().look();
        let heartbeat =
            Heartbeat { holder, address, lowest_pinned: None, protocol, loads, is_full };
        let reply = self.catalog.heartbeat(heartbeat).await?;
        self.rise_if_dead().await?;
        let interval = Duration::from_millis(reply.lease_ms / RENEWALS_PER_LEASE);
        Ok(if interval.is_zero() { DEFAULT_INTERVAL } else { interval })
    }

    /// Registers again when this incarnation was replaced and no other process is the worker now.
    /// Its parts stay what they are; the part ids that it had leased are void.
    async fn return_if_replaced(&self) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let row = snapshot.workers.get(&self.worker);
        if row.is_some_and(|row| row.incarnation == self.ids.incarnation()) {
            return Ok(()); // It was replaced and returned meanwhile.
        }
        if !self.registration.may_return(row.map(|row| &**row)) {
            return Err(Error::conflict(format!(
                "another process is worker {} now, at {}; a data folder belongs to one worker, so \
                 stop this one",
                self.worker,
                row.map_or("an unknown address", |row| row.address.as_str())
            )));
        }
        let (worker, incarnation) = self.registration.register(&*self.catalog).await?;
        if worker != self.worker {
            return Err(Error::internal(format!("worker {} came back as {worker}", self.worker)));
        }
        self.ids.begin(incarnation).await;
        tracing::warn!(%worker, incarnation, "registered again: the incarnation had been replaced");
        Ok(())
    }

    /// A worker that was given up and answers again says so.
    async fn rise_if_dead(&self) -> Result<()> {
        let snapshot = self.catalog.snapshot();
        let Some(row) = snapshot.workers.get(&self.worker) else { return Ok(()) };
        if row.state != WorkerState::Dead || row.incarnation != self.ids.incarnation() {
            return Ok(());
        }
        let command = CommandBody::SetWorkerState {
            worker: self.worker,
            incarnation: self.ids.incarnation(),
            state: WorkerState::Alive,
        };
        match self.catalog.execute(command).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }
}
