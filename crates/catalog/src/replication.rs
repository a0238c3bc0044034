//! Who holds what: how many copies a table wants, where the copies of a new part go, and which
//! workers become replicas. Pure functions, except [`leave_behind`].
//!
//! Copies belong to parts: the catalog names the workers that hold each one. A bucket's replicas are
//! the workers that shall hold all of its parts, and those in sync are the ones that do.

use std::collections::BTreeMap;

use granary_common::{BucketIndex, Error, ErrorKind, Result, WorkerId};
use serde::{Deserialize, Serialize};

use crate::api::Catalog;
use crate::command::{BucketPlacement, CommandBody};
use crate::model::{Bucket, Part, PartLocation, Worker, WorkerState};
use crate::snapshot::{Snapshot, TableState};

/// The table's setting that says how many copies its parts have.
pub const FACTOR_SETTING: &str = "replication_factor";
/// The table's setting that says with how many copies of its parts a write is accepted.
pub const MIN_COPIES_SETTING: &str = "min_copies";
/// Copies of a table that says nothing.
const DEFAULT_FACTOR: usize = 2;
/// How often a write that some replicas missed tries to leave them behind.
const LEAVE_ATTEMPTS: usize = 4;

/// Copies that a table with `settings` wants of each part in a cluster of `workers`.
pub fn replication_factor(settings: &BTreeMap<String, String>, workers: usize) -> usize {
    number(settings, FACTOR_SETTING).unwrap_or(DEFAULT_FACTOR).clamp(1, workers.max(1))
}

/// Copies of a part without which no write to a table with `settings` is accepted.
pub fn min_copies(settings: &BTreeMap<String, String>) -> usize {
    number(settings, MIN_COPIES_SETTING).unwrap_or(1).max(1)
}

fn number(settings: &BTreeMap<String, String>, name: &str) -> Option<usize> {
    settings.get(name).and_then(|text| text.parse().ok())
}

/// Where the copies of a new part go besides to its writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyTargets {
    /// The bucket's other replicas that live and take writes, those in sync first. Each of them gets
    /// a copy.
    pub replicas: Vec<WorkerId>,
    /// Who gets one while replicas are out, in this order: those whose disks are full come last.
    pub spares: Vec<WorkerId>,
    /// Copies in all, the writer's included.
    pub wanted: usize,
    /// With fewer than these the write is refused.
    pub least: usize,
}

impl CopyTargets {
    /// Where the leader of `bucket` sends what it writes, as `snapshot` has it.
    pub fn of(snapshot: &Snapshot, state: &TableState, bucket: &Bucket) -> CopyTargets {
        Self::of_writer(snapshot, state, bucket, bucket.leader)
    }

    /// Where `writer` sends what it writes for `bucket`, whether it is a replica or not.
    pub fn of_writer(
        snapshot: &Snapshot,
        state: &TableState,
        bucket: &Bucket,
        writer: WorkerId,
    ) -> CopyTargets {
        let is_other = |worker: &WorkerId| *worker != writer && is_alive(snapshot, *worker);
        let others = bucket.replicas.iter().copied().filter(is_other);
        let (mut replicas, full): (Vec<WorkerId>, Vec<WorkerId>) =
            others.partition(|worker| takes_writes(snapshot, *worker));
        replicas.sort_by_key(|worker| !bucket.in_sync.contains(worker));
        let mut held = vec![writer];
        held.extend(&replicas);
        let turn = bucket.index.0 as usize;
        let others = snapshot.workers.len();
        let candidates =
            |worker: &Worker| worker.id != writer && !bucket.replicas.contains(&worker.id);
        let settings = &state.table.settings;
        let mut spares = next_replicas(snapshot, &held, others, turn, candidates);
        // Better than none: it may have room for just this.
        spares.extend(full);
        CopyTargets {
            spares,
            replicas,
            wanted: replication_factor(settings, snapshot.workers.len()),
            least: min_copies(settings),
        }
    }
}

fn is_alive(snapshot: &Snapshot, worker: WorkerId) -> bool {
    snapshot.workers.get(&worker).is_some_and(|row| row.state == WorkerState::Alive)
}

fn takes_writes(snapshot: &Snapshot, worker: WorkerId) -> bool {
    snapshot.workers.get(&worker).is_some_and(|row| row.takes_writes())
}

/// Up to `count` workers that take more and for which `may` holds, to hold what `held` hold already:
/// first those whose disks take writes, of these first those in zones that are not among theirs. `turn`
/// spreads them: buckets with other turns get others.
pub fn next_replicas(
    snapshot: &Snapshot,
    held: &[WorkerId],
    count: usize,
    turn: usize,
    may: impl Fn(&Worker) -> bool,
) -> Vec<WorkerId> {
    // Most buckets have all that they want, and there may be very many beside many workers.
    if count == 0 {
        return Vec::new();
    }
    let zone = |worker: &WorkerId| snapshot.workers.get(worker).map(|row| row.zone.as_str());
    let mut taken: Vec<Option<&str>> = held.iter().map(zone).collect();
    let mut left: Vec<&Worker> = snapshot
        .workers
        .values()
        .map(|row| &**row)
        .filter(|row| row.takes_more() && !held.contains(&row.id) && may(row))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let crowd = |row: &Worker| {
            let zones = taken.iter().filter(|zone| **zone == Some(row.zone.as_str()));
            (row.is_full, zones.count())
        };
        let least = left.iter().map(|row| crowd(row)).min().unwrap_or_default();
        let best: Vec<usize> =
            (0..left.len()).filter(|place| crowd(left[*place]) == least).collect();
        let row = left.remove(best[turn % best.len()]);
        taken.push(Some(row.zone.as_str()));
        chosen.push(row.id);
    }
    chosen
}

/// Whether `worker` has the files of a part at `location`.
pub fn holds(location: &PartLocation, worker: WorkerId) -> bool {
    match location {
        PartLocation::Local { copies, .. } => copies.contains(&worker),
        PartLocation::Shared { .. } => true,
    }
}

/// The parts of a table that its buckets' replicas shall hold: visible ones, those that may be
/// attached again, and those of long inserts that are under way.
pub fn replicated_parts<'a>(
    snapshot: &'a Snapshot,
    state: &'a TableState,
) -> impl Iterator<Item = &'a Part> {
    let table = state.table.id;
    let own = state.parts.values().map(|part| &**part);
    let own = own.filter(|part| part.removed.is_none() || part.detached);
    let staged = snapshot.staged.values().flat_map(|insert| insert.parts.iter());
    own.chain(staged.filter(move |part| part.table == table))
}

/// Whether `worker` holds every part that a replica of `bucket` shall hold.
pub fn holds_all(
    snapshot: &Snapshot,
    state: &TableState,
    bucket: BucketIndex,
    worker: WorkerId,
) -> bool {
    replicated_parts(snapshot, state)
        .filter(|part| part.bucket == bucket)
        .all(|part| holds(&part.location, worker))
}

/// Takes replicas that are not among `synced` out of those in sync, so that a write which they have
/// missed can be committed. `then` is the bucket as it was when the write began. Gives the in-sync
/// version to commit it under.
///
/// Kind `Conflict` when the bucket is not led as it was, or when somebody has joined meanwhile whom
/// the write did not know: it has to be done again.
pub async fn leave_behind(
    catalog: &dyn Catalog,
    then: &Bucket,
    synced: &[WorkerId],
) -> Result<u64> {
    let (table, index) = (then.table, then.index);
    let mut snapshot = catalog.snapshot();
    for _ in 0..LEAVE_ATTEMPTS {
        let bucket = snapshot.tables.get(&table).and_then(|state| state.buckets.get(&index));
        let Some(bucket) = bucket.filter(|bucket| bucket.epoch == then.epoch) else { break };
        let missing = without(&bucket.in_sync, synced);
        if missing.is_empty() {
            return Ok(bucket.in_sync_version);
        }
        if !without(&missing, &then.in_sync).is_empty() {
            break;
        }
        let mut placement = BucketPlacement::of(bucket);
        placement.in_sync.retain(|worker| synced.contains(worker));
        tracing::warn!(
            %table, bucket = %index, in_sync = ?placement.in_sync, "a replica falls out of sync"
        );
        snapshot = match catalog.execute(CommandBody::PlaceBucket(placement)).await {
            Ok(_) => catalog.snapshot(),
            Err(error) if error.kind() == ErrorKind::Conflict => catalog.read_latest().await?,
            Err(error) => return Err(Error::unavailable(error.message())),
        };
    }
    Err(Error::conflict(format!("bucket {index} has another leader or other replicas since")))
}

fn without(workers: &[WorkerId], others: &[WorkerId]) -> Vec<WorkerId> {
    workers.iter().copied().filter(|worker| !others.contains(worker)).collect()
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
