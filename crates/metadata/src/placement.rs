//! Who leads and who holds each bucket: what the controller changes when workers die, come back, join
//! or shall be emptied. Pure.
//!
//! ```text
//!   leader away ─► another replica leads, those in sync first      at once
//!   replica away ─► not in sync                                    at once
//!   leader's disk full ─► another replica leads, else any worker   at once
//!   replica lost or to be emptied, too few ─► another worker       after a grace time, few at a time
//!   uneven ─► a replica more on the emptiest worker                few at a time
//!   even by number, not by load or bytes ─► two buckets change places    two at a time
//!   replicas enough without it are in sync ─► one replica less
//!   first replica back in sync ─► it leads again                   few at a time
//! ```
//!
//! Of a bucket's replicas the first ones, as many as the table wants, are those that shall stay;
//! others stand behind them until these are in sync. Nothing moves because a disk is full, and nothing
//! moves to a full one. Commands are decided bucket by bucket from its
//! replicas alone, so that the buckets of a colocation group stay together. Parts move by themselves:
//! a replica fetches what it lacks.

use std::collections::BTreeMap;

use granary_catalog::replication::{next_replicas, replication_factor};
use granary_catalog::{Bucket, BucketPlacement, CommandBody, LeaseHolder, Worker, WorkerState};
use granary_common::WorkerId;

use crate::balance::balanced;
use crate::controller::{View, holds, is_full};
use crate::weights::{Weights, eased};

/// Buckets that get new replicas in one look.
const NEW_REPLICAS_MAX: usize = 16;
/// Buckets whose first replica leads again after one look.
const RETURNS_MAX: usize = 16;
/// Buckets that move at the same time without need.
pub(crate) const MOVES_MAX: usize = 4;
/// About once in this time buckets change places by their weight, which reads the whole catalog: in the
/// first look for what can be forgotten that falls into so many milliseconds at its beginning.
const EASE_EVERY_MS: u64 = 60_000;
const EASE_WITHIN_MS: u64 = 5_000;

/// How a worker is, for placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Alive,
    /// Alive, and its disks take no more writes.
    Full,
    /// Alive, and to be emptied.
    Drained,
    /// Leaving, or dead for not so long.
    Away,
    /// Dead for longer than the grace time.
    Lost,
}

impl Health {
    fn is_alive(self) -> bool {
        matches!(self, Health::Alive | Health::Full | Health::Drained)
    }
}

/// The health of every worker.
pub(crate) type Healths = BTreeMap<WorkerId, Health>;

/// What to change now.
pub(crate) fn place_buckets(view: &View<'_>) -> Vec<CommandBody> {
    let health: Healths =
        view.snapshot.workers.values().map(|row| (row.id, health(view, row))).collect();
    let mut urgent = Vec::new();
    // By how many replicas are left: those most at risk go first.
    let mut new_replicas: BTreeMap<usize, Vec<BucketPlacement>> = BTreeMap::new();
    let mut returns = Vec::new();
    let mut moving = 0;
    for state in view.snapshot.tables.values().filter(|state| state.table.dropped.is_none()) {
        let factor = replication_factor(&state.table.settings, view.snapshot.workers.len());
        for bucket in state.buckets.values() {
            let live = bucket.replicas.iter().filter(|worker| is_alive(&health, worker)).count();
            if live == 0 {
                // Nobody could take over without waiting for its parts; they come back together.
                continue;
            }
            moving += usize::from(bucket.replicas.len() > factor);
            if let Some(placement) = failed_over(bucket, &health) {
                urgent.push(placement);
            } else if let Some(placement) = led_elsewhere(view, bucket, &health) {
                urgent.push(placement);
            } else if let Some(placement) = replaced(view, bucket, &health, factor) {
                new_replicas.entry(live).or_default().push(placement);
            } else if let Some(placement) = returned(bucket, &health) {
                returns.push(placement);
            }
        }
    }
    // A bucket is placed once in a look: what is decided after that would be refused.
    let is_settled = urgent.is_empty() && new_replicas.is_empty() && returns.is_empty();
    let is_settled = is_settled && moving < MOVES_MAX;
    let mut moves = if is_settled { balanced(view.snapshot, &health) } else { Vec::new() };
    let is_time = view.housekeeping && view.wall_ms % EASE_EVERY_MS < EASE_WITHIN_MS;
    if is_time && is_settled && moving == 0 && moves.is_empty() {
        moves = eased(view.snapshot, &health, &loads(view));
    }
    let new_replicas = new_replicas.into_values().flatten().take(NEW_REPLICAS_MAX);
    let returns = returns.into_iter().take(RETURNS_MAX);
    let all = urgent.into_iter().chain(new_replicas).chain(returns).chain(moves);
    all.map(CommandBody::PlaceBucket).collect()
}

/// The load of buckets, as all workers have told it.
fn loads(view: &View<'_>) -> Weights {
    let mut loads = Weights::new();
    for load in view.leases.held.values().flat_map(|lease| &lease.loads) {
        *loads.entry((load.table, load.bucket)).or_insert(0) += load.bytes_per_s;
    }
    loads
}

fn health(view: &View<'_>, row: &Worker) -> Health {
    let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
    let lease = view.leases.held.get(&holder);
    let has_lease = lease.is_some_and(|lease| holds(view, &holder, lease));
    match (row.state, lease) {
        (WorkerState::Alive, _) if has_lease && row.drained => Health::Drained,
        (WorkerState::Alive, _) if has_lease && is_full(view, row) => Health::Full,
        (WorkerState::Alive, _) if has_lease => Health::Alive,
        (WorkerState::Draining, _) if has_lease => Health::Away,
        (_, Some(lease)) if view.now_ms < lease.renewed_ms + view.replace_after_ms => Health::Away,
        (_, None) if view.now_ms < view.leases.since_ms + view.replace_after_ms => Health::Away,
        _ => Health::Lost,
    }
}

fn is_alive(health: &Healths, worker: &WorkerId) -> bool {
    health.get(worker).is_some_and(|health| health.is_alive())
}

/// The bucket without those that are away among its leader and those in sync; `None` when there are
/// none.
fn failed_over(bucket: &Bucket, health: &Healths) -> Option<BucketPlacement> {
    let mut next = BucketPlacement::of(bucket);
    next.in_sync.retain(|worker| is_alive(health, worker));
    if !is_alive(health, &bucket.leader) {
        let in_sync = |worker: &&WorkerId| next.in_sync.contains(worker);
        let mut live = bucket.replicas.iter().filter(|worker| is_alive(health, worker));
        let best = bucket.replicas.iter().find(in_sync).or_else(|| live.next());
        next.leader = *best?;
    }
    let is_same = next.leader == bucket.leader && next.in_sync == bucket.in_sync;
    (!is_same).then_some(next)
}

/// The bucket led by somebody who takes writes while the disks of its leader are full: by a replica,
/// those in sync first, else by any worker, without a copy of what is there. `None` when the leader takes
/// writes, and when nobody does.
fn led_elsewhere(view: &View<'_>, bucket: &Bucket, health: &Healths) -> Option<BucketPlacement> {
    let row = view.snapshot.workers.get(&bucket.leader)?;
    if !is_alive(health, &row.id) || !is_full(view, row) {
        return None;
    }
    let takes_writes = |worker: &WorkerId| health.get(worker) == Some(&Health::Alive);
    let mut takers = bucket.replicas.iter().copied().filter(takes_writes);
    let leader = takers.clone().find(|worker| bucket.in_sync.contains(worker));
    let leader = leader.or_else(|| takers.next()).or_else(|| {
        let turn = bucket.index.0 as usize;
        let may = |row: &Worker| takes_writes(&row.id);
        next_replicas(view.snapshot, &bucket.replicas, 1, turn, may).pop()
    });
    Some(BucketPlacement { leader: leader?, ..BucketPlacement::of(bucket) })
}

/// The bucket with the replicas that it shall have; `None` when it has them, or when no other worker
/// is there.
fn replaced(
    view: &View<'_>,
    bucket: &Bucket,
    health: &Healths,
    factor: usize,
) -> Option<BucketPlacement> {
    let is_lost = |worker: &WorkerId| health.get(worker).is_none_or(|h| *h == Health::Lost);
    let is_drained = |worker: &WorkerId| health.get(worker) == Some(&Health::Drained);
    let turn = bucket.index.0 as usize;
    let is_here = |row: &Worker| health.get(&row.id) == Some(&Health::Alive);
    let others =
        |held: &[WorkerId], count| next_replicas(view.snapshot, held, count, turn, is_here);
    let mut next = BucketPlacement::of(bucket);
    next.replicas.retain(|worker| !is_lost(worker));
    let missing = factor.saturating_sub(next.replicas.len());
    let new = others(&next.replicas, missing);
    if new.is_empty() && next.replicas.len() < factor {
        // A lost replica that nobody can take the place of may still come back.
        return None;
    }
    next.replicas.extend(new);
    for place in 0..factor.min(next.replicas.len()) {
        let leaving = next.replicas[place];
        if is_drained(&leaving)
            && let Some(new) = others(&next.replicas, 1).pop()
        {
            next.replicas[place] = new;
            next.replicas.push(leaving);
        }
    }
    let in_sync = |worker: &WorkerId| next.in_sync.contains(worker);
    if next.replicas.len() > factor && next.replicas[..factor].iter().all(in_sync) {
        next.replicas.truncate(factor);
    }
    next.in_sync.retain(|worker| next.replicas.contains(worker));
    // One that leads from outside is none of them anyway.
    if bucket.replicas.contains(&next.leader) && !next.replicas.contains(&next.leader) {
        next.leader = *next.replicas.first()?;
    }
    (next.replicas != bucket.replicas).then_some(next)
}

/// The bucket led by its first replica, when that is in sync and another one leads; by any replica when
/// somebody else leads who is none.
fn returned(bucket: &Bucket, health: &Healths) -> Option<BucketPlacement> {
    let may = |worker: &&WorkerId| {
        bucket.in_sync.contains(worker) && health.get(*worker) == Some(&Health::Alive)
    };
    let leader = match bucket.replicas.contains(&bucket.leader) {
        true => *bucket.replicas.first().filter(may)?,
        false => *bucket.replicas.iter().find(may)?,
    };
    (leader != bucket.leader).then(|| BucketPlacement { leader, ..BucketPlacement::of(bucket) })
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
