//! `granary server`: all roles in one process on one data folder.

use std::sync::Arc;
use std::time::Duration;

use granary_common::{Error, Result, SystemClock, SystemRandom, TaskOwner};
use granary_coordinator::CoordinatorNode;
use granary_metadata::{MetadataConfig, MetadataNode};
use granary_planner::{EngineConfig, EngineMode, QueryEngine};
use granary_worker::WorkerNode;

use super::health::Health;
use super::{coordinator, metadata, worker};
use crate::cluster::ReadyLine;
use crate::config::Settings;

pub(super) struct Server {
    coordinator: Arc<CoordinatorNode>,
    worker: WorkerNode,
    metadata: MetadataNode,
}

impl Server {
    pub(super) async fn start(
        settings: &Settings,
        health: &Health,
        tasks: &TaskOwner,
    ) -> Result<Server> {
        // The role's folders below one: each is locked and versioned by its owner.
        let metadata = MetadataConfig::embedded(settings.data_dir.join("metadata"));
        let metadata =
            MetadataNode::start(metadata, SystemClock::shared(), SystemRandom::shared()).await?;
        let catalog = metadata.catalog();
        let mut of_worker = settings.clone();
        of_worker.data_dir = settings.data_dir.join("worker");
        let worker = worker::start_node(&of_worker, Arc::clone(&catalog), tasks).await?;
        let workers = worker.directory();
        let engine = QueryEngine::new(EngineConfig {
            mode: EngineMode::Embedded,
            workers: Arc::clone(&workers),
            parts: Some(worker.part_store()),
            memory: coordinator::memory_limits(settings),
            cluster: coordinator::cluster_id(&catalog),
        })?;
        let coordinator =
            coordinator::start_node(settings, Arc::clone(&catalog), engine, workers, tasks).await?;
        coordinator::set_ready_check(health, &coordinator);
        Ok(Server { coordinator, worker, metadata })
    }

    pub(super) fn announce(&self, line: ReadyLine) -> ReadyLine {
        line.with("grpc", self.coordinator.grpc_addr()).with("internal", self.worker.listen_addr())
    }

    /// Ends when the metadata role has stopped by itself: nothing can be committed any more.
    pub(super) async fn failed(&self) -> Error {
        metadata::stopped(self.metadata.failed().await)
    }

    /// New work ends before what it needs does.
    pub(super) async fn drain(self, limit: Duration) -> bool {
        let coordinator = self.coordinator.drain(limit).await;
        let worker = self.worker.drain(limit).await;
        self.metadata.shutdown().await;
        coordinator && worker
    }
}
