//! How a group of metadata nodes comes into being.

use std::collections::BTreeMap;

use granary_common::{Error, Result};
use openraft::error::{InitializeError, RaftError};
use openraft::impls::BasicNode;

use crate::config::MetadataConfig;
use crate::group::Group;

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
