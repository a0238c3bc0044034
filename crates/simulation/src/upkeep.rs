//! What workers do by themselves: copies that are missing come in, and small parts are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use granary_catalog::replication::{CopyTargets, leave_behind};
use granary_catalog::{
    Bucket, Catalog, CommandBody, CopiesChange, CopyChange, DeletionContent, KnownPart, MergeParts,
    MergedPart, Part, PartLocation, Snapshot, TableState, codec,
};
use granary_common::{BucketIndex, CatalogVersion, ErrorKind, Result, TableId};
use granary_storage::merge_pick::{Candidate, PickLimits, Pool, pick};
use granary_worker::decisions::{Wanted, plan};

use crate::executor;
use crate::worker::Worker;

const CATCH_UP_MS: std::ops::Range<u64> = 200..900;
const MERGE_MS: std::ops::Range<u64> = 500..2_500;
/// Parts of a bucket count as old from the beginning: a simulated minute stands for a day.
const AGE_MS: u64 = 3_600_000;
/// Merges of small parts soon pay here.
const BASE: f64 = 2.0;

impl Worker {
    /// Fetches what is missing here, gives up what is not needed, and joins those in sync.
    pub(crate) async fn catch_up(self: Arc<Worker>) {
        loop {
            let pause = self.cluster.net.pick(CATCH_UP_MS);
            executor::sleep_ms(pause).await;
            self.cluster.net.breathe(self.host()).await;
            // What could not be had is tried again.
            let _ = self.catch_up_once().await;
        }
    }

    async fn catch_up_once(&self) -> Result<()> {
        let plan = plan(&self.catalog.snapshot(), self.id);
        for wanted in &plan.fetch {
            self.fetch_wanted(wanted).await?;
        }
        for (table, parts) in plan.spare {
            self.change(table, CopyChange::Spare, parts).await?;
        }
        for placement in plan.join {
            match self.catalog.execute(CommandBody::PlaceBucket(placement)).await {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn fetch_wanted(&self, wanted: &Wanted) -> Result<()> {
        let Ok(_arriving) = self.fetch(wanted.copy.files.1, &wanted.sources).await else {
            return Ok(());
        };
        self.change(wanted.table, CopyChange::Added, vec![wanted.known]).await
    }

    async fn change(
        &self,
        table: TableId,
        change: CopyChange,
        parts: Vec<KnownPart>,
    ) -> Result<()> {
        let change = CopiesChange { table, worker: self.id, change, parts };
        match self.catalog.execute(CommandBody::ChangeCopies(change)).await {
            Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Merges parts of the buckets that it leads.
    pub(crate) async fn merge(self: Arc<Worker>) {
        loop {
            let pause = self.cluster.net.pick(MERGE_MS);
            executor::sleep_ms(pause).await;
            self.cluster.net.breathe(self.host()).await;
            for (table, bucket) in self.led() {
                // One that lost its inputs is dropped.
                let _ = self.merge_bucket(table, bucket).await;
            }
        }
    }

    async fn merge_bucket(&self, table: TableId, index: BucketIndex) -> Result<()> {
        let snapshot = self.catalog.snapshot();
        let Some(state) = snapshot.tables.get(&table) else { return Ok(()) };
        let Some(bucket) = state.buckets.get(&index) else { return Ok(()) };
        let parts = self.picked(&snapshot, state, index);
        if parts.len() < 2 {
            return Ok(());
        }
        let mut rows = Vec::new();
        for part in &parts {
            let deleted = deleted_at(part, snapshot.version)?;
            rows.extend(self.disk.read(part.id)?.into_iter().filter(|row| !deleted.contains(row)));
        }
        let inputs = parts.iter().map(|part| known(part)).collect();
        self.replace(&snapshot, state, bucket, inputs, rows).await
    }

    /// Neighbours to merge, all of which are here.
    fn picked<'a>(
        &self,
        snapshot: &Snapshot,
        state: &'a TableState,
        index: BucketIndex,
    ) -> Vec<&'a Part> {
        let own: BTreeMap<_, &Part> = state
            .visible_parts(snapshot.version)
            .filter(|part| part.bucket == index)
            .map(|part| (part.id, &**part))
            .collect();
        let candidates: Vec<Candidate> = own
            .values()
            .map(|part| {
                let is_here = self.disk.read(part.id).is_ok();
                Candidate::of(part, snapshot.version, AGE_MS, !is_here)
            })
            .collect();
        let limits = PickLimits { base: BASE, ..PickLimits::default() };
        let (merges_max, merges_running) = (1, 0);
        let (bytes_running, bytes_max) = (0, u64::MAX);
        let pool = Pool { merges_max, merges_running, bytes_running, bytes_max };
        let picks = pick(&candidates, pool, &limits);
        let parts = picks.into_iter().next().map(|pick| pick.parts).unwrap_or_default();
        parts.iter().filter_map(|part| own.get(part).copied()).collect()
    }

    async fn replace(
        &self,
        snapshot: &Snapshot,
        state: &TableState,
        bucket: &Bucket,
        inputs: Vec<KnownPart>,
        rows: Vec<u64>,
    ) -> Result<()> {
        let targets = CopyTargets::of(snapshot, state, bucket);
        let mut outputs = Vec::new();
        let mut copies = bucket.in_sync.clone();
        if !rows.is_empty() {
            let part = self.write(state.table.id, rows, &targets).await?;
            if let PartLocation::Local { copies: holders, .. } = &part.location {
                copies.clone_from(holders);
            }
            outputs.push(MergedPart { part, deletions: None });
        }
        let in_sync_version = leave_behind(&*self.catalog, bucket, &copies).await?;
        let merge = MergeParts {
            table: state.table.id,
            schema_version: state.table.schema_version,
            bucket: bucket.index,
            epoch: bucket.epoch,
            in_sync_version,
            synced: copies,
            inputs,
            outputs,
            ttl_version: state.table.options.ttl_version,
            is_move: false,
        };
        let parts = merge.inputs.len();
        let (version, _) = self.catalog.execute(CommandBody::MergeParts(merge)).await?;
        self.cluster.count_merge();
        self.cluster.note(format!("worker {} merged {parts} parts at {version}", self.id));
        Ok(())
    }
}

/// A part as it is now.
pub fn known(part: &Part) -> KnownPart {
    KnownPart { part: part.id, deletions: part.deletions.last().map(|vector| vector.since) }
}

/// The rows of a part that a reader of `version` does not see.
pub fn deleted_at(part: &Part, version: CatalogVersion) -> Result<BTreeSet<u64>> {
    match part.deletions_at(version).map(|vector| &vector.content) {
        Some(DeletionContent::Inline(bytes)) => codec::decode(bytes),
        _ => Ok(BTreeSet::new()),
    }
}
