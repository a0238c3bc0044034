//! What the controller would do with buckets until it is content. Changes nothing.

use granary_catalog::{BucketPlacement, Change, Command, CommandBody, Row, Snapshot, apply};
use granary_common::{CatalogVersion, WorkerId};

use crate::controller::{View, holds};
use crate::placement::place_buckets;

/// More are not looked for.
const PLACEMENTS_MAX: usize = 1_000;

/// The placements in turn, as if nobody came or went and copies took no time. Gives others a turn after
/// each look, which reads the whole catalog.
pub(crate) async fn placements(view: &View<'_>) -> Vec<BucketPlacement> {
    let mut state = view.snapshot.clone();
    let mut planned = Vec::new();
    while planned.len() < PLACEMENTS_MAX {
        let before = planned.len();
        for body in place_buckets(&View { snapshot: &state, ..*view }) {
            let CommandBody::PlaceBucket(placement) = &body else { continue };
            let placement = placement.clone();
            let version = CatalogVersion(state.version.0 + 1);
            let command = Command { time_ms: view.wall_ms, body };
            // One that does not hold any more after those before it is decided anew in the next turn.
            if let Ok(transition) = apply(&state, version, &command) {
                state = transition.next;
                planned.push(placement);
            }
        }
        if planned.len() == before {
            break;
        }
        state = with_copies(view, &state);
        tokio::task::yield_now().await;
    }
    planned.truncate(PLACEMENTS_MAX);
    planned
}

/// Every replica that is alive, and has room, has fetched what it lacked.
fn with_copies(view: &View<'_>, state: &Snapshot) -> Snapshot {
    let is_alive = |worker: &WorkerId| {
        view.leases.held.iter().any(|(holder, lease)| {
            let is_its = matches!(
                holder, granary_catalog::LeaseHolder::Worker { worker: of, .. } if of == worker
            );
            is_its && holds(view, holder, lease)
        })
    };
    let has_room = |worker: &WorkerId| state.workers.get(worker).is_some_and(|row| !row.is_full);
    let buckets = state.tables.values().flat_map(|state| state.buckets.values());
    let changes: Vec<Change> = buckets
        .filter_map(|bucket| {
            let fetches = |worker: &&WorkerId| {
                !bucket.in_sync.contains(worker) && is_alive(worker) && has_room(worker)
            };
            let new: Vec<WorkerId> = bucket.replicas.iter().filter(fetches).copied().collect();
            if new.is_empty() {
                return None;
            }
            let mut bucket = (**bucket).clone();
            bucket.in_sync.extend(new);
            bucket.in_sync_version += 1;
            Some(Change::Put(Row::Bucket(bucket)))
        })
        .collect();
    state.with_changes(state.version, &changes)
}

#[cfg(test)]
#[path = "dry_run_tests.rs"]
mod tests;
