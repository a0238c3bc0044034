//! What workers do by themselves: copies that are missing come in, small parts are merged, and those of
//! earlier buckets are split.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use granary_catalog::{
    Catalog, CommandBody, CopiesChange, CopyChange, DeletionContent, KnownPart, Part, PartLocation,
    Snapshot, TableState, codec,
};
use granary_common::{BucketIndex, CatalogVersion, Clock, ErrorKind, Result, TableId};
use granary_storage::merge_pick::{Candidate, PickLimits, Pool, pick};
use granary_worker::decisions::{
    Committer, Ended, Job, Lane, Merger, SplitJob, Wanted, choose_splits, plan,
};

use crate::executor;
use crate::far::Far;
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

    /// Merges and splits parts of the buckets that it leads.
    pub(crate) async fn merge(self: Arc<Worker>) {
        loop {
            let pause = self.cluster.net.pick(MERGE_MS);
            executor::sleep_ms(pause).await;
            self.cluster.net.breathe(self.host()).await;
            for (table, bucket) in self.led() {
                // One that lost its inputs is dropped.
                let _ = self.merge_bucket(table, bucket).await;
            }
            self.split_buckets().await;
        }
    }

    async fn merge_bucket(self: &Arc<Worker>, table: TableId, index: BucketIndex) -> Result<()> {
        let snapshot = self.catalog.snapshot();
        let Some(state) = snapshot.tables.get(&table) else { return Ok(()) };
        if !state.table.takes_rows_in(index) {
            return Ok(()); // Its parts are split.
        }
        let inputs = self.picked(&snapshot, state, index);
        if inputs.len() < 2 {
            return Ok(());
        }
        let parts = inputs.len();
        let lane = Lane { table, bucket: index, partition: inputs[0].partition.clone() };
        let Some(job) = Job::of(&snapshot, state, &lane, inputs) else { return Ok(()) };
        if self.committer().run(&job, &Arc::default()).await? == Ended::Merged {
            self.cluster.count_merge();
            self.cluster.note(format!("worker {} merged {parts} parts", self.id));
        }
        Ok(())
    }

    /// Moves rows of the buckets that it leads to those that its tables have now.
    async fn split_buckets(self: &Arc<Worker>) {
        let snapshot = self.catalog.snapshot();
        let limits = PickLimits::default();
        for (lane, inputs) in choose_splits(&snapshot, self.id, &HashSet::new(), &limits) {
            let state = snapshot.tables.get(&lane.table);
            let job = state.and_then(|state| SplitJob::of(&snapshot, state, &lane, inputs));
            let Some(job) = job else { continue };
            let parts = job.job.inputs.len();
            // One that failed is done anew.
            let ended = self.committer().run_split(&job, &Arc::default()).await;
            if matches!(ended, Ok(Ended::Merged)) {
                self.cluster.count_split();
                self.cluster.note(format!("worker {} split {parts} parts", self.id));
            }
        }
    }

    fn committer(self: &Arc<Worker>) -> Committer {
        Committer {
            catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            merger: Arc::clone(self) as Arc<dyn Merger>,
            replaced: Arc::clone(&self.replaced),
        }
    }

    /// Neighbours to merge, all of which are here.
    fn picked(
        &self,
        snapshot: &Snapshot,
        state: &TableState,
        index: BucketIndex,
    ) -> Vec<Arc<Part>> {
        let own: BTreeMap<_, &Arc<Part>> = state
            .visible_parts(snapshot.version)
            .filter(|part| part.bucket == index)
            .map(|part| (part.id, part))
            .collect();
        let candidates: Vec<Candidate> = own
            .values()
            .map(|part| {
                let is_here = self.read(part.id, is_far(part)).is_ok();
                Candidate::of(part, snapshot.version, AGE_MS, !is_here)
            })
            .collect();
        let limits = PickLimits { base: BASE, ..PickLimits::default() };
        let (merges_max, merges_running) = (1, 0);
        let (bytes_running, bytes_max) = (0, u64::MAX);
        let pool = Pool { merges_max, merges_running, bytes_running, bytes_max };
        let picks = pick(&candidates, pool, &limits);
        let parts = picks.into_iter().next().map(|pick| pick.parts).unwrap_or_default();
        parts.iter().filter_map(|part| own.get(part).map(|part| Arc::clone(part))).collect()
    }
}

/// A part as it is now.
pub fn known(part: &Part) -> KnownPart {
    KnownPart { part: part.id, deletions: part.deletions.last().map(|vector| vector.since) }
}

/// Whether a part lies where every worker reaches it.
pub fn is_far(part: &Part) -> bool {
    matches!(part.location, PartLocation::Shared { .. })
}

/// The rows of a part that a reader of `version` does not see. Kind `NotFound` when they are in a file
/// that is not there.
pub fn deleted_at(far: &Far, part: &Part, version: CatalogVersion) -> Result<BTreeSet<u64>> {
    match part.deletions_at(version).map(|vector| &vector.content) {
        Some(DeletionContent::Inline(bytes)) => codec::decode(bytes),
        Some(DeletionContent::File { name, .. }) => far.read_deletions(name),
        None => Ok(BTreeSet::new()),
    }
}
