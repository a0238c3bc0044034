//! `granary metadata`.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Error, NodeId, Result, SystemClock, SystemRandom};
use granary_metadata::{MetadataConfig, MetadataNode};

use super::health::Health;
use crate::cluster::ReadyLine;
use crate::config::Settings;

pub(super) struct Metadata {
    node: MetadataNode,
}

impl Metadata {
    pub(super) async fn start(settings: &Settings, health: &Health) -> Result<Metadata> {
        let members = (1..).map(NodeId).zip(settings.metadata.0.iter().cloned()).collect();
        let mut config = MetadataConfig::member(
            NodeId(settings.node_id),
            members,
            settings.data_dir.clone(),
            settings.raft_listen,
        );
        config.timing.worker_lease = Duration::from_secs(settings.worker_lease_s);
        config.timing.replace_after = Duration::from_secs(settings.replace_after_s);
        config.timing.forget_after = Duration::from_secs(settings.forget_worker_after_s);
        let node =
            MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await?;
        let catalog = node.catalog();
        health.set_check(move || answers(Arc::clone(&catalog)));
        Ok(Metadata { node })
    }

    pub(super) fn announce(&self, line: ReadyLine) -> ReadyLine {
        match self.node.address() {
            Some(address) => line.with("raft", address),
            None => line,
        }
    }

    pub(super) async fn failed(&self) -> Error {
        stopped(self.node.failed().await)
    }

    pub(super) async fn drain(self) -> bool {
        self.node.shutdown().await;
        true
    }
}

/// What to do about a metadata node that has stopped by itself.
pub(super) fn stopped(error: Error) -> Error {
    error.context("see the log for the cause, for example a full disk; mend it and start again")
}

/// Whether a majority of the group answers.
async fn answers(catalog: Arc<dyn Catalog>) -> Result<()> {
    catalog.read_latest().await.map(|_| ())
}
