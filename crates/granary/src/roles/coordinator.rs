//! `granary coordinator`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Clock, ClusterId, FolderLock, Result, SystemClock, SystemRandom, TaskOwner};
use granary_coordinator::{AcceptAll, Collaborators, CoordinatorConfig, CoordinatorNode};
use granary_execution::{CatalogDirectory, WorkerDirectory};
use granary_planner::{EngineConfig, EngineMode, MemoryLimits, QueryEngine};
use granary_sql::GranaryFunctions;

use super::health::Health;
use super::member::{Member, advertise_host};
use super::{STOP_LIMIT, memory, worker};
use crate::cluster::ReadyLine;
use crate::config::{Settings, configured_tiers};

const READY_POLL: Duration = Duration::from_millis(20);

pub(super) struct Coordinator {
    node: Arc<CoordinatorNode>,
    member: Member,
    /// What queries spill is below the folder.
    _folder: FolderLock,
}

impl Coordinator {
    pub(super) async fn start(
        settings: &Settings,
        health: &Health,
        tasks: &TaskOwner,
    ) -> Result<Coordinator> {
        let folder = FolderLock::take(&settings.data_dir)?;
        let member = Member::join(settings).await?;
        let catalog = member.catalog();
        let workers: Arc<dyn WorkerDirectory> =
            Arc::new(CatalogDirectory::new(Arc::clone(&catalog), BTreeMap::new()));
        let engine = QueryEngine::new(EngineConfig {
            mode: EngineMode::Cluster,
            workers: Arc::clone(&workers),
            parts: None,
            memory: memory_limits(settings),
            cluster: cluster_id(&catalog),
        })?;
        let node = start_node(settings, Arc::clone(&catalog), engine, workers, tasks).await?;
        set_ready_check(health, &node);
        Ok(Coordinator { node, member, _folder: folder })
    }

    pub(super) fn announce(&self, line: ReadyLine) -> ReadyLine {
        line.with("grpc", self.node.grpc_addr())
    }

    pub(super) async fn drain(self, limit: Duration) -> bool {
        let in_time = self.node.drain(limit).await;
        self.member.leave(STOP_LIMIT).await;
        in_time
    }
}

/// What queries may take of this process's memory and disk.
pub(super) fn memory_limits(settings: &Settings) -> MemoryLimits {
    let node_bytes_max = memory::query_bytes(settings.memory_mib);
    MemoryLimits {
        node_bytes_max,
        spill_dir: spill_dir(settings),
        spill_bytes_max: worker::spill_bytes(node_bytes_max),
    }
}

/// The cluster that this process has joined.
pub(super) fn cluster_id(catalog: &Arc<dyn Catalog>) -> Option<ClusterId> {
    catalog.snapshot().cluster.as_ref().map(|cluster| cluster.id.clone())
}

fn spill_dir(settings: &Settings) -> PathBuf {
    settings.data_dir.join("coordinator-spill")
}

/// Starts the coordinator of this process.
pub(super) async fn start_node(
    settings: &Settings,
    catalog: Arc<dyn Catalog>,
    engine: QueryEngine,
    workers: Arc<dyn WorkerDirectory>,
    tasks: &TaskOwner,
) -> Result<Arc<CoordinatorNode>> {
    let mut config = CoordinatorConfig::new(settings.grpc_listen);
    config.advertise_host = advertise_host(settings, settings.grpc_listen)?;
    config.secret = settings.secret.as_ref().map(|secret| secret.0.clone()).unwrap_or_default();
    config.tiers = Arc::new(configured_tiers(settings)?);
    config.user_files_path.clone_from(&settings.user_files_path);
    let with = Collaborators {
        catalog,
        engine: Arc::new(engine),
        workers,
        functions: Arc::new(GranaryFunctions),
        authenticator: Arc::new(AcceptAll),
        clock: SystemClock::shared(),
        random: SystemRandom::shared(),
        tasks: tasks.clone(),
    };
    let node = CoordinatorNode::start(config, with).await?;
    // It listens; statements are served once it holds a lease.
    while let Err(error) = node.check_ready() {
        tracing::debug!("not ready yet: {error}");
        SystemClock.sleep(READY_POLL).await;
    }
    Ok(Arc::new(node))
}

/// Makes `/readyz` follow the coordinator's own view.
pub(super) fn set_ready_check(health: &Health, node: &Arc<CoordinatorNode>) {
    let node = Arc::clone(node);
    health.set_check(move || std::future::ready(node.check_ready()));
}
