//! The life of a member: opens its folder, joins its group, serves, and leaves in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::remote::wire::{self, within};
use granary_catalog::{Catalog, SharedRound, protocol};
use granary_common::{Clock, Error, ErrorKind, Random, Result, TaskOwner};
use granary_proto::internal::StatusRequest;
use granary_proto::internal::metadata_server::MetadataServer;
use granary_proto::internal::raft_server::RaftServer;
use openraft::{Config, SnapshotPolicy};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::catalog::MemberCatalog;
use crate::config::MetadataConfig;
use crate::feed::Feed;
use crate::formation::{form, wait_until_formed};
use crate::group::{Group, Hop};
use crate::leases::Leases;
use crate::peers::Peers;
use crate::raft::network::Network;
use crate::raft::service::RaftService;
use crate::raft::{Raft, TypeConfig};
use crate::service::MetadataService;
use crate::space::Space;
use crate::store::Store;
use crate::store::log::LogStore;
use crate::store::state::StateMachine;
use crate::versions::Heard;
use crate::{duties, measure};

/// Threads for Raft, leases and heartbeats, apart from those that run queries.
const THREADS: usize = 2;
/// For how long another member may take to say whether the group has been formed.
const ASK_LIMIT: Duration = Duration::from_secs(1);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running member of the metadata group.
pub struct MetadataNode {
    group: Group,
    catalog: Arc<MemberCatalog>,
    address: Option<SocketAddr>,
    tasks: TaskOwner,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for MetadataNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetadataNode").field("group", &self.group).finish_non_exhaustive()
    }
}

impl MetadataNode {
    /// Starts a member. A group of one is ready when this returns; a member of a larger group
    /// joins it in the background: see [`MetadataNode::ready`].
    ///
    /// Kind `Unavailable` when the folder or the port is in use, `Unsupported` when a newer build
    /// wrote the folder, `InvalidInput` when it belongs to another node or the settings
    /// contradict each other, `PermissionDenied` when the other members are another cluster.
    pub async fn start(
        config: MetadataConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        config.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("granary-raft")
            .enable_all()
            .build()
            .map_err(|error| Error::internal(format!("cannot start threads: {error}")))?;
        let tasks = TaskOwner::on(runtime.handle().clone());
        let starting = tasks.spawn(start_on(config, clock, random, tasks.clone()));
        let started = match starting.await {
            Ok(Some(started)) => started,
            Ok(None) => Err(Error::unavailable("this node is shutting down")),
            Err(error) => Err(Error::internal(format!("a metadata node failed: {error}"))),
        };
        match started {
            Ok((group, catalog, address)) => {
                Ok(Self { group, catalog, address, tasks, runtime: Some(runtime) })
            }
            Err(error) => {
                tasks.stop(STOP_LIMIT).await;
                stop_runtime(runtime).await;
                Err(error)
            }
        }
    }

    /// The catalog, for roles in the same process.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether this member leads its group now.
    pub fn is_leader(&self) -> bool {
        self.group.leads().is_some()
    }

    /// Ends when this member cannot take part any more, for example because its disk is full. The
    /// process should then end, too: what is on disk is whole, and a restart continues from it.
    pub async fn failed(&self) -> Error {
        let mut raft = self.group.raft.metrics();
        let stopped = raft.wait_for(|metrics| metrics.running_state.is_err()).await;
        let why = match stopped.as_ref().map(|metrics| &metrics.running_state) {
            Ok(Err(fatal)) => fatal.to_string(),
            _ => "it was stopped".to_owned(),
        };
        Error::internal(format!("metadata node {} has stopped: {why}", self.group.node))
    }

    /// Waits until the group has formed its cluster and a majority answers. Kind `Unavailable`
    /// when that takes longer than `limit`.
    pub async fn ready(&self, limit: Duration) -> Result<()> {
        let mut versions = self.catalog.watch();
        let formed = async {
            // The borrowed version must be given back before anything else is waited for: as long
            // as it is held, no new one can be published.
            let formed = versions.wait_for(|_| self.catalog.snapshot().cluster.is_some());
            let formed = formed.await.is_ok();
            formed && self.catalog.read_latest().await.is_ok()
        };
        match within(&*self.group.clock, limit, formed).await {
            Some(true) => Ok(()),
            _ => Err(Error::unavailable(format!(
                "the metadata group has not formed within {limit:?}; check that a majority of \
                 its members runs"
            ))),
        }
    }

    /// Stops serving and taking part, and closes the data folder.
    pub async fn shutdown(mut self) {
        let _ = self.group.raft.shutdown().await; // Fails only when it has stopped already.
        self.tasks.stop(STOP_LIMIT).await;
        let runtime = self.runtime.take();
        drop(self);
        if let Some(runtime) = runtime {
            stop_runtime(runtime).await;
        }
    }
}

impl Drop for MetadataNode {
    fn drop(&mut self) {
        // Blocks until the folder is closed: RocksDB must not be in use when the process exits.
        if let Some(stopping) = self.runtime.take().and_then(|runtime| end_threads(runtime, || ()))
        {
            let _ = stopping.join();
        }
    }
}

/// Ends the group's threads, and with them the last users of the data folder.
async fn stop_runtime(runtime: Runtime) {
    let (done, ended) = tokio::sync::oneshot::channel();
    let stopping = end_threads(runtime, move || {
        let _ = done.send(()); // Nobody waits when the caller was cancelled.
    });
    if stopping.is_some() {
        let _ = ended.await;
    }
}

/// A runtime may only be ended where blocking is allowed, so this takes a thread of its own.
fn end_threads(
    runtime: Runtime,
    then: impl FnOnce() + Send + 'static,
) -> Option<std::thread::JoinHandle<()>> {
    let stop = std::thread::Builder::new().name("granary-raft-stop".to_owned());
    stop.spawn(move || {
        runtime.shutdown_timeout(STOP_LIMIT);
        then();
    })
    .ok()
}

type Started = (Group, Arc<MemberCatalog>, Option<SocketAddr>);

async fn start_on(
    config: MetadataConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    tasks: TaskOwner,
) -> Result<Started> {
    // The port first: a member that cannot be reached should change nothing.
    let listener = match config.listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let store = Store::open(&config.data_dir, config.node_id, &*random).await?;
    let feed = Feed::new();
    let machine =
        StateMachine::open(&store, Arc::clone(&feed), Arc::clone(&random), tasks.clone())?;
    protocol::check_node("this build of the metadata node", config.speaks, &feed.snapshot())?;
    let peers = Peers::new(
        tokio::runtime::Handle::current(),
        Arc::clone(&feed),
        Arc::clone(&store.members),
        Heard::new(config.speaks),
    );
    let network = Network { peers: Arc::clone(&peers), tasks: tasks.clone() };
    let log = LogStore::new(Arc::clone(&store.disk));
    refuse_other_cluster(&config, &peers, &feed.cluster_id(), log.is_new()?, &*clock).await?;
    let resumed = log.resumed(config.node_id.0)?;
    let raft = Raft::new(config.node_id.0, Arc::new(raft_config(&config)?), network, log, machine);
    let raft =
        raft.await.map_err(|error| Error::internal(format!("cannot start Raft: {error}")))?;
    let group = Group {
        node: config.node_id,
        resumed,
        raft,
        feed,
        peers,
        leases: Arc::new(Leases::default()),
        clock,
        timing: config.timing.clone(),
        retention: config.retention.clone(),
        space: Arc::new(Space::of(&store.folder)),
    };
    let reads = {
        let group = group.clone();
        SharedRound::start(&tasks, move || {
            let group = group.clone();
            async move { group.read_version(Hop::First).await }
        })
    };
    tasks.spawn(measure::follow(group.clone()));
    if let Some(listener) = listener {
        serve(listener, &group, &reads, &store, &tasks);
    }
    form(&config, &group).await?;
    tasks.spawn(duties::perform(group.clone(), random, tasks.clone()));
    let catalog = Arc::new(MemberCatalog { group: group.clone(), reads });
    if config.members.len() == 1 {
        wait_until_formed(&catalog, &group, config.speaks).await?;
    }
    Ok((group, catalog, address))
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::unavailable(format!("cannot listen on {address} (raft_listen): {error}"))
    })
}

fn raft_config(config: &MetadataConfig) -> Result<Config> {
    let timing = &config.timing;
    let ms = |duration: Duration| duration.as_millis() as u64;
    let keep = config.retention.log_kept;
    Config {
        cluster_name: "granary".to_owned(),
        heartbeat_interval: ms(timing.raft_heartbeat),
        election_timeout_min: ms(timing.election.0),
        election_timeout_max: ms(timing.election.1),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.retention.snapshot_every),
        max_in_snapshot_log_to_keep: keep,
        replication_lag_threshold: config.retention.snapshot_every + keep,
        ..Config::default()
    }
    .validate()
    .map_err(|error| Error::invalid(format!("the metadata group's times: {error}")))
}

fn serve(
    listener: TcpListener,
    group: &Group,
    reads: &SharedRound,
    store: &Store,
    tasks: &TaskOwner,
) {
    let raft = RaftServer::new(RaftService {
        raft: group.raft.clone(),
        peers: Arc::clone(&group.peers),
        incoming: store.folder.join("incoming"),
    })
    .max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
    let metadata = MetadataServer::new(MetadataService {
        group: group.clone(),
        reads: reads.clone(),
        tasks: tasks.clone(),
    })
    .max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stop = tasks.cancelled();
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .add_service(raft)
        .add_service(metadata)
        .add_service(health_service)
        .serve_with_incoming_shutdown(incoming, async move { stop.cancelled().await });
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the metadata node has stopped listening");
        }
    });
    let group = group.clone();
    tasks.spawn(async move { report_health(&group, &health).await });
}

/// The metadata service is healthy while the cluster is formed and has a leader.
async fn report_health(group: &Group, health: &tonic_health::server::HealthReporter) {
    type Service = MetadataServer<MetadataService>;
    let mut raft = group.raft.metrics();
    health.set_not_serving::<Service>().await;
    loop {
        let leader = raft.borrow_and_update().current_leader;
        let serves = leader.is_some() && !group.feed.cluster_id().is_empty();
        match serves {
            true => health.set_serving::<Service>().await,
            false => health.set_not_serving::<Service>().await,
        }
        if raft.changed().await.is_err() {
            health.set_not_serving::<Service>().await;
            return;
        }
    }
}

/// Asks the members that answer which cluster they are: a folder of another one, or an empty
/// folder under an id that the group knows, must not take part.
async fn refuse_other_cluster(
    config: &MetadataConfig,
    peers: &Peers,
    own: &str,
    is_new: bool,
    clock: &dyn Clock,
) -> Result<()> {
    let first = config.members.iter().map(|(id, _)| *id).min();
    for (node, address) in config.members.iter().filter(|(node, _)| *node != config.node_id) {
        let mut client = peers.metadata(address)?;
        let asked = client.status(peers.request(StatusRequest {}));
        let status = match within(clock, ASK_LIMIT, asked).await {
            Some(Ok(status)) => status.into_inner(),
            Some(Err(status)) => match wire::error_of(&status) {
                refused if refused.kind() == ErrorKind::PermissionDenied => {
                    let folder = config.data_dir.display();
                    return Err(refused.context(format!(
                        "data folder {folder}: metadata node {node} at {address} refuses it"
                    )));
                }
                _ => continue, // Away, or not up yet.
            },
            None => continue,
        };
        if !own.is_empty() && !status.cluster_id.is_empty() && status.cluster_id != own {
            return Err(Error::denied(format!(
                "data folder {} belongs to cluster {own}, but metadata node {node} at {address} \
                 is of cluster {}; check the addresses or give this node its own folder",
                config.data_dir.display(),
                status.cluster_id
            )));
        }
        // Only the first member forms a group, so it cannot have been there without knowing.
        let formed = status.members.iter().any(|member| member.node_id == config.node_id.0);
        if is_new && formed && first == Some(config.node_id) {
            return Err(Error::invalid(format!(
                "data folder {} is empty, but its group was formed with metadata node {}: a node \
                 that lost its disk joins under a new id (remove {} and add the new one)",
                config.data_dir.display(),
                config.node_id,
                config.node_id
            )));
        }
    }
    Ok(())
}

const _: fn() = || {
    fn is_raft_type<T: openraft::RaftTypeConfig>() {}
    is_raft_type::<TypeConfig>();
};
