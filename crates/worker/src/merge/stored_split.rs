//! Splits of stored parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use granary_catalog::{NewPart, Part};
use granary_common::{BucketIndex, CatalogVersion, Error, Result};
use granary_storage::merge::{MergeProgress, SplitMap, SplitSpec, split_parts};
use granary_storage::{Deletions, PartRef, PartSchema, PartStore, Volume, write_deletions};

use super::job::Job;
use super::split::{SplitCarryOver, SplitDeletions, SplitJob, SplitMade};
use super::stored::{
    StoredParts, bound_indexes, made_projections, new_ref, newly_deleted, ship_beside, skip_indexes,
};
use crate::part_ids::{Hold, LeasedPartIds};
use crate::replicate::Shipper;

/// Reads the inputs, writes what becomes of them, and sends it to the replicas of its buckets.
pub(super) async fn split(
    parts: &StoredParts,
    split: &SplitJob,
    volume: Arc<Volume>,
    hold: Hold,
    progress: &Arc<MergeProgress>,
) -> Result<SplitMade> {
    let job = &split.job;
    let table = &job.table;
    let spec = SplitSpec {
        schema: Arc::new(PartSchema::of(table)),
        inputs: job.inputs.iter().map(|part| PartRef::at(part, job.version)).collect(),
        location: job.location(),
        partition: job.lane.partition.clone(),
        dealing: split.dealing.clone(),
        buckets: table.buckets,
        targets: split.targets.clone(),
        skip: skip_indexes(bound_indexes(table), &parts.evaluator),
        projections: made_projections(
            table.options.bound_projections().collect(),
            &parts.evaluator,
        ),
    };
    let progress = Arc::clone(progress);
    let made = split_parts(&parts.store, &volume, &*parts.ids, spec, progress).await?;
    let mut copied: Vec<(u32, NewPart)> = Vec::with_capacity(made.parts.len());
    for (target, part) in made.parts {
        let unknown = || Error::internal(format!("a split made a part of bucket {target}"));
        let copies = split.copies.get(&target).ok_or_else(unknown)?;
        let sent = parts.shipper.replicate(table.id, vec![part], copies).await?;
        copied.extend(sent.into_iter().map(|part| (target, part)));
    }
    let placed = copied.iter().map(|(target, part)| (table.bucket_at(*target), part.clone()));
    let placed: Vec<(BucketIndex, NewPart)> = placed.collect();
    let rows = CarriedApart {
        store: Arc::clone(&parts.store),
        volume,
        ids: Arc::clone(&parts.ids),
        rows: made.rows,
        parts: copied.into_iter().collect(),
        job: job.clone(),
        shipper: Arc::clone(&parts.shipper),
        _hold: hold,
    };
    Ok(SplitMade { parts: placed, rows: Box::new(rows) })
}

/// Where the rows of a split went, with what it takes to write deletions of the new parts.
#[derive(Debug)]
struct CarriedApart {
    store: Arc<PartStore>,
    volume: Arc<Volume>,
    ids: Arc<LeasedPartIds>,
    rows: SplitMap,
    /// By the positions of their buckets.
    parts: BTreeMap<u32, NewPart>,
    job: Job,
    shipper: Arc<Shipper>,
    /// Until the split is committed or given up.
    _hold: Hold,
}

#[async_trait]
impl SplitCarryOver for CarriedApart {
    async fn carry(&self, inputs: &[Arc<Part>], version: CatalogVersion) -> Result<SplitDeletions> {
        let deleted = newly_deleted(&self.store, &self.job, inputs, version).await?;
        let deleted: Vec<(usize, &Deletions)> =
            deleted.iter().map(|(place, rows)| (*place, rows.as_ref())).collect();
        let mut carried = SplitDeletions::new();
        for (target, rows) in self.rows.translate(&deleted)? {
            let part = self.parts.get(&target);
            let part = part.ok_or_else(|| Error::internal("deletions of a part that is not"))?;
            let new = new_ref(&self.job.table, part);
            let content = write_deletions(&self.volume, &new, &*self.ids, &rows).await?;
            ship_beside(&self.shipper, &new, &content).await?;
            carried.insert(self.job.table.bucket_at(target), (rows.len(), content));
        }
        Ok(carried)
    }
}
