//! The cluster's controller: a pure function from what the leader knows to commands, and nothing
//! else. The loop in `duties` performs them.

use granary_catalog::protocol::FULL_DISKS;
use granary_catalog::{ClusterChange, CommandBody, LeaseHolder, Snapshot, Worker, WorkerState};

use crate::config::Retention;
use crate::leases::{Lease, LeaseView};
use crate::placement::place_buckets;

/// What the leader knows at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub leases: &'a LeaseView,
    /// Monotonic.
    pub now_ms: u64,
    /// Since the epoch.
    pub wall_ms: u64,
    /// For how long the heartbeat of a coordinator holds, and that of a worker.
    pub lease_ms: u64,
    pub worker_lease_ms: u64,
    /// For how long a dead worker is waited for before others take its place.
    pub replace_after_ms: u64,
    /// Whether to look for what can be forgotten, too; that reads the whole catalog.
    pub housekeeping: bool,
    pub retention: &'a Retention,
}

/// What to change now.
///
/// A new leader waits one lease before it declares anyone dead or moves the horizon: until then
/// it cannot tell who renewed with its predecessor.
pub fn decide(view: &View<'_>) -> Vec<CommandBody> {
    if view.snapshot.cluster.is_none() {
        return Vec::new();
    }
    let since_ms = view.leases.since_ms;
    let knows_workers = view.now_ms >= since_ms + view.worker_lease_ms;
    let mut commands: Vec<CommandBody> = worker_states(view, knows_workers).collect();
    commands.extend(rooms(view));
    if knows_workers {
        commands.extend(place_buckets(view));
    }
    let settled = view.now_ms >= since_ms + view.lease_ms.max(view.worker_lease_ms);
    if settled && view.housekeeping {
        commands.extend(advance_horizon(view));
        commands.extend(abandoned(view));
    }
    if view.housekeeping {
        commands.extend(expire(view));
    }
    commands
}

/// Whether a lease holds.
pub(crate) fn holds(view: &View<'_>, holder: &LeaseHolder, lease: &Lease) -> bool {
    let lease_ms = match holder {
        LeaseHolder::Worker { .. } => view.worker_lease_ms,
        LeaseHolder::Coordinator { .. } => view.lease_ms,
    };
    view.now_ms < lease.renewed_ms + lease_ms
}

fn worker_states<'a>(
    view: &'a View<'_>,
    settled: bool,
) -> impl Iterator<Item = CommandBody> + use<'a> {
    view.snapshot.workers.values().filter_map(move |row| {
        let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
        let alive = view.leases.held.get(&holder).is_some_and(|lease| holds(view, &holder, lease));
        let state = match (row.state, alive) {
            (WorkerState::Dead, true) => WorkerState::Alive,
            (WorkerState::Alive | WorkerState::Draining, false) if settled => WorkerState::Dead,
            _ => return None,
        };
        let (worker, incarnation) = (row.id, row.incarnation);
        Some(CommandBody::SetWorkerState { worker, incarnation, state })
    })
}

/// Whether the disks of a worker take no more writes, as it said last. Nobody is full before all nodes
/// know that workers can be.
pub(crate) fn is_full(view: &View<'_>, row: &Worker) -> bool {
    let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
    let said = view.leases.held.get(&holder).map_or(row.is_full, |lease| lease.is_full);
    said && view.snapshot.protocol() >= FULL_DISKS
}

/// What the catalog does not know yet of the disks of workers.
fn rooms<'a>(view: &'a View<'_>) -> impl Iterator<Item = CommandBody> + use<'a> {
    let changed = view.snapshot.workers.values().filter(|row| is_full(view, row) != row.is_full);
    changed.map(|row| {
        let (worker, incarnation, is_full) = (row.id, row.incarnation, !row.is_full);
        CommandBody::Cluster(ClusterChange::ChangeRoom { worker, incarnation, is_full })
    })
}

/// The horizon may move up to the lowest version that anyone may still read. It moves only when
/// something can be forgotten by it: each move is a command and so a version of its own.
fn advance_horizon(view: &View<'_>) -> Option<CommandBody> {
    let held = view.leases.held.iter();
    let valid = held.filter(|(holder, lease)| holds(view, holder, lease));
    let pinned = valid.map(|(_, lease)| lease.pinned).min();
    let horizon = pinned.unwrap_or(view.snapshot.version).min(view.snapshot.version);
    let useful = view.snapshot.can_forget(horizon, view.wall_ms);
    useful.then_some(CommandBody::AdvanceHorizon { horizon })
}

/// Temporary tables whose coordinator is gone: nobody else would drop them.
fn abandoned<'a>(view: &'a View<'_>) -> impl Iterator<Item = CommandBody> + use<'a> {
    let is_gone = |identity: &str| {
        let holder = LeaseHolder::Coordinator { identity: identity.to_owned() };
        !view.leases.held.contains_key(&holder)
    };
    let databases = view.snapshot.temporary_databases();
    databases
        .filter(move |(_, of)| is_gone(of.coordinator))
        .map(|(name, _)| CommandBody::DropDatabase { name: name.to_owned(), if_exists: true })
}

fn expire(view: &View<'_>) -> Option<CommandBody> {
    let before = |age: std::time::Duration| view.wall_ms.saturating_sub(age.as_millis() as u64);
    let staged_before_ms = before(view.retention.staged);
    let tokens_before_ms = before(view.retention.tokens);
    let tokens_per_table = view.retention.tokens_per_table;
    let staged = view.snapshot.staged.values().any(|insert| insert.touched_ms < staged_before_ms);
    let tokens = view.snapshot.tables.values().any(|state| {
        state.tokens.len() as u64 > tokens_per_table
            || state.tokens.values().any(|token| token.committed_ms < tokens_before_ms)
    });
    (staged || tokens).then_some(CommandBody::Expire {
        staged_before_ms,
        tokens_before_ms,
        tokens_per_table,
    })
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "scale_tests.rs"]
mod scale;
