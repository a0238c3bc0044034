//! What a process needs that joins a cluster: the catalog over the network, and a name for itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, RemoteCatalog};

use granary_common::{Error, ErrorKind, Result, SystemClock, TaskOwner};
use tokio::runtime::Runtime;
use tracing::{info, warn};

use super::cores;
use crate::config::Settings;

/// After this time without an answer of the metadata group it is said again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the metadata group, on threads of its own.
pub(super) struct Member {
    catalog: Arc<RemoteCatalog>,
    tasks: TaskOwner,
    control: Option<Runtime>,
}

impl Member {
    /// Connects and waits for the group, for as long as it takes.
    pub(super) async fn join(settings: &Settings) -> Result<Member> {
        let control = cores::control_runtime()?;
        let tasks = TaskOwner::on(control.handle().clone());
        let addresses = settings.metadata.0.clone();
        let connected = {
            let _on_control = control.enter();
            RemoteCatalog::connect(addresses, SystemClock::shared(), tasks.clone())
        };
        let member = match connected {
            Ok(catalog) => Member { catalog, tasks, control: Some(control) },
            Err(error) => {
                control.shutdown_background();
                return Err(error);
            }
        };
        loop {
            match member.catalog.ready(PATIENCE).await {
                Ok(snapshot) => {
                    info!(version = snapshot.version.0, "found the metadata group");
                    return Ok(member);
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    warn!("waiting for the metadata group at {}: {error}", settings.metadata);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    pub(super) async fn leave(&self, limit: Duration) {
        self.tasks.stop(limit).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}

/// The host by which others reach a listener on `listen`.
pub(super) fn advertise_host(settings: &Settings, listen: SocketAddr) -> Result<String> {
    if let Some(host) = &settings.advertise_host {
        return Ok(host.clone());
    }
    if !listen.ip().is_unspecified() {
        return Ok(match listen.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::invalid(format!("others cannot reach {listen}; set advertise_host")))
}
