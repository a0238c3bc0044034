//! How a worker becomes a member of its cluster.

use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Clock, ClusterId, Error, Random, Result, WorkerId};

use crate::data_folder::{DataFolder, Identity};
use crate::node::WorkerConfig;
use crate::registration::Registration;

/// How long a start waits for the metadata group.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// Between attempts to reach it.
const JOIN_INTERVAL: Duration = Duration::from_millis(250);

/// What a start has learnt before it serves.
pub struct Joined {
    pub cluster: ClusterId,
    pub id: WorkerId,
    pub incarnation: u64,
    pub registration: Registration,
}

/// Registers in the cluster, and remembers who the worker is there.
pub async fn join(
    config: &WorkerConfig,
    folder: &DataFolder,
    address: &str,
    catalog: &dyn Catalog,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<Joined> {
    let known = folder.identity(random)?;
    let give_up_ms = clock.monotonic_ms() + JOIN_LIMIT.as_millis() as u64;
    loop {
        match try_join(config, &known, address, catalog).await {
            Ok(joined) => {
                folder.remember(&Identity {
                    identity: known.identity,
                    cluster: Some(joined.cluster.clone()),
                    worker: Some(joined.id),
                })?;
                return Ok(joined);
            }
            Err(error) if may_pass(&error) && clock.monotonic_ms() < give_up_ms => {
                tracing::debug!(%error, "the metadata group is not ready");
                clock.sleep(JOIN_INTERVAL).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn may_pass(error: &Error) -> bool {
    use granary_common::ErrorKind;
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

async fn try_join(
    config: &WorkerConfig,
    known: &Identity,
    address: &str,
    catalog: &dyn Catalog,
) -> Result<Joined> {
    let snapshot = catalog.read_latest().await?;
    let cluster = snapshot
        .cluster
        .as_ref()
        .ok_or_else(|| Error::unavailable("the cluster has not been initialised yet; try again"))?;
    if let Some(before) = &known.cluster
        && *before != cluster.id
    {
        return Err(Error::conflict(format!(
            "the data folder {} belongs to cluster {before}, and the metadata group is that of \
             cluster {}; give the worker the right group or an empty folder",
            config.data_dir.display(),
            cluster.id
        )));
    }
    let registration = Registration {
        identity: known.identity.clone(),
        address: address.to_owned(),
        zone: config.zone.clone(),
    };
    let (id, incarnation) = registration.register(catalog).await?;
    Ok(Joined { cluster: cluster.id.clone(), id, incarnation, registration })
}
