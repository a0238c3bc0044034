//! `granary coordinator`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Result, SystemClock, SystemRandom, TaskOwner};
use granary_coordinator::{AcceptAll, Collaborators, CoordinatorConfig, CoordinatorNode};
use granary_execution::{CatalogDirectory, WorkerDirectory};
use granary_planner::{EngineConfig, EngineMode, MemoryLimits, QueryEngine};
use granary_sql::GranaryFunctions;

use super::health::Health;
use super::member::{Member, advertise_host};
use super::metadata::answers;
use super::{STOP_LIMIT, memory, worker};
use crate::cluster::ReadyLine;
use crate::config::Settings;

pub(super) struct Coordinator {
    node: CoordinatorNode,
    member: Member,
}

impl Coordinator {
    pub(super) async fn start(
        settings: &Settings,
        health: &Health,
        tasks: &TaskOwner,
    ) -> Result<Coordinator> {
        let member = Member::join(settings).await?;
        let catalog = member.catalog();
        let workers: Arc<dyn WorkerDirectory> =
            Arc::new(CatalogDirectory::new(Arc::clone(&catalog), BTreeMap::new()));
        let engine = QueryEngine::new(EngineConfig {
            mode: EngineMode::Cluster,
            workers: Arc::clone(&workers),
            parts: None,
            memory: memory_limits(settings),
        })?;
        let node = start_node(settings, Arc::clone(&catalog), engine, workers, tasks).await?;
        health.set_check(move || answers(Arc::clone(&catalog)));
        Ok(Coordinator { node, member })
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
) -> Result<CoordinatorNode> {
    let mut config = CoordinatorConfig::new(settings.grpc_listen, None);
    config.advertise_host = advertise_host(settings, settings.grpc_listen)?;
    config.secret = settings.secret.as_ref().map(|secret| secret.0.clone()).unwrap_or_default();
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
    CoordinatorNode::start(config, with).await
}
