//! Parts of writes that failed: on a full disk their files would take the space that the next write
//! needs, and the sweep comes only when the lease of their ids has ended.

use std::sync::{Mutex, PoisonError};

use granary_common::{PartId, TableId};

use crate::sweep::delete_part;
use crate::volume::Volume;

/// The parts that a write has begun.
#[derive(Debug, Default)]
pub struct Begun(Mutex<Vec<PartId>>);

impl Begun {
    /// A part whose files may be there from now on.
    pub fn note(&self, part: PartId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    /// Deletes what there is of them, as far as that can be done: the sweep deletes the rest.
    pub async fn delete(self, volume: &Volume, table: TableId) {
        for part in self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Err(error) = delete_part(volume, table, part).await {
                tracing::debug!(%part, %error, "files of a write that failed are left");
            }
        }
    }
}
