//! The worker's life: open the data folder, register, serve, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Clock, Error, Random, Result, TaskOwner, WorkerId};
use granary_execution::{FunctionSet, WorkerApi, WorkerDirectory};
use granary_storage::PartStore;
use url::Url;

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Identity, parts and spill files.
    pub data_dir: PathBuf,
    /// Internal gRPC; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The host that others reach `listen` at.
    pub advertise_host: String,
    /// Label for placement; may be empty.
    pub zone: String,
    /// A shared volume, named `shared`, beside the local one.
    pub volume_url: Option<Url>,
    /// Bytes that all fragments may hold together before they spill.
    pub memory_bytes_max: u64,
    /// Bytes of spilled files together.
    pub spill_bytes_max: u64,
    /// How often orphaned part files are looked for.
    pub sweep_interval: Duration,
}

/// A running worker.
#[derive(Debug)]
pub struct WorkerNode {
    id: WorkerId,
}

impl WorkerNode {
    /// Starts a worker and returns when it is registered and listens.
    ///
    /// Kinds: `AlreadyExists` when another server holds the data folder, `Unsupported` when a newer
    /// build wrote it, `Conflict` when it belongs to another cluster, `Unavailable` when the port is
    /// in use or the metadata group cannot be reached.
    pub async fn start(
        config: WorkerConfig,
        catalog: Arc<dyn Catalog>,
        functions: Arc<dyn FunctionSet>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        tasks: TaskOwner,
    ) -> Result<WorkerNode> {
        let _ = (config, catalog, functions, clock, random, tasks);
        Err(Error::unsupported("not written yet"))
    }

    /// The id that the cluster knows it by, kept over restarts.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Where its internal gRPC listens.
    pub fn listen_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// The worker without a network between.
    pub fn local_api(&self) -> Arc<dyn WorkerApi> {
        unimplemented!()
    }

    /// Its parts.
    pub fn part_store(&self) -> Arc<PartStore> {
        unimplemented!()
    }

    /// Its way to every worker, itself included without a network between.
    pub fn directory(&self) -> Arc<dyn WorkerDirectory> {
        unimplemented!()
    }

    /// Takes no new work, waits up to `limit` for what runs, and stops serving. Returns whether all
    /// of it ended in time.
    pub async fn drain(&self, limit: Duration) -> bool {
        let _ = limit;
        true
    }
}
