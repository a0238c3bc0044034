//! What the leader does besides answering: forms the cluster and performs what the controller
//! decides.

use std::sync::Arc;

use granary_catalog::{CommandBody, Snapshot};
use granary_common::{ClusterId, Random};

use crate::controller::{View, decide};
use crate::group::Group;

/// Looks of the controller between two looks for what can be forgotten.
const HOUSEKEEPING_EVERY: u64 = 5;

/// Runs until its task is stopped.
pub(crate) async fn perform(group: Group, random: Arc<dyn Random>) {
    let mut looks: u64 = 0;
    let mut metrics = group.raft.metrics();
    loop {
        if let Some(term) = group.leads() {
            look(&group, term, &*random, looks.is_multiple_of(HOUSEKEEPING_EVERY)).await;
            looks += 1;
        }
        // A change of leadership is acted on at once, everything else in its time.
        let leader = metrics.borrow_and_update().current_leader;
        tokio::select! {
            () = group.clock.sleep(group.timing.controller_tick) => {}
            changed = metrics.wait_for(|now| now.current_leader != leader) => {
                if changed.is_err() {
                    return; // The group has stopped.
                }
            }
        }
    }
}

async fn look(group: &Group, term: u64, random: &dyn Random, housekeeping: bool) {
    let snapshot = group.feed.snapshot();
    if snapshot.cluster.is_none() {
        // Harmless when another leader has done so: only the first name counts.
        let cluster = ClusterId(random.next_hex());
        run(group, CommandBody::InitCluster { cluster }).await;
        return;
    }
    for command in with_view(group, term, &snapshot, housekeeping, decide) {
        run(group, command).await;
    }
}

/// What `decide` makes of everything that the leader knows now.
pub(crate) fn with_view<T>(
    group: &Group,
    term: u64,
    snapshot: &Snapshot,
    housekeeping: bool,
    decide: impl FnOnce(&View<'_>) -> T,
) -> T {
    let now_ms = group.clock.monotonic_ms();
    let lease_ms = group.timing.lease.as_millis() as u64;
    let leases = group.leases.observe(term, now_ms, lease_ms, snapshot);
    decide(&View {
        snapshot,
        leases: &leases,
        now_ms,
        wall_ms: group.clock.now_ms(),
        lease_ms,
        worker_lease_ms: group.timing.worker_lease.as_millis() as u64,
        replace_after_ms: group.timing.replace_after.as_millis() as u64,
        housekeeping,
        retention: &group.retention,
    })
}

async fn run(group: &Group, command: CommandBody) {
    tracing::info!(?command, "the controller changes the catalog");
    if let Err(error) = group.execute_here(command).await {
        // The next look decides anew from what holds then.
        tracing::warn!(%error, "a command of the controller was not carried out");
    }
}
