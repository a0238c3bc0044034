//! What the leader does besides answering: forms the cluster and performs what the controller
//! decides.

use std::sync::Arc;

use granary_catalog::{CommandBody, Snapshot};
use granary_common::{ClusterId, Random};

use crate::controller::{View, decide};
use crate::group::Group;
use crate::leases::LeaseView;

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
    let leases = observed(group, term, &snapshot);
    for command in decide(&view(group, &snapshot, &leases, housekeeping)) {
        run(group, command).await;
    }
}

/// The leases that hold, as the leader of `term` knows them.
pub(crate) fn observed(group: &Group, term: u64, snapshot: &Snapshot) -> LeaseView {
    let lease_ms = group.timing.lease.as_millis() as u64;
    group.leases.observe(term, group.clock.monotonic_ms(), lease_ms, snapshot)
}

/// Everything that the leader decides from now.
pub(crate) fn view<'a>(
    group: &'a Group,
    snapshot: &'a Snapshot,
    leases: &'a LeaseView,
    housekeeping: bool,
) -> View<'a> {
    View {
        snapshot,
        leases,
        now_ms: group.clock.monotonic_ms(),
        wall_ms: group.clock.now_ms(),
        lease_ms: group.timing.lease.as_millis() as u64,
        worker_lease_ms: group.timing.worker_lease.as_millis() as u64,
        replace_after_ms: group.timing.replace_after.as_millis() as u64,
        housekeeping,
        retention: &group.retention,
    }
}

async fn run(group: &Group, command: CommandBody) {
    tracing::info!(?command, "the controller changes the catalog");
    if let Err(error) = group.execute_here(command).await {
        // The next look decides anew from what holds then.
        tracing::warn!(%error, "a command of the controller was not carried out");
    }
}
