//! What the leader does besides answering: forms the cluster and performs what the controller
//! decides.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{CommandBody, Snapshot};
use granary_common::{ClusterId, Random, TaskOwner};

use crate::controller::{View, decide};
use crate::departures::departures;
use crate::group::Group;
use crate::leases::LeaseView;
use crate::versions::raised;

/// Looks of the controller between two looks for what can be forgotten.
const HOUSEKEEPING_EVERY: u64 = 5;
/// How often the members of a new group are looked at, until all have answered.
const HEAR_ATTEMPTS: u32 = 40;
const HEAR_INTERVAL: Duration = Duration::from_millis(50);

/// Runs until its task is stopped.
pub(crate) async fn perform(group: Group, random: Arc<dyn Random>, tasks: TaskOwner) {
    let mut looks: u64 = 0;
    let mut metrics = group.raft.metrics();
    loop {
        if let Some(term) = group.leads() {
            let housekeeping = looks.is_multiple_of(HOUSEKEEPING_EVERY);
            look(&group, term, &*random, &tasks, housekeeping).await;
            looks += 1;
        }
        // A change of leadership and a full disk are acted on at once, the end of a worker's lease when
        // it comes, and everything else in its time.
        let leader = metrics.borrow_and_update().current_leader;
        let until_end =
            group.leases.next_worker_end(group.clock.monotonic_ms(), group.timing.worker_lease);
        let pause = until_end.unwrap_or(Duration::MAX).min(group.timing.controller_tick);
        tokio::select! {
            () = group.clock.sleep(pause) => {}
            () = group.leases.room_changed() => {}
            changed = metrics.wait_for(|now| now.current_leader != leader) => {
                if changed.is_err() {
                    return; // The group has stopped.
                }
            }
        }
    }
}

async fn look(
    group: &Group,
    term: u64,
    random: &dyn Random,
    tasks: &TaskOwner,
    housekeeping: bool,
) {
    let snapshot = group.feed.snapshot();
    if snapshot.cluster.is_none() {
        // A new cluster need not begin with what older builds speak.
        hear_members(group).await;
        // Harmless when another leader has done so: only the first name counts.
        let cluster = ClusterId(random.next_hex());
        run(group, CommandBody::InitCluster { cluster }).await;
        return raise_protocol(group, term).await;
    }
    let leases = observed(group, term, &snapshot);
    let deciding = group.clone();
    // Over millions of buckets and parts this takes seconds, in which the node answers all the same.
    let decided =
        tasks.spawn_blocking(move || decisions(&deciding, &snapshot, &leases, housekeeping));
    match decided.await {
        Ok(commands) => {
            for command in commands {
                run(group, command).await;
            }
        }
        // Only when it panicked; the next look decides anew.
        Err(error) => tracing::error!(%error, "the controller failed to decide"),
    }
    raise_protocol(group, term).await;
}

fn decisions(
    group: &Group,
    snapshot: &Snapshot,
    leases: &LeaseView,
    housekeeping: bool,
) -> Vec<CommandBody> {
    let view = view(group, snapshot, leases, housekeeping);
    let mut commands = decide(&view);
    if housekeeping {
        commands.extend(departures(&view, group.timing.forget_after.as_millis() as u64));
    }
    commands
}

/// Waits until every member has said what it speaks, but not for one that is away.
async fn hear_members(group: &Group) {
    for _ in 0..HEAR_ATTEMPTS {
        if group.spoken().iter().all(Option::is_some) {
            return;
        }
        group.clock.sleep(HEAR_INTERVAL).await;
    }
}

async fn raise_protocol(group: &Group, term: u64) {
    let snapshot = group.feed.snapshot();
    let leases = observed(group, term, &snapshot);
    if let Some(command) = raised(&view(group, &snapshot, &leases, false), &group.spoken()) {
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
