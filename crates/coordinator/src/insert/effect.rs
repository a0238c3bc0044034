//! What a write does beside adding its rows.

use std::sync::Arc;

use granary_catalog::{BucketWrite, Partitions, TableWrite, WriteOrigin};
use granary_common::{Error, Result, TableId};

use crate::core::Coordinator;
use crate::mutate::Removals;

/// What goes away in the commit that shows the rows.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Nothing.
    Add,
    /// Whatever is in these partitions by then; every new row falls in one of them.
    Overwrite(Partitions),
    /// These rows, of which the new ones were computed. Both hold for one snapshot only.
    Replace(Arc<Removals>),
    /// Whatever is in the table, unless the rows are added to it: they are those of a run of a
    /// refreshable view, and come only as long as the run has its right to it.
    Refresh { view: TableId, run: u64, append: bool },
    /// Nothing; the rows are what a new view makes of those that its source had.
    Populate { view: TableId },
}

static EVERYTHING: Partitions = Partitions::All;

impl Effect {
    /// Kind `InvalidInput` when a part of the table's own write, which is the first one, is outside of what is overwritten.
    pub(super) fn check(&self, writes: &[TableWrite]) -> Result<()> {
        let Some(partitions) = self.overwritten() else { return Ok(()) };
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
            Effect::Add
            | Effect::Overwrite(_)
            | Effect::Refresh { .. }
            | Effect::Populate { .. } => None,
        }
    }

    /// The partitions of which nothing stays.
    pub(super) fn overwritten(&self) -> Option<&Partitions> {
        match self {
            Effect::Overwrite(partitions) => Some(partitions),
            Effect::Refresh { append: false, .. } => Some(&EVERYTHING),
            Effect::Refresh { append: true, .. }
            | Effect::Add
            | Effect::Replace(_)
            | Effect::Populate { .. } => None,
        }
    }

    /// What the catalog notes beside the write.
    pub(super) fn origin(&self) -> WriteOrigin {
        match self {
            Effect::Refresh { view, run, .. } => WriteOrigin::Refresh { view: *view, run: *run },
            Effect::Replace(removals) => removals.origin(),
            Effect::Populate { view } => WriteOrigin::Populate { view: *view },
            Effect::Add | Effect::Overwrite(_) => WriteOrigin::Insert,
        }
    }

    /// What goes away bucket by bucket, ready for the commit.
    pub(super) async fn removed(&self, core: &Coordinator) -> Result<Vec<BucketWrite>> {
        match self {
            Effect::Replace(removals) => removals.bucket_writes(core).await,
            Effect::Add
            | Effect::Overwrite(_)
            | Effect::Refresh { .. }
            | Effect::Populate { .. } => Ok(Vec::new()),
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
            own.take_away(removed);
            if let Some(partitions) = self.overwritten() {
                own.overwrite = Some(partitions.clone());
            }
        }
        writes
    }
}
