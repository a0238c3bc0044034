//! How a group of metadata nodes comes into being.

use std::collections::BTreeMap;
use std::time::Duration;

use granary_catalog::remote::wire::within;
use granary_catalog::{Catalog, Snapshot};
use granary_common::{Error, Result};
use openraft::error::{InitializeError, RaftError};
use openraft::impls::BasicNode;

use crate::catalog::MemberCatalog;
use crate::config::MetadataConfig;
use crate::group::Group;

/// For how long a group of one may take to be ready.
const EMBEDDED_LIMIT: Duration = Duration::from_secs(30);

/// The member with the lowest id brings the group into being, with everyone whom it was told of.
///
/// This happens in one synced write or not at all, so a crash before it only means that the next
/// start does it, and one after it that there is nothing to do.
pub(crate) async fn form(config: &MetadataConfig, group: &Group) -> Result<()> {
    let first = config.members.iter().map(|(id, _)| *id).min();
    if first == Some(config.node_id) {
        let members: BTreeMap<u64, BasicNode> = config
            .members
            .iter()
            .map(|(id, address)| (id.0, BasicNode { addr: address.clone() }))
            .collect();
        match group.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => {
                return Err(Error::internal(format!("cannot form the metadata group: {error}")));
            }
        }
    }
    Ok(())
}

/// Waits until a group of one has been formed; a new one speaks at once what its node does.
pub(crate) async fn wait_until_formed(
    catalog: &MemberCatalog,
    group: &Group,
    speaks: u32,
) -> Result<()> {
    let mut versions = catalog.watch();
    let is_formed = |now: &Snapshot| {
        now.cluster.is_some() && (now.protocol() == speaks || !now.workers.is_empty())
    };
    let formed = versions.wait_for(|_| is_formed(&catalog.snapshot()));
    match within(&*group.clock, EMBEDDED_LIMIT, formed).await {
        Some(Ok(_)) => Ok(()),
        _ => Err(Error::unavailable("the catalog could not be started")),
    }
}
