//! Buckets move to workers that have fewer. Pure.
//!
//! A table is even when no worker has two buckets more than another: then a move would only turn it
//! round, so nothing goes back and forth. Tables of a colocation group move together.

use std::collections::{BTreeMap, BTreeSet};

use granary_catalog::replication::replication_factor;
use granary_catalog::{Bucket, BucketPlacement, Snapshot, TableState};
use granary_common::{BucketIndex, WorkerId};

use crate::placement::{Health, Healths, MOVES_MAX};

/// Tables whose buckets lie alike.
type Group<'a> = Vec<(&'a TableState, usize)>;

/// Buckets of the first group that is uneven, each with one more replica in the place of one that
/// goes when the new one is in sync.
pub(crate) fn balanced(snapshot: &Snapshot, health: &Healths) -> Vec<BucketPlacement> {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for state in snapshot.tables.values().filter(|state| state.table.dropped.is_none()) {
        let factor = replication_factor(&state.table.settings, snapshot.workers.len());
        let key = match &state.table.colocation_group {
            Some(group) => format!("group {group} {factor}"),
            None => format!("table {}", state.table.id),
        };
        groups.entry(key).or_default().push((state, factor));
    }
    let live: Vec<WorkerId> =
        health.iter().filter(|(_, health)| **health == Health::Alive).map(|(id, _)| *id).collect();
    let mut moves = Vec::new();
    for group in groups.values() {
        moves.extend(moves_of(group, &live));
        if moves.len() >= MOVES_MAX {
            break;
        }
    }
    moves
}

/// The moves that make a group more even, at most a few at a time.
fn moves_of(group: &Group<'_>, live: &[WorkerId]) -> Vec<BucketPlacement> {
    let Some((first, factor)) = group.first() else { return Vec::new() };
    // A group that is on its way, or apart, is left alone until it is together.
    let is_at_rest = group.iter().all(|(state, factor)| {
        state.buckets.values().all(|bucket| {
            let same = first.buckets.get(&bucket.index).map(|other| &other.replicas);
            same == Some(&bucket.replicas)
                && bucket.replicas.len() == *factor
                && bucket.in_sync.len() == *factor
        })
    });
    if !is_at_rest || *factor >= live.len() {
        return Vec::new();
    }
    let mut held = Held::of(first, live);
    let mut moved: BTreeSet<BucketIndex> = BTreeSet::new();
    let mut moves = Vec::new();
    while moved.len() < MOVES_MAX
        && let Some((bucket, from, to)) = held.next_move(first, &moved)
    {
        held.note(bucket, from, to);
        moved.insert(bucket.index);
        let all = group.iter().filter_map(|(state, _)| state.buckets.get(&bucket.index));
        moves.extend(all.map(|bucket| with_move(bucket, from, to)));
    }
    moves
}

/// How many buckets each worker holds, and how many of them it leads.
struct Held(BTreeMap<WorkerId, (usize, usize)>);

impl Held {
    fn of(state: &TableState, live: &[WorkerId]) -> Held {
        let mut held: BTreeMap<WorkerId, (usize, usize)> =
            live.iter().map(|worker| (*worker, (0, 0))).collect();
        for bucket in state.buckets.values() {
            for (place, worker) in bucket.replicas.iter().enumerate() {
                if let Some((all, led)) = held.get_mut(worker) {
                    *all += 1;
                    *led += usize::from(place == 0);
                }
            }
        }
        Held(held)
    }

    /// A bucket to move from the fullest worker to the emptiest one: one that it leads when it leads
    /// more than the other, else one that it does not lead.
    fn next_move<'a>(
        &self,
        state: &'a TableState,
        moved: &BTreeSet<BucketIndex>,
    ) -> Option<(&'a Bucket, WorkerId, WorkerId)> {
        let (to, (least, least_led)) = self.0.iter().min_by_key(|(_, (all, _))| *all)?;
        let mut fullest: Vec<_> = self.0.iter().filter(|(_, (all, _))| *all >= least + 2).collect();
        fullest.sort_by_key(|(worker, (all, _))| (std::cmp::Reverse(*all), **worker));
        fullest.into_iter().find_map(|(from, (_, led))| {
            let leads = *led >= least_led + 2;
            let may = |bucket: &&Bucket| {
                bucket.replicas.contains(from)
                    && !bucket.replicas.contains(to)
                    && !moved.contains(&bucket.index)
            };
            let may_move = || state.buckets.values().map(|bucket| &**bucket).filter(may);
            let fits = |bucket: &&Bucket| (bucket.replicas.first() == Some(from)) == leads;
            let best = may_move().find(fits).or_else(|| may_move().next());
            best.map(|bucket| (bucket, *from, *to))
        })
    }

    fn note(&mut self, bucket: &Bucket, from: WorkerId, to: WorkerId) {
        let led = usize::from(bucket.replicas.first() == Some(&from));
        if let Some(held) = self.0.get_mut(&from) {
            *held = (held.0.saturating_sub(1), held.1.saturating_sub(led));
        }
        if let Some(held) = self.0.get_mut(&to) {
            *held = (held.0 + 1, held.1 + led);
        }
    }
}

/// The new replica stands in the place of the old one, which goes once the new one is in sync.
pub(crate) fn with_move(bucket: &Bucket, from: WorkerId, to: WorkerId) -> BucketPlacement {
    let mut next = BucketPlacement::of(bucket);
    for worker in next.replicas.iter_mut().filter(|worker| **worker == from) {
        *worker = to;
    }
    next.replicas.push(from);
    next
}
