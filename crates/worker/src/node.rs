//! The worker's life: open the data folder, register, serve, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use granary_catalog::remote::linger::{Lingering, lingering};
use granary_catalog::remote::wire::within;
use granary_catalog::{Catalog, CommandBody, WorkerState};
use granary_common::{Clock, ClusterId, Error, Random, Result, TaskOwner, WorkerId};
use granary_execution::worker_api::MESSAGE_BYTES_MAX;
use granary_execution::{
    ActiveWork, CatalogDirectory, FragmentChannels, FragmentHost, FunctionSet, MemoryLimits,
    NodeMemory, PartAccess, QuerySessions, RowExpressions, WorkerApi, WorkerDirectory,
    add_fragment_service,
};
use granary_proto::internal::worker_server::WorkerServer;
use granary_storage::PartStore;
use granary_storage::ttl::RowEvaluator;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use url::Url;

use crate::background::{Background, Copies, Parts};
use crate::data_folder::DataFolder;
use crate::fullness::Fullness;
use crate::heartbeat::Lease;
use crate::join::{Joined, join};
use crate::local::{Copying, Disks, LocalWorker};
use crate::merge::{MergeSettings, Merges, StoredParts};
use crate::metrics::Gauges;
use crate::part_ids::LeasedPartIds;
use crate::quarantine::Quarantine;
use crate::scrub::{ScrubSettings, Scrubber};
use crate::server::{ClusterCheck, WorkerService};
use crate::volumes::{Reserves, open_store};

/// How often a draining worker looks whether it is idle.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);
/// How long the last answers may take to leave once nothing runs.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Flow-control windows of the server.
const WINDOW_BYTES: u32 = 8 << 20;
/// A silent connection is probed after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

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
    /// What bounds merges.
    pub merges: MergeSettings,
    /// Bytes a second that are fetched to make up for lost copies.
    pub copy_bytes_per_s: u64,
    /// Bytes of what was read from object stores that are kept in the data folder; 0: none.
    pub read_cache_bytes_max: u64,
    /// What is kept free of the disks.
    pub reserves: Reserves,
    /// How parts that nobody reads are looked at.
    pub scrub: ScrubSettings,
}

/// A running worker.
#[derive(Debug)]
pub struct WorkerNode {
    id: WorkerId,
    ids: Arc<LeasedPartIds>,
    listen: SocketAddr,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    local: Arc<LocalWorker>,
    store: Arc<PartStore>,
    directory: Arc<dyn WorkerDirectory>,
    active: ActiveWork,
    tasks: TaskOwner,
    serving: CancellationToken,
    server: Mutex<Option<JoinHandle<Option<()>>>>,
    heartbeats: CancellationToken,
    _folder: DataFolder,
}

impl Parts {
    fn open(
        config: &WorkerConfig,
        folder: &DataFolder,
        catalog: &Arc<dyn Catalog>,
        clock: &Arc<dyn Clock>,
        functions: &dyn FunctionSet,
        joined: &Joined,
    ) -> Result<(Parts, Background)> {
        let (quarantine, damage) = Quarantine::new(joined.id, Arc::clone(catalog));
        let evaluator: Arc<dyn RowEvaluator> = Arc::new(RowExpressions::new(functions));
        let store = open_store(config, folder, joined.id)?
            .with_damage_watch(quarantine.clone())
            .with_evaluator(Arc::clone(&evaluator));
        let store = Arc::new(store);
        let ids = LeasedPartIds::new(Arc::clone(catalog), joined.id, joined.incarnation);
        let ids = Arc::new(ids);
        let active = ActiveWork::default();
        let copies = Copies::of(joined.id, catalog, clock, &store);
        let merger = StoredParts {
            store: Arc::clone(&store),
            ids: Arc::clone(&ids),
            states: functions.states(),
            shipper: Arc::clone(&copies.shipper),
            evaluator: Arc::clone(&evaluator),
            clock: Arc::clone(clock),
            memory_bytes: config.merges.memory_bytes_of_one(),
        };
        let merges = Arc::new(Merges::new(
            joined.id,
            config.merges.clone(),
            Arc::clone(catalog),
            Arc::clone(clock),
            Arc::new(merger),
            active.clone(),
        ));
        let copying = Copying {
            shipper: Arc::clone(&copies.shipper),
            receiver: Arc::clone(&copies.receiver),
        };
        let fullness = Fullness::new(joined.id, catalog, &store, &config.merges.tiers);
        let local = Arc::new(LocalWorker::new(
            Arc::clone(&store),
            Arc::clone(&ids),
            active.clone(),
            Arc::clone(&merges),
            copying,
            evaluator,
            Disks { quarantine, fullness: Arc::new(fullness) },
        ));
        let itself: BTreeMap<WorkerId, Arc<dyn WorkerApi>> =
            BTreeMap::from([(joined.id, Arc::clone(&local) as Arc<dyn WorkerApi>)]);
        let directory = Arc::new(CatalogDirectory::new(Arc::clone(catalog), itself));
        let parts = Parts { local, ids, store, directory, active, merges };
        let background = Background::of(config, catalog, clock, &parts, copies, damage);
        Ok((parts, background))
    }
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
        let tasks = tasks.child();
        let folder = DataFolder::open(&config.data_dir)?;
        let (listener, listen) = bind(config.listen).await?;
        let address = format!("{}:{}", config.advertise_host, listen.port());
        let joined = join(&config, &folder, &address, &*catalog, &*clock, &*random).await?;
        let (parts, background) =
            Parts::open(&config, &folder, &catalog, &clock, &*functions, &joined)?;
        let Joined { cluster, id, incarnation, registration } = joined;
        let memory = Arc::new(NodeMemory::new(&memory_limits(&config, &folder))?);
        let Parts { local, ids, store, directory, active, merges } = parts;
        let gauges = Gauges::new(&active, &merges, &memory, config.memory_bytes_max, &store);
        let scrubber = Scrubber::new(&catalog, &clock, &local, config.scrub, folder.scrub());
        let host = FragmentHost {
            functions,
            access: Arc::new(PartAccess {
                store: Some(Arc::clone(&store)),
                workers: Arc::clone(&directory),
                filters: local.filters().clone(),
            }),
            memory,
            channels: FragmentChannels::new(Some(&cluster)),
            active: active.clone(),
            sessions: QuerySessions::default(),
        };
        let serving = CancellationToken::new();
        let heartbeats = tasks.cancelled().child_token();
        let incoming = lingering(listener, Arc::clone(&clock), || ());
        let server = serve(incoming, Arc::clone(&local), host, cluster, &tasks, serving.clone());
        let lease = Lease {
            catalog: Arc::clone(&catalog),
            clock: Arc::clone(&clock),
            worker: id,
            ids: Arc::clone(&ids),
            registration,
            local: Arc::clone(&local),
        };
        lease.keep(heartbeats.clone())?;
        tasks.spawn(merges.run(tasks.clone()));
        background.spawn(&tasks, &clock, config.sweep_interval, &local.leaving());
        tasks.spawn(scrubber.run(local.leaving()));
        tasks.spawn(gauges.watch(Arc::clone(&clock)));
        tracing::info!(worker = %id, incarnation, %listen, "the worker serves");
        Ok(WorkerNode {
            id,
            ids,
            listen,
            catalog,
            clock,
            local,
            store,
            directory,
            active,
            tasks,
            serving,
            server: Mutex::new(Some(server)),
            heartbeats,
            _folder: folder,
        })
    }

    /// The id that the cluster knows it by, kept over restarts.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Where its internal gRPC listens.
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// The worker without a network between.
    pub fn local_api(&self) -> Arc<dyn WorkerApi> {
        Arc::clone(&self.local) as Arc<dyn WorkerApi>
    }

    /// Its parts.
    pub fn part_store(&self) -> Arc<PartStore> {
        Arc::clone(&self.store)
    }

    /// Its way to every worker, itself included without a network between.
    pub fn directory(&self) -> Arc<dyn WorkerDirectory> {
        Arc::clone(&self.directory)
    }

    /// Takes no new work, waits up to `limit` for what runs, and stops serving. Returns whether all
    /// of it ended in time.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.local.leave();
        let command = CommandBody::SetWorkerState {
            worker: self.id,
            incarnation: self.ids.incarnation(),
            state: WorkerState::Draining,
        };
        if let Err(error) = self.catalog.execute(command).await {
            tracing::warn!(worker = %self.id, %error, "the cluster does not know that it leaves");
        }
        let end_ms = self.clock.monotonic_ms() + limit.as_millis() as u64;
        while self.active.count() > 0 && self.clock.monotonic_ms() < end_ms {
            self.clock.sleep(DRAIN_INTERVAL).await;
        }
        let idle = self.active.count() == 0;
        self.serving.cancel();
        let server = self.server.lock().take();
        if let Some(server) = server {
            // What was answered has still to be read.
            let left = Duration::from_millis(end_ms.saturating_sub(self.clock.monotonic_ms()));
            let closed = within(&*self.clock, left.max(CLOSE_LIMIT), server).await;
            tracing::debug!(in_time = closed.is_some(), "the worker's server has closed");
        }
        self.heartbeats.cancel();
        let ended = self.tasks.stop(CLOSE_LIMIT).await;
        tracing::info!(worker = %self.id, idle, "the worker has stopped");
        idle && ended
    }
}

/// A listener, and where it listens.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::unavailable(format!("cannot listen on {address} (internal_listen): {error}"))
    })?;
    let listen = listener
        .local_addr()
        .map_err(|error| Error::internal(format!("a listener has no address: {error}")))?;
    Ok((listener, listen))
}

fn memory_limits(config: &WorkerConfig, folder: &DataFolder) -> MemoryLimits {
    MemoryLimits {
        node_bytes_max: config.memory_bytes_max,
        spill_dir: folder.spill(),
        spill_bytes_max: config.spill_bytes_max,
    }
}

/// Serves everything that a worker offers, until `stop` or until the owner stops.
fn serve(
    incoming: impl Stream<Item = std::io::Result<Lingering<()>>> + Send + 'static,
    local: Arc<LocalWorker>,
    host: FragmentHost,
    cluster: ClusterId,
    tasks: &TaskOwner,
    stop: CancellationToken,
) -> JoinHandle<Option<()>> {
    let leaving = local.leaving();
    let check = ClusterCheck::new(cluster);
    let own = WorkerServer::new(WorkerService::new(local))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    tasks.spawn(async move {
        leaving.cancelled().await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
    });
    let router = Server::builder()
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .add_service(health)
        .add_service(InterceptedService::new(own, check.clone()));
    let router = add_fragment_service(router, host, check);
    tasks.spawn(async move {
        let served = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the worker's server has failed");
        }
    })
}
