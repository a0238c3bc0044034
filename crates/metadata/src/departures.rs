//! Workers that have been dead for long and hold nothing that others lack are forgotten. Pure.

use granary_catalog::protocol::check;
use granary_catalog::{ClusterChange, CommandBody, LeaseHolder, Worker, WorkerState, departure};

use crate::controller::View;

/// Commands of one look: a worker that had many copies leaves in several.
const COMMANDS_MAX: usize = 4;

/// The next steps of such workers out of the catalog. `forget_after_ms` is how long ago their last
/// sign of life must be, as far as this leader can tell; 0: none leaves by itself.
pub(crate) fn departures(view: &View<'_>, forget_after_ms: u64) -> Vec<CommandBody> {
    let mut commands = Vec::new();
    if forget_after_ms == 0 {
        return commands;
    }
    let silent =
        |row: &&Worker| row.state == WorkerState::Dead && silence_ms(view, row) >= forget_after_ms;
    for row in view.snapshot.workers.values().map(|row| &**row).filter(silent) {
        let last = CommandBody::Cluster(ClusterChange::DropWorker { worker: row.id });
        if check(&last, view.snapshot).is_err() {
            return Vec::new();
        }
        // One that others have not replaced yet is looked at again.
        commands.extend(departure::steps(view.snapshot, row.id).unwrap_or_default());
        if commands.len() >= COMMANDS_MAX {
            break;
        }
    }
    commands.truncate(COMMANDS_MAX);
    commands
}

fn silence_ms(view: &View<'_>, row: &Worker) -> u64 {
    let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
    let lease = view.leases.held.get(&holder);
    let last_ms = lease.map_or(view.leases.since_ms, |lease| lease.renewed_ms);
    view.now_ms.saturating_sub(last_ms)
}

#[cfg(test)]
mod tests {
    use granary_catalog::Snapshot;
    use granary_common::WorkerId;

    use super::*;
    use crate::test_support::{add_worker, formed, leases, new_table, run, view};

    const NOW_MS: u64 = 100_000;

    /// Three workers, of which the last is dead and held nothing.
    fn cluster(protocol: u32) -> Snapshot {
        let mut state = formed();
        ["a", "b", "c"].iter().for_each(|name| add_worker(&mut state, name, ""));
        let raise = ClusterChange::RaiseProtocol { version: protocol };
        run(&mut state, CommandBody::Cluster(raise));
        let (worker, incarnation, dead) = (WorkerId(3), 1, WorkerState::Dead);
        run(&mut state, CommandBody::SetWorkerState { worker, incarnation, state: dead });
        state
    }

    fn decided(snapshot: &Snapshot, silent_ms: u64, forget_after_ms: u64) -> Vec<CommandBody> {
        let leases = leases(snapshot, |id| if id == 3 { NOW_MS - silent_ms } else { NOW_MS });
        let view = view(snapshot, &leases, NOW_MS);
        departures(&view, forget_after_ms)
    }

    #[test]
    fn only_workers_that_are_long_gone_and_empty_are_forgotten() {
        let drop = CommandBody::Cluster(ClusterChange::DropWorker { worker: WorkerId(3) });
        let empty = cluster(2);
        let mut holding = cluster(2);
        let (worker, incarnation, alive) = (WorkerId(3), 1, WorkerState::Alive);
        run(&mut holding, CommandBody::SetWorkerState { worker, incarnation, state: alive });
        let table = new_table("t", 3, Default::default());
        run(&mut holding, CommandBody::CreateTable { table, if_not_exists: false });
        let lives = holding.clone();
        let dead = WorkerState::Dead;
        run(&mut holding, CommandBody::SetWorkerState { worker, incarnation, state: dead });
        for (state, silent_ms, forget_after_ms, expected) in [
            (&empty, 50_000, 50_000, vec![drop.clone()]),
            (&empty, 49_999, 50_000, vec![]),
            (&empty, 50_000, 0, vec![]),
            (&holding, 50_000, 50_000, vec![]),
            (&lives, 50_000, 50_000, vec![]),
            // Some node could not read the command.
            (&cluster(1), 50_000, 50_000, vec![]),
        ] {
            assert_eq!(decided(state, silent_ms, forget_after_ms), expected, "{silent_ms}");
        }
    }
}
