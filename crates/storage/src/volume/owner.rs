//! Which cluster a volume belongs to that more than one could reach.

use granary_common::{ClusterId, Result};
use object_store::{Error as StoreError, ObjectStoreExt};

use super::{Volume, store_error};

/// The file that names the cluster.
const OWNER_FILE: &str = "cluster";

/// Whose parts a volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The cluster that asked.
    ThisCluster,
    /// The cluster of this name.
    Other(String),
}

impl Owner {
    /// Whose volume it is, as the file beside its parts says; one without such a file belongs to
    /// `cluster` from now on. Kind `Unavailable`.
    pub async fn of(volume: &Volume, cluster: &ClusterId) -> Result<Owner> {
        let path = volume.path(OWNER_FILE);
        let failed =
            |error: StoreError| store_error(&error).context(format!("volume {}", volume.name));
        let named = match volume.store.get(&path).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(StoreError::NotFound { .. }) => {
                let name = cluster.0.clone();
                volume.store.put(&path, name.into()).await.map_err(failed)?;
                return Ok(Owner::ThisCluster);
            }
            Err(error) => return Err(failed(error)),
        };
        let named = String::from_utf8_lossy(&named);
        Ok(match named == cluster.0.as_str() {
            true => Owner::ThisCluster,
            false => Owner::Other(named.into_owned()),
        })
    }
}
