//! Rows that a statement takes away, from the query that finds them to the commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use futures::stream::{StreamExt, TryStreamExt};
use granary_catalog::{
    BucketWrite, CommandBody, CopiesChange, CopyChange, DeletionContent, KnownPart, Loss,
    MutationNote, NewDeletions, Part, PartLocation, Snapshot, WriteOrigin, losses_by_bucket,
};
use granary_common::{CatalogVersion, Error, PartId, Result, TableId, WorkerId};
use granary_execution::WrittenDeletions;
use granary_storage::deletions::INLINE_BYTES_MAX;
use granary_storage::{Deletions, PartRef};
use parking_lot::Mutex;

use crate::core::Coordinator;
use crate::lost::while_alive;

/// Places of rows in the parts of one table at one version: a bitmap for each part.
#[derive(Debug)]
pub(crate) struct Removals {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) table: TableId,
    parts: Mutex<BTreeMap<PartId, Deletions>>,
    /// What the catalog notes when they go, unless an insert takes them away.
    note: Option<MutationNote>,
    changed_rows: AtomicU64,
}

impl Removals {
    /// No row yet.
    pub(crate) fn new(snapshot: Arc<Snapshot>, table: TableId) -> Self {
        Self {
            snapshot,
            table,
            parts: Mutex::default(),
            note: None,
            changed_rows: AtomicU64::new(0),
        }
    }

    /// The same for a mutation, of which the catalog keeps a note.
    pub(crate) fn of_mutation(
        snapshot: Arc<Snapshot>,
        table: TableId,
        note: &MutationNote,
    ) -> Self {
        Self { note: Some(note.clone()), ..Self::new(snapshot, table) }
    }

    /// Counts rows that the mutation changes, deletes or adds.
    pub(crate) fn count_changed(&self, rows: u64) {
        self.changed_rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows counted so far.
    pub(crate) fn changed(&self) -> u64 {
        self.changed_rows.load(Ordering::Relaxed)
    }

    /// Parts that lose rows, as far as is known.
    pub(crate) fn part_count(&self) -> u64 {
        self.parts.lock().len() as u64
    }

    /// What the commit says that it is.
    pub(crate) fn origin(&self) -> WriteOrigin {
        match &self.note {
            Some(note) => {
                WriteOrigin::Mutation(MutationNote { rows: self.changed(), ..note.clone() })
            }
            None => WriteOrigin::Insert,
        }
    }

    /// Adds the rows at these places and gives how many were there already. Rows whose part is
    /// NULL have no place.
    pub(crate) fn add(&self, parts: &ArrayRef, offsets: &ArrayRef) -> Result<u64> {
        let (parts, offsets) = (numbers(parts)?, numbers(offsets)?);
        let (parts, offsets) =
            (parts.as_primitive::<UInt64Type>(), offsets.as_primitive::<UInt64Type>());
        let mut known = self.parts.lock();
        let mut repeated = 0;
        for (part, offset) in parts.iter().zip(offsets.iter()) {
            let (Some(part), Some(offset)) = (part, offset) else { continue };
            let row = u32::try_from(offset)
                .map_err(|_| Error::internal(format!("part {part} has no row {offset}")))?;
            let is_new = known.entry(PartId(part)).or_default().insert(row);
            repeated += u64::from(!is_new);
        }
        Ok(repeated)
    }

    /// How many rows go.
    pub(crate) fn rows(&self) -> u64 {
        self.parts.lock().values().map(Deletions::len).sum()
    }

    /// The rows as the commit names them, bucket by bucket; large vectors are written to the workers
    /// that hold the parts.
    pub(crate) async fn bucket_writes(&self, core: &Coordinator) -> Result<Vec<BucketWrite>> {
        let state = self.snapshot.tables.get(&self.table);
        let state = state.ok_or_else(|| Error::internal("the table of a mutation is unknown"))?;
        let parts: Vec<(PartId, Deletions)> =
            self.parts.lock().iter().map(|(part, rows)| (*part, rows.clone())).collect();
        let version = self.snapshot.version;
        let losses = parts.into_iter().map(|(id, rows)| async move {
            let part = state.parts.get(&id).filter(|part| part.visible_at(version));
            let part = part.ok_or_else(|| Error::internal(format!("part {id} is unknown")))?;
            Ok::<_, Error>((Arc::clone(part), loss(core, part, version, rows).await?))
        });
        let losses: Vec<(Arc<Part>, Loss)> = futures::stream::iter(losses)
            .buffer_unordered(core.config.limits.bucket_writes_max)
            .try_collect()
            .await?;
        losses_by_bucket(state, losses)
    }
}

fn numbers(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::UInt64 => Ok(Arc::clone(values)),
        _ => cast(values, &DataType::UInt64)
            .map_err(|error| Error::internal(format!("places of rows: {error}"))),
    }
}

async fn loss(
    core: &Coordinator,
    part: &Part,
    version: CatalogVersion,
    mut rows: Deletions,
) -> Result<Loss> {
    let known =
        KnownPart { part: part.id, deletions: part.deletions.last().map(|vector| vector.since) };
    // The query does not see rows that are deleted, so these are others.
    let earlier = part.deletions_at(version);
    let total = rows.len() + earlier.map_or(0, |vector| vector.rows);
    if total >= part.rows {
        return Ok(Loss::Whole(known));
    }
    let in_file = match earlier.map(|vector| &vector.content) {
        None => false,
        Some(DeletionContent::File { .. }) => true,
        Some(inline @ DeletionContent::Inline(_)) => {
            rows.union(&Deletions::from_content(inline)?);
            false
        }
    };
    let encoded = rows.encode();
    let new = match !in_file && encoded.len() <= INLINE_BYTES_MAX {
        true => {
            let content = DeletionContent::Inline(encoded);
            NewDeletions { known, rows: total, content, synced: Vec::new() }
        }
        false => {
            let WrittenDeletions { content, synced } =
                Box::pin(written(core, PartRef::at(part, version), rows)).await?;
            let new = NewDeletions { known, rows: total, content, synced };
            Box::pin(check_copies(core, part, &new)).await?;
            new
        }
    };
    Ok(Loss::Rows(new))
}

/// Lets a worker that holds the part write the vector, and send it to the other copies.
async fn written(core: &Coordinator, part: PartRef, rows: Deletions) -> Result<WrittenDeletions> {
    let snapshot = core.with.catalog.snapshot();
    let is_full = |worker: &WorkerId| snapshot.workers.get(worker).is_some_and(|row| row.is_full);
    let live: Vec<WorkerId> = core.with.workers.live().into_iter().map(|(id, _)| id).collect();
    let holder = match &part.location {
        PartLocation::Local { copies, .. } => {
            let holders = copies.iter().filter(|worker| live.contains(worker));
            holders.min_by_key(|worker| is_full(worker))
        }
        PartLocation::Shared { .. } => live.first(),
    };
    let holder = *holder
        .ok_or_else(|| Error::unavailable(format!("no live worker holds part {}", part.id)))?;
    let worker = core.with.workers.api(holder)?;
    let writing = worker.write_deletions(part, rows);
    while_alive(core, Some(vec![holder]), writing).await
}

/// A copy that did not take the vector is none any more; the statement then begins anew. Kind
/// `Conflict` when there is one.
async fn check_copies(core: &Coordinator, part: &Part, new: &NewDeletions) -> Result<()> {
    let (DeletionContent::File { .. }, PartLocation::Local { copies, .. }) =
        (&new.content, &part.location)
    else {
        return Ok(());
    };
    let missed = copies.iter().filter(|worker| !new.synced.contains(worker));
    let mut has_missed = false;
    for worker in missed {
        has_missed = true;
        tracing::warn!(part = %part.id, %worker, "a copy has missed deletions and is given up");
        let change = CopiesChange {
            table: part.table,
            worker: *worker,
            change: CopyChange::Lost,
            parts: vec![new.known],
        };
        core.with.catalog.execute(CommandBody::ChangeCopies(change)).await?;
    }
    match has_missed {
        true => Err(Error::conflict(format!("part {} has lost a copy meanwhile", part.id))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::UInt64Array;

    fn column(values: &[Option<u64>]) -> ArrayRef {
        Arc::new(UInt64Array::from(values.to_vec()))
    }

    #[test]
    fn places_are_counted_once() {
        let removals = Removals::new(Arc::default(), TableId(1));
        let parts = column(&[Some(7), Some(7), Some(8), None, Some(7)]);
        let offsets = column(&[Some(0), Some(1), Some(0), None, Some(1)]);
        assert_eq!(removals.add(&parts, &offsets).unwrap(), 1);
        assert_eq!(removals.rows(), 3);
        let beyond = removals.add(&column(&[Some(1)]), &column(&[Some(1 << 32)]));
        assert!(beyond.is_err());
    }
}
