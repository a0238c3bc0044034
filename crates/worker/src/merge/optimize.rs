//! OPTIMIZE TABLE on one worker: the merges that somebody waits for.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use granary_catalog::replication::holds;
use granary_catalog::{Part, Snapshot, TableState};
use granary_common::{CatalogVersion, Error, Result};
use granary_execution::{OptimizeSpec, Optimized, Relocation};
use granary_storage::merge_pick::{Candidate, pick_wanted};
use granary_storage::ttl::Recompression;

use super::Merges;
use super::book::Lane;
use super::job::{Ended, Job};
use super::lanes::{led, limits_of};
use super::rewrite::{clear_step, projection_step, without};

/// How often a merge of a lane may be overtaken before the statement gives up.
const OVERTAKEN_MAX: u32 = 20;
/// After it was overtaken.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(100);

/// What to do next in a lane.
#[derive(Debug)]
pub(super) enum Step {
    Done,
    /// Merge these; afterwards the lane is done if `is_last`.
    Merge {
        inputs: Vec<Arc<Part>>,
        is_last: bool,
    },
}

impl Merges {
    /// Merges as `spec` says; see [`granary_execution::WorkerApi::optimize`].
    pub async fn optimize(&self, spec: &OptimizeSpec) -> Result<Optimized> {
        let all = self.leaving.run_until_cancelled(self.optimize_lanes(spec)).await;
        all.unwrap_or_else(|| {
            Err(Error::unavailable(format!("worker {} is leaving; run it again", self.worker)))
        })
    }

    async fn optimize_lanes(&self, spec: &OptimizeSpec) -> Result<Optimized> {
        let snapshot = self.committer.catalog.read_latest().await?;
        let state = table(&snapshot, spec)?;
        if let Some(name) = &spec.index {
            return self.index_copies(spec, name, &snapshot, state).await;
        }
        for index in &spec.buckets {
            let leader = state.buckets.get(index).map(|bucket| bucket.leader);
            if leader != Some(self.worker) {
                return Err(Error::conflict(format!(
                    "worker {} does not lead bucket {index} of table '{}' any more",
                    self.worker, state.table.name
                )));
            }
        }
        if merges_several(spec) && state.is_splitting(snapshot.version) {
            return Err(Error::unavailable(format!(
                "rows of table '{}' are on their way to its new buckets; run it again when the table \
                 is not in system.bucket_changes any more",
                state.table.name
            )));
        }
        let lanes = led(&snapshot, state, self.worker).into_keys().filter(|lane| {
            spec.buckets.contains(&lane.bucket) && spec.partitions.contains(&lane.partition)
        });
        let lanes: Vec<Lane> = lanes.collect();
        let upto = snapshot.version;
        drop(snapshot);
        let lanes = lanes.into_iter().map(|lane| self.optimize_lane(spec, lane, upto));
        let concurrent = self.settings.merges_max.max(1);
        let done = stream::iter(lanes).buffer_unordered(concurrent);
        done.try_fold(Optimized::default(), |mut sum, done| async move {
            sum.add(done);
            Ok(sum)
        })
        .await
    }

    /// Parts that were inserted after `upto` are not looked at, so that this ends while inserts go on.
    async fn optimize_lane(
        &self,
        spec: &OptimizeSpec,
        lane: Lane,
        upto: CatalogVersion,
    ) -> Result<Optimized> {
        let mut done = Optimized::default();
        let mut overtaken = 0;
        loop {
            let Some((_permit, job, is_last)) = self.next_job(spec, &lane, upto).await? else {
                return Ok(done);
            };
            let Some(place) = self.enter(&job, true) else { continue };
            match self.committer.run(&job, place.progress()).await? {
                Ended::Merged => {
                    done.add(Optimized {
                        merges: 1,
                        parts: job.inputs.len() as u64,
                        bytes: job.bytes(),
                    });
                    if is_last {
                        return Ok(done);
                    }
                }
                Ended::Overtaken if overtaken < OVERTAKEN_MAX => {
                    overtaken += 1;
                    drop(place);
                    self.committer.clock.sleep(OVERTAKEN_PAUSE).await;
                }
                Ended::Overtaken => {
                    return Err(Error::conflict(format!(
                        "parts of table '{}' changed each time that they were merged; run it again \
                         when fewer rows are deleted or updated",
                        job.table.name
                    )));
                }
            }
        }
    }

    /// Gives the index to every part of the buckets that lacks it here, also where another worker leads:
    /// each copy has files of its own. Parts that merges replace meanwhile have it from them.
    async fn index_copies(
        &self,
        spec: &OptimizeSpec,
        name: &str,
        snapshot: &Snapshot,
        state: &TableState,
    ) -> Result<Optimized> {
        let index = state.table.options.indexes.iter().find(|index| index.name == name);
        let Some(bound) = index.and_then(|index| index.bound.as_ref()) else {
            return Ok(Optimized::default());
        };
        let is_meant = |part: &&Arc<Part>| {
            spec.buckets.contains(&part.bucket)
                && spec.partitions.contains(&part.partition)
                && holds(&part.location, self.worker)
        };
        let parts = state.visible_parts(snapshot.version).filter(is_meant).cloned();
        let built = parts.map(|part: Arc<Part>| async move {
            let turn = self.turns.acquire().await;
            let _turn = turn.map_err(|_| Error::unavailable("the worker has stopped"))?;
            let merger = &self.committer.merger;
            let is_new = merger.build_index(&state.table, &part, snapshot.version, bound).await?;
            Ok::<_, Error>(is_new.then_some(part.bytes))
        });
        let built: Vec<_> = built.collect();
        let built = stream::iter(built).buffer_unordered(self.settings.merges_max.max(1));
        built
            .try_fold(Optimized::default(), |mut sum, bytes| async move {
                bytes
                    .into_iter()
                    .for_each(|bytes| sum.add(Optimized { merges: 0, parts: 1, bytes }));
                Ok(sum)
            })
            .await
    }

    /// The next merge of a lane with a turn to run it, once nobody else works on its parts.
    async fn next_job(
        &self,
        spec: &OptimizeSpec,
        lane: &Lane,
        upto: CatalogVersion,
    ) -> Result<Option<(tokio::sync::SemaphorePermit<'_>, Job, bool)>> {
        loop {
            let permit = self
                .turns
                .acquire()
                .await
                .map_err(|_| Error::unavailable("the worker has stopped"))?;
            let snapshot = self.committer.catalog.read_latest().await?;
            let state = table(&snapshot, spec)?;
            let parts = led(&snapshot, state, self.worker).remove(lane).unwrap_or_default();
            let parts: Vec<Arc<Part>> =
                parts.into_iter().filter(|part| part.inserted.1.0 <= upto).collect();
            if let Some(part) = parts.iter().find(|part| !holds(&part.location, self.worker)) {
                return Err(Error::unavailable(format!(
                    "worker {} leads bucket {} since a moment ago and is still fetching part {}",
                    self.worker, lane.bucket, part.id
                )));
            }
            let ids: Vec<_> = parts.iter().map(|part| part.id).collect();
            let busy = self.book.busy();
            if ids.iter().any(|id| busy.contains(id)) {
                // Others may use the turn while we wait for the one who works on our parts.
                drop(permit);
                self.book.wait_until_free(&ids).await;
                continue;
            }
            if let Some(relocation) = &spec.relocation {
                let Some(job) = self.move_of(relocation, &snapshot, state, lane, parts, upto)
                else {
                    return Ok(None);
                };
                return Ok(Some((permit, job, false)));
            }
            let step = match (&spec.projection, &spec.cleared) {
                (Some(name), _) => projection_step(state, name, parts, upto)?,
                (_, Some(cleared)) => clear_step(state, cleared, parts, upto)?,
                _ if spec.is_ttl => self.ttl_step(state, parts, upto, snapshot.version).await?,
                _ if spec.is_final => self.final_step(spec, state, parts, snapshot.version).await?,
                _ => self.wanted_step(&snapshot, state, parts),
            };
            let Step::Merge { inputs, is_last } = step else { return Ok(None) };
            let Some(job) = Job::of(&snapshot, state, lane, inputs) else { return Ok(None) };
            let recompression = self.recompression(spec, state, &job).await?;
            let is_whole = spec.is_final && is_last;
            let job = Job {
                table: match &spec.cleared {
                    Some(cleared) => Arc::new(without(&job.table, cleared)),
                    None => job.table,
                },
                recompression,
                is_cleanup: is_whole && spec.is_cleanup,
                deduplicate_by: spec.deduplicate_by.clone().filter(|_| is_whole),
                ..job
            };
            return Ok(Some((permit, job, is_last)));
        }
    }

    async fn final_step(
        &self,
        spec: &OptimizeSpec,
        state: &TableState,
        parts: Vec<Arc<Part>>,
        version: CatalogVersion,
    ) -> Result<Step> {
        let mut changes_rows = spec.is_cleanup || spec.deduplicate_by.is_some();
        if let [only] = parts.as_slice() {
            changes_rows |= self.is_due(state, only, version).await?;
        }
        let parts_max = self.limits().merge_parts_max;
        Ok(final_step(parts, version, changes_rows, parts_max))
    }

    async fn is_due(
        &self,
        state: &TableState,
        part: &Arc<Part>,
        version: CatalogVersion,
    ) -> Result<bool> {
        let life = self.lives.of(state, part, version, &*self.committer.merger).await?;
        Ok(life.is_due(self.now_s()))
    }

    /// How MATERIALIZE TTL encodes the one part of `job`.
    async fn recompression(
        &self,
        spec: &OptimizeSpec,
        state: &TableState,
        job: &Job,
    ) -> Result<Option<Recompression>> {
        let (true, [part]) = (spec.is_ttl, job.inputs.as_slice()) else { return Ok(None) };
        let life = self.lives.of(state, part, job.version, &*self.committer.merger).await?;
        Ok(life.recompression(self.now_s()).cloned())
    }

    /// The next part of those at `upto` that is not yet where it is to be.
    fn move_of(
        &self,
        relocation: &Relocation,
        snapshot: &Snapshot,
        state: &TableState,
        lane: &Lane,
        parts: Vec<Arc<Part>>,
        upto: CatalogVersion,
    ) -> Option<Job> {
        let is_meant = |part: &Arc<Part>| {
            part.added <= upto && relocation.part.is_none_or(|only| only == part.id)
        };
        let (part, target) = parts.into_iter().filter(is_meant).find_map(|part| {
            let target = self.target(state, &relocation.place, &part)?;
            Some((part, target))
        })?;
        let job = Job::of(snapshot, state, lane, vec![part])?;
        Some(Job { target: Some(target), ..job })
    }

    /// The next part of those at `upto` with rows that are due, or that is to be encoded again; it is
    /// written again by itself.
    async fn ttl_step(
        &self,
        state: &TableState,
        parts: Vec<Arc<Part>>,
        upto: CatalogVersion,
        version: CatalogVersion,
    ) -> Result<Step> {
        for part in parts.into_iter().filter(|part| part.added <= upto) {
            let life = self.lives.of(state, &part, version, &*self.committer.merger).await?;
            if life.is_due(self.now_s()) || life.recompression(self.now_s()).is_some() {
                return Ok(Step::Merge { inputs: vec![part], is_last: false });
            }
        }
        Ok(Step::Done)
    }

    fn wanted_step(&self, snapshot: &Snapshot, state: &TableState, parts: Vec<Arc<Part>>) -> Step {
        let candidates: Vec<Candidate> =
            parts.iter().map(|part| Candidate::of(part, snapshot.version, 0, false)).collect();
        match pick_wanted(&candidates, &limits_of(&state.table, &self.limits())) {
            None => Step::Done,
            Some(pick) => {
                let inputs = parts.into_iter().filter(|part| pick.parts.contains(&part.id));
                Step::Merge { inputs: inputs.collect(), is_last: true }
            }
        }
    }
}

/// Whether parts are merged with each other, and not each written again by itself.
fn merges_several(spec: &OptimizeSpec) -> bool {
    let alone = spec.index.is_some()
        || spec.projection.is_some()
        || spec.cleared.is_some()
        || spec.relocation.is_some();
    !alone && !spec.is_ttl
}

fn table<'a>(snapshot: &'a Snapshot, spec: &OptimizeSpec) -> Result<&'a TableState> {
    let state = snapshot.tables.get(&spec.table);
    let state = state.filter(|state| state.table.dropped.is_none());
    state.ok_or_else(|| Error::not_found(format!("table {} was dropped meanwhile", spec.table)))
}

/// Makes one part of all. More than `parts_max` become fewer first, the cheapest neighbours at once.
fn final_step(
    parts: Vec<Arc<Part>>,
    version: CatalogVersion,
    changes_rows: bool,
    parts_max: usize,
) -> Step {
    let parts_max = parts_max.max(2);
    match parts.as_slice() {
        [] => Step::Done,
        [only] => {
            // What a merge wrote is collapsed already, and as small as it gets; what an insert wrote is not.
            let is_raw = only.level == 0;
            let has_deleted = only.deletions_at(version).is_some();
            match is_raw || has_deleted || changes_rows {
                true => Step::Merge { inputs: parts, is_last: true },
                false => Step::Done,
            }
        }
        many if many.len() <= parts_max => Step::Merge { inputs: parts, is_last: true },
        many => {
            // No more than are needed to be able to merge the rest at once.
            let taken = (many.len() - parts_max + 1).clamp(2, parts_max);
            let bytes = |run: &[Arc<Part>]| run.iter().map(|part| part.bytes).sum::<u64>();
            let cheapest = many.windows(taken).min_by_key(|run| bytes(run));
            let inputs = cheapest.map(<[_]>::to_vec).unwrap_or_default();
            Step::Merge { inputs, is_last: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_catalog::{DeletionContent, DeletionVector, PartLocation, PartitionValue};
    use granary_common::{BucketIndex, PartId, TableId};

    use super::*;

    fn part(id: u64, bytes: u64, level: u32) -> Part {
        let order = (CatalogVersion(id), 0);
        Part {
            id: PartId(id),
            table: TableId(1),
            bucket: BucketIndex(0),
            partition: PartitionValue::default(),
            rows: 10,
            bytes,
            key_range: None,
            schema_version: 1,
            level,
            location: PartLocation::Local { copies: Vec::new(), disk: None },
            inserted: (order, order),
            added: order.0,
            removed: None,
            deletions: Vec::new(),
            files: None,
            detached: false,
        }
    }

    #[track_caller]
    fn check(parts: Vec<Part>, changes_rows: bool, expected: Option<(&[u64], bool)>) {
        let parts = parts.into_iter().map(Arc::new).collect();
        let step = final_step(parts, CatalogVersion(99), changes_rows, 4);
        let step = match step {
            Step::Done => None,
            Step::Merge { inputs, is_last } => {
                Some((inputs.iter().map(|part| part.id.0).collect::<Vec<_>>(), is_last))
            }
        };
        assert_eq!(step, expected.map(|(parts, is_last)| (parts.to_vec(), is_last)));
    }

    #[test]
    fn one_part_is_made_of_all() {
        check(vec![], true, None);
        check(vec![part(1, 9, 0), part(2, 9, 0)], false, Some((&[1, 2], true)));
        // Too many at once: the cheapest neighbours first, and only as many as must be.
        let many = |sizes: &[u64]| -> Vec<Part> {
            sizes.iter().zip(1..).map(|(bytes, id)| part(id, *bytes, 0)).collect()
        };
        check(many(&[9, 9, 1, 1, 9]), false, Some((&[3, 4], false)));
        check(many(&[9, 9, 1, 1, 9, 9, 9]), false, Some((&[1, 2, 3, 4], false)));
    }

    #[test]
    fn a_part_alone_is_written_again_when_that_changes_it() {
        check(vec![part(1, 9, 0)], false, Some((&[1], true)));
        check(vec![part(1, 9, 1)], false, None);
        check(vec![part(1, 9, 1)], true, Some((&[1], true)));
        let mut deleted = part(1, 9, 1);
        let content = DeletionContent::Inline(Vec::new());
        deleted.deletions.push(DeletionVector { since: CatalogVersion(5), rows: 1, content });
        check(vec![deleted], false, Some((&[1], true)));
    }
}
