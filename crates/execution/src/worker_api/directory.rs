//! Workers by their rows of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, WorkerState};
use granary_common::{Error, Result, WorkerId};
use url::Url;

use super::{RemoteWorker, WorkerApi, WorkerDirectory};

/// Channels that stay open at most.
const CHANNELS_MAX: u64 = 4096;
/// An unused channel closes after this time.
const CHANNEL_IDLE: Duration = Duration::from_secs(300);

/// For how long a worker is left alone that did not answer: until the catalog knows, about.
const SHUNNED_FOR: Duration = Duration::from_secs(5);

/// Finds workers in the newest snapshot and keeps channels to them.
#[derive(Debug)]
pub struct CatalogDirectory {
    catalog: Arc<dyn Catalog>,
    /// Workers of this process, which need no channel.
    local: BTreeMap<WorkerId, Arc<dyn WorkerApi>>,
    /// By URL, since a worker may return under another address.
    remote: moka::sync::Cache<Url, Arc<RemoteWorker>>,
    /// Workers that did not answer a moment ago.
    shunned: moka::sync::Cache<WorkerId, ()>,
}

impl CatalogDirectory {
    /// A directory over `catalog`; `local` are the workers of this process.
    pub fn new(catalog: Arc<dyn Catalog>, local: BTreeMap<WorkerId, Arc<dyn WorkerApi>>) -> Self {
        let remote = moka::sync::Cache::builder()
            .max_capacity(CHANNELS_MAX)
            .time_to_idle(CHANNEL_IDLE)
            .build();
        let shunned = moka::sync::Cache::builder()
            .max_capacity(CHANNELS_MAX)
            .time_to_live(SHUNNED_FOR)
            .build();
        Self { catalog, local, remote, shunned }
    }
}

impl WorkerDirectory for CatalogDirectory {
    fn api(&self, worker: WorkerId) -> Result<Arc<dyn WorkerApi>> {
        if let Some(api) = self.local.get(&worker) {
            return Ok(Arc::clone(api));
        }
        let url = self.url(worker)?;
        let cluster = self.catalog.snapshot().cluster.as_ref().map(|cluster| cluster.id.clone());
        let made = self
            .remote
            .try_get_with(url.clone(), || RemoteWorker::new(&url, cluster).map(Arc::new))
            .map_err(|error: Arc<Error>| (*error).clone())?;
        Ok(made)
    }

    fn url(&self, worker: WorkerId) -> Result<Url> {
        let snapshot = self.catalog.snapshot();
        let row = snapshot
            .workers
            .get(&worker)
            .ok_or_else(|| Error::unavailable(format!("worker {worker} is not registered")))?;
        if row.state == WorkerState::Dead {
            return Err(Error::unavailable(format!(
                "worker {worker} at {} does not answer; its buckets are away until it returns",
                row.address
            )));
        }
        if self.shunned.contains_key(&worker) {
            return Err(Error::unavailable(format!(
                "worker {worker} at {} did not answer a moment ago",
                row.address
            )));
        }
        worker_url(&row.address)
    }

    fn live(&self) -> Vec<(WorkerId, Url)> {
        let snapshot = self.catalog.snapshot();
        let alive = snapshot
            .workers
            .values()
            .filter(|row| row.state == WorkerState::Alive && !self.shunned.contains_key(&row.id));
        alive.filter_map(|row| Some((row.id, worker_url(&row.address).ok()?))).collect()
    }

    fn shun(&self, worker: WorkerId) {
        if !self.local.contains_key(&worker) {
            self.shunned.insert(worker, ());
        }
    }
}

/// The URL of a `host:port`.
pub fn worker_url(address: &str) -> Result<Url> {
    Url::parse(&format!("http://{address}"))
        .map_err(|error| Error::invalid(format!("'{address}' is not host:port: {error}")))
}
