//! What a worker has to fetch, may give up, and can join: a pure function of the catalog.

use std::collections::{BTreeMap, BTreeSet};

use granary_catalog::replication::replicated_parts;
use granary_catalog::{
    BucketPlacement, KnownPart, Part, PartLocation, Snapshot, TableState, WorkerState,
};
use granary_common::{BucketIndex, TableId, WorkerId};
use granary_storage::PartCopy;

/// A part that the worker shall hold and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub table: TableId,
    pub known: KnownPart,
    pub copy: PartCopy,
    /// Live workers that hold a whole copy.
    pub sources: Vec<WorkerId>,
    pub bytes: u64,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Those with the fewest copies first, of these the small ones.
    pub fetch: Vec<Wanted>,
    /// Copies that all replicas of their buckets have as well.
    pub spare: BTreeMap<TableId, Vec<KnownPart>>,
    /// Buckets of which the worker holds everything, with it in sync.
    pub join: Vec<BucketPlacement>,
}

/// What `worker` has to do as the catalog is.
pub fn plan(snapshot: &Snapshot, worker: WorkerId) -> Plan {
    let mut plan = Plan::default();
    if !is_alive(snapshot, worker) {
        return plan;
    }
    for state in snapshot.tables.values().filter(|state| state.table.dropped.is_none()) {
        plan_table(snapshot, state, worker, &mut plan);
    }
    if is_full(snapshot, worker) {
        // What it lacks it fetches when there is room again.
        plan.fetch.clear();
    }
    plan.fetch.sort_by_key(|wanted| (wanted.sources.len(), wanted.bytes, wanted.known.part));
    plan
}

fn is_alive(snapshot: &Snapshot, worker: WorkerId) -> bool {
    snapshot.workers.get(&worker).is_some_and(|row| row.state == WorkerState::Alive)
}

fn is_full(snapshot: &Snapshot, worker: WorkerId) -> bool {
    snapshot.workers.get(&worker).is_some_and(|row| row.is_full)
}

fn plan_table(snapshot: &Snapshot, state: &TableState, worker: WorkerId, plan: &mut Plan) {
    let mut lacking: BTreeSet<BucketIndex> = BTreeSet::new();
    for part in replicated_parts(snapshot, state) {
        let PartLocation::Local { copies, .. } = &part.location else { continue };
        let Some(bucket) = state.buckets.get(&part.bucket) else { continue };
        let is_here = copies.contains(&worker);
        let is_whole =
            |replica: &WorkerId| copies.contains(replica) && !snapshot.is_damaged(part, *replica);
        if bucket.replicas.contains(&worker) {
            if !is_here {
                lacking.insert(part.bucket);
                plan.fetch.extend(wanted(snapshot, state, part, copies));
            }
        } else if is_here && bucket.replicas.iter().all(is_whole) {
            plan.spare.entry(part.table).or_default().push(known(part));
        }
    }
    for bucket in state.buckets.values() {
        let may_join = bucket.replicas.contains(&worker)
            && !bucket.in_sync.contains(&worker)
            && !lacking.contains(&bucket.index);
        if may_join {
            let mut placement = BucketPlacement::of(bucket);
            placement.in_sync.push(worker);
            plan.join.push(placement);
        }
    }
}

fn known(part: &Part) -> KnownPart {
    KnownPart { part: part.id, deletions: part.deletions.last().map(|vector| vector.since) }
}

fn wanted(
    snapshot: &Snapshot,
    state: &TableState,
    part: &Part,
    copies: &[WorkerId],
) -> Option<Wanted> {
    let is_source =
        |copy: &WorkerId| is_alive(snapshot, *copy) && !snapshot.is_damaged(part, *copy);
    let sources: Vec<WorkerId> = copies.iter().copied().filter(is_source).collect();
    (!sources.is_empty()).then(|| Wanted {
        table: part.table,
        known: known(part),
        // Files of others may have been swept.
        copy: PartCopy::of(part, snapshot.needed_deletions(state, part)),
        sources,
        bytes: part.bytes,
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
