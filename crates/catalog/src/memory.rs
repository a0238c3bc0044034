//! The catalog in memory, without consensus: for tests of what stands on the trait.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use granary_common::{CatalogVersion, Clock, ClusterId, Error, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api::{Catalog, Heartbeat, HeartbeatReply, LeaseHolder, MemberChange, MetadataMember};
use crate::apply::apply;
use crate::command::{BucketPlacement, Command, CommandBody, Outcome};
use crate::snapshot::Snapshot;

/// Applies commands one after the other to a snapshot that it holds.
#[derive(Debug)]
pub struct MemoryCatalog {
    state: Mutex<Arc<Snapshot>>,
    version: watch::Sender<CatalogVersion>,
    clock: Arc<dyn Clock>,
    /// Addresses of the coordinators that have sent a heartbeat.
    coordinators: Mutex<BTreeSet<String>>,
}

impl MemoryCatalog {
    /// An empty catalog of a cluster named `cluster`.
    pub fn new(cluster: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let catalog = Self {
            state: Mutex::new(Arc::new(Snapshot::default())),
            version: watch::channel(CatalogVersion(0)).0,
            clock,
            coordinators: Mutex::default(),
        };
        catalog.run(CommandBody::InitCluster { cluster: ClusterId(cluster.to_owned()) })?;
        Ok(catalog)
    }

    fn run(&self, body: CommandBody) -> Result<(CatalogVersion, Outcome)> {
        let command = Command { time_ms: self.clock.now_ms(), body };
        let mut state = self.state.lock();
        let version = CatalogVersion(state.version.0 + 1);
        let transition = apply(&state, version, &command)?;
        *state = Arc::new(transition.next);
        drop(state);
        self.version.send_replace(version);
        Ok((version, transition.outcome))
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.lock())
    }

    async fn read_latest(&self) -> Result<Arc<Snapshot>> {
        Ok(self.snapshot())
    }

    async fn execute(&self, command: CommandBody) -> Result<(CatalogVersion, Outcome)> {
        self.run(command)
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        if heartbeat.address.is_empty() {
            return Err(Error::invalid("a heartbeat carries the holder's address"));
        }
        let mut coordinators = self.coordinators.lock();
        if let LeaseHolder::Coordinator { .. } = heartbeat.holder {
            coordinators.insert(heartbeat.address);
        }
        Ok(HeartbeatReply {
            lease_ms: 10_000,
            coordinators: coordinators.iter().cloned().collect(),
        })
    }

    async fn planned_placements(&self) -> Result<Vec<BucketPlacement>> {
        // Without a controller everything stays where it is.
        Ok(Vec::new())
    }

    async fn metadata_members(&self) -> Result<Vec<MetadataMember>> {
        // There is no group.
        Ok(Vec::new())
    }

    async fn change_member(&self, _: MemberChange) -> Result<()> {
        Err(Error::unsupported("a catalog in memory has no metadata group"))
    }

    fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.version.subscribe()
    }
}
