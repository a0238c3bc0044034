//! What a write does beside adding its rows.

use std::sync::Arc;

use granary_catalog::{BucketWrite, Partitions, TableWrite};
use granary_common::{Error, Result};

use crate::core::Coordinator;
use crate::mutate::{Removals, add_to};

/// What goes away in the commit that shows the rows.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Nothing.
    Add,
    /// Whatever is in these partitions by then; every new row falls in one of them.
    Overwrite(Partitions),
    /// These rows, of which the new ones were computed. Both hold for one snapshot only.
    Replace(Arc<Removals>),
}

impl Effect {
    /// Kind `InvalidInput` when a part of the table's own write, which is the first one, is outside of what is overwritten.
    pub(super) fn check(&self, writes: &[TableWrite]) -> Result<()> {
        let Effect::Overwrite(partitions) = self else { return Ok(()) };
        let own = writes.iter().take(1).flat_map(|write| &write.buckets);
        let mut parts = own.flat_map(|bucket| &bucket.parts);
        match parts.find(|part| !partitions.contains(&part.partition)) {
            None => Ok(()),
            Some(part) => Err(Error::invalid(format!(
                "INSERT OVERWRITE ... PARTITION: a row falls in partition {}, which is not the one \
                 that is overwritten",
                part.partition
            ))),
        }
    }

    /// The snapshot that the rows were computed at, when a newer one would need other rows.
    pub(super) fn removals(&self) -> Option<&Arc<Removals>> {
        match self {
            Effect::Replace(removals) => Some(removals),
            Effect::Add | Effect::Overwrite(_) => None,
        }
    }

    /// What goes away bucket by bucket, ready for the commit.
    pub(super) async fn removed(&self, core: &Coordinator) -> Result<Vec<BucketWrite>> {
        match self {
            Effect::Replace(removals) => removals.bucket_writes(core).await,
            Effect::Add | Effect::Overwrite(_) => Ok(Vec::new()),
        }
    }

    /// The last writes of the commit, with what goes away.
    pub(super) fn applied(
        &self,
        writes: &[TableWrite],
        removed: &[BucketWrite],
    ) -> Vec<TableWrite> {
        let mut writes = writes.to_vec();
        if let Some(own) = writes.first_mut() {
            add_to(own, removed);
            if let Effect::Overwrite(partitions) = self {
                own.overwrite = Some(partitions.clone());
            }
        }
        writes
    }
}
