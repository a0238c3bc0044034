//! How a worker that is gone for good leaves the catalog: first its copies of parts, which others
//! have as well, then its row. Pure.
//!
//! Copies of the past are not waited for: nobody makes them anew, and reading them fails while the
//! worker is away just as it does without its row.

use std::collections::BTreeMap;

use granary_common::{Error, Result, TableId, WorkerId};

use crate::command::{ClusterChange, CommandBody, CopiesChange, CopyChange, KnownPart};
use crate::model::{Part, PartLocation, WorkerState};
use crate::replication::replicated_parts;
use crate::snapshot::{Snapshot, TableState};

/// Parts of one command.
const BATCH: usize = 512;

/// The commands that make the catalog forget `worker`, in turn.
///
/// Kind `NotFound` when there is no such worker, `InvalidInput` when it is not dead, `Unavailable`
/// when others have not taken over yet what it held.
pub fn steps(snapshot: &Snapshot, worker: WorkerId) -> Result<Vec<CommandBody>> {
    check_leaves(snapshot, worker)?;
    let mut spare: BTreeMap<TableId, Vec<KnownPart>> = BTreeMap::new();
    for (state, part) in copies_on(snapshot, worker) {
        let is_whole =
            |replica: &WorkerId| is_on(part, *replica) && !snapshot.is_damaged(part, *replica);
        let bucket = state.buckets.get(&part.bucket);
        if !bucket.is_some_and(|bucket| bucket.replicas.iter().all(is_whole)) {
            return Err(Error::unavailable(format!(
                "not every replica of bucket {} of table '{}' has a whole copy of part {}, which \
                 worker {worker} had; system.movements shows what is on its way, and a part that \
                 has no other copy goes with DROP PARTITION only",
                part.bucket, state.table.name, part.id
            )));
        }
        let deletions = part.deletions.last().map(|vector| vector.since);
        let known = KnownPart { part: part.id, deletions };
        spare.entry(state.table.id).or_default().push(known);
    }
    let mut commands = Vec::new();
    for (table, parts) in spare {
        commands.extend(parts.chunks(BATCH).map(|parts| {
            let (change, parts) = (CopyChange::Spare, parts.to_vec());
            CommandBody::ChangeCopies(CopiesChange { table, worker, change, parts })
        }));
    }
    commands.push(CommandBody::Cluster(ClusterChange::DropWorker { worker }));
    Ok(commands)
}

/// Refuses while anything that counts needs `worker`. Kinds as for [`steps`].
pub(crate) fn check(snapshot: &Snapshot, worker: WorkerId) -> Result<()> {
    check_leaves(snapshot, worker)?;
    match copies_on(snapshot, worker).next() {
        None => Ok(()),
        Some((state, part)) => Err(Error::unavailable(format!(
            "worker {worker} is named for a copy of part {} of table '{}'; run it again",
            part.id, state.table.name
        ))),
    }
}

fn check_leaves(snapshot: &Snapshot, worker: WorkerId) -> Result<()> {
    let row = snapshot.workers.get(&worker);
    let row = row.ok_or_else(|| Error::not_found(format!("there is no worker {worker}")))?;
    if row.state != WorkerState::Dead {
        return Err(Error::invalid(format!(
            "worker {worker} at {} is not dead; drain it, stop its process, and run it again when \
             system.workers shows it as dead",
            row.address
        )));
    }
    // Dropped tables may come back with their buckets as they were.
    for state in snapshot.tables.values() {
        let mut buckets = state.buckets.values();
        if let Some(bucket) =
            buckets.find(|bucket| bucket.replicas.contains(&worker) || bucket.leader == worker)
        {
            let what = match state.table.dropped {
                None => {
                    "others take over replace_after_s after its death, where there are enough \
                         of them for the table's replication_factor"
                }
                Some(_) => "the table is dropped, and forgotten when its past is",
            };
            return Err(Error::unavailable(format!(
                "worker {worker} holds or leads bucket {} of table '{}': {what}",
                bucket.index, state.table.name
            )));
        }
    }
    Ok(())
}

/// The parts of tables that are there, not those of their past, with a copy on `worker`.
fn copies_on(snapshot: &Snapshot, worker: WorkerId) -> impl Iterator<Item = (&TableState, &Part)> {
    let tables = snapshot.tables.values().filter(|state| state.table.dropped.is_none());
    tables.flat_map(move |state| {
        let parts = replicated_parts(snapshot, state);
        parts.filter(move |part| is_on(part, worker)).map(move |part| (state, part))
    })
}

fn is_on(part: &Part, worker: WorkerId) -> bool {
    matches!(&part.location, PartLocation::Local { copies, .. } if copies.contains(&worker))
}
