//! Merges and splits of rows, as the real commit asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use granary_catalog::{BoundIndex, DeletionContent, NewPart, Part, PartLocation, Table, codec};
use granary_common::{BucketIndex, CatalogVersion, Error, Result};
use granary_storage::bucket_of;
use granary_storage::merge::{Dealing, MergeProgress};
use granary_storage::ttl::PartLife;
use granary_worker::decisions::{
    CarryOver, Job, Made, Merger, SplitCarryOver, SplitDeletions, SplitJob, SplitMade,
};

use crate::cluster::Cluster;
use crate::far::Far;
use crate::rows::hashes;
use crate::upkeep::{deleted_at, is_far};
use crate::worker::Worker;

#[async_trait]
impl Merger for Worker {
    async fn merge(&self, job: &Job, _: &Arc<MergeProgress>) -> Result<Made> {
        let rows = self.rows_of(job)?;
        let kept = rows.iter().copied().collect();
        let kept = Box::new(Kept { cluster: Arc::clone(&self.cluster), rows: kept });
        let part = match rows.is_empty() {
            true => None,
            false => Some(self.write(job.table.id, rows, &job.location(), &job.copies).await?),
        };
        Ok(Made { part, deletions: None, rows: kept })
    }

    async fn split(&self, split: &SplitJob, _: &Arc<MergeProgress>) -> Result<SplitMade> {
        let table = &split.job.table;
        let location = split.job.location();
        let (mut parts, mut kept) = (Vec::new(), BTreeMap::new());
        for (target, rows) in dealt(split, self.rows_of(&split.job)?)? {
            let bucket = table.bucket_at(target);
            let unknown = || Error::internal(format!("a split made a part of bucket {bucket}"));
            let copies = split.copies.get(&target).ok_or_else(unknown)?;
            kept.insert(bucket, rows.iter().copied().collect());
            parts.push((bucket, self.write(table.id, rows, &location, copies).await?));
        }
        let cluster = Arc::clone(&self.cluster);
        Ok(SplitMade { parts, rows: Box::new(KeptApart { cluster, rows: kept }) })
    }

    async fn life(&self, _: &Table, _: &Part, _: CatalogVersion) -> Result<PartLife> {
        Err(Error::unsupported("no table has a TTL here"))
    }

    async fn build_index(
        &self,
        _: &Table,
        _: &Part,
        _: CatalogVersion,
        _: &BoundIndex,
    ) -> Result<bool> {
        Ok(false)
    }

    async fn discard(&self, part: &NewPart, _: &Job) {
        match part.location {
            PartLocation::Shared { .. } => self.cluster.far.delete(part.id),
            PartLocation::Local { .. } => self.disk.delete(part.id),
        }
    }
}

impl Worker {
    /// The rows that are to be merged.
    fn rows_of(&self, job: &Job) -> Result<Vec<u64>> {
        let mut rows = Vec::new();
        for part in &job.inputs {
            let deleted = deleted_at(&self.cluster.far, part, job.version)?;
            let held = self.read(part.id, is_far(part))?;
            rows.extend(held.into_iter().filter(|row| !deleted.contains(row)));
        }
        Ok(rows)
    }
}

/// The rows of each new bucket, by its position.
fn dealt(split: &SplitJob, rows: Vec<u64>) -> Result<BTreeMap<u32, Vec<u64>>> {
    let positions: Vec<u32> = match &split.dealing {
        Dealing::Hash(_) => {
            let buckets = split.job.table.buckets;
            hashes(&rows)?.into_iter().map(|hash| bucket_of(hash, buckets).0).collect()
        }
        Dealing::Turns(_) => split.targets.iter().copied().cycle().take(rows.len()).collect(),
    };
    let mut dealt: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (row, position) in rows.into_iter().zip(positions) {
        dealt.entry(position).or_default().push(row);
    }
    Ok(dealt)
}

/// The rows of a merged part.
#[derive(Debug)]
struct Kept {
    cluster: Arc<Cluster>,
    rows: BTreeSet<u64>,
}

#[async_trait]
impl CarryOver for Kept {
    async fn carry(
        &self,
        inputs: &[Arc<Part>],
        version: CatalogVersion,
    ) -> Result<Option<(u64, DeletionContent)>> {
        deleted_since(&self.cluster.far, &self.rows, inputs, version).map(Some)
    }
}

/// The rows of each part that a split made.
#[derive(Debug)]
struct KeptApart {
    cluster: Arc<Cluster>,
    rows: BTreeMap<BucketIndex, BTreeSet<u64>>,
}

#[async_trait]
impl SplitCarryOver for KeptApart {
    async fn carry(&self, inputs: &[Arc<Part>], version: CatalogVersion) -> Result<SplitDeletions> {
        let since = |rows| deleted_since(&self.cluster.far, rows, inputs, version);
        self.rows.iter().map(|(bucket, rows)| Ok((*bucket, since(rows)?))).collect()
    }
}

/// Which of the rows that were read from parts are deleted in them by now.
fn deleted_since(
    far: &Far,
    rows: &BTreeSet<u64>,
    inputs: &[Arc<Part>],
    version: CatalogVersion,
) -> Result<(u64, DeletionContent)> {
    let mut deleted = BTreeSet::new();
    for part in inputs {
        deleted.extend(deleted_at(far, part, version)?.intersection(rows).copied());
    }
    Ok((deleted.len() as u64, DeletionContent::Inline(codec::encode(&deleted)?)))
}
