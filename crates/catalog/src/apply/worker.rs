use granary_common::{Error, Result, WorkerId};

use super::Draft;
use crate::command::Outcome;
use crate::model::{PartIdRange, Worker, WorkerState};
use crate::protocol;
use crate::replication::replication_factor;
use crate::row::{Row, RowKey};

/// Part ids that one lease may hold.
const PART_IDS_MAX: u64 = 1 << 20;

pub(super) fn register(
    draft: &mut Draft,
    identity: &str,
    address: &str,
    zone: &str,
    software_version: &str,
) -> Result<Outcome> {
    let speaks = protocol::spoken_by(software_version);
    protocol::check_node(&format!("the worker at {address}"), speaks, &draft.next)?;
    let known = draft.next.workers.values().find(|worker| worker.identity == identity);
    let drained = known.is_some_and(|worker| worker.drained);
    // Until it says something else.
    let is_full = known.is_some_and(|worker| worker.is_full);
    let (id, incarnation) = match known {
        Some(worker) => (worker.id, worker.incarnation + 1),
        None => {
            let mut cluster = draft.cluster()?;
            let id = WorkerId(cluster.next_worker_id);
            cluster.next_worker_id += 1;
            draft.put(Row::Cluster(cluster));
            (id, 1)
        }
    };
    draft.put(Row::Worker(Worker {
        id,
        identity: identity.to_owned(),
        address: address.to_owned(),
        zone: zone.to_owned(),
        state: WorkerState::Alive,
        incarnation,
        software_version: software_version.to_owned(),
        drained,
        is_full,
    }));
    expire_ranges(draft, id);
    Ok(Outcome::WorkerRegistered { worker: id, incarnation })
}

/// Ranges of earlier incarnations end here: their unreferenced files may be swept, and a commit
/// that still names one of their ids is refused.
pub(super) fn expire_ranges(draft: &mut Draft, worker: WorkerId) {
    let held: Vec<u64> = draft
        .next
        .part_id_ranges
        .values()
        .filter(|range| range.worker == worker)
        .map(|range| range.start)
        .collect();
    for start in held {
        draft.delete(RowKey::PartIdRange(start));
    }
}

pub(super) fn set_state(
    draft: &mut Draft,
    worker: WorkerId,
    incarnation: u64,
    state: WorkerState,
) -> Result<Outcome> {
    let mut row = find(draft, worker, incarnation)?;
    if row.state != state {
        row.state = state;
        draft.put(Row::Worker(row));
    }
    Ok(Outcome::Done)
}

/// Kind `Conflict` when the worker has registered again since.
pub(super) fn change_room(
    draft: &mut Draft,
    worker: WorkerId,
    incarnation: u64,
    is_full: bool,
) -> Result<Outcome> {
    let row = find(draft, worker, incarnation)?;
    if row.is_full != is_full {
        draft.put(Row::Worker(Worker { is_full, ..row }));
    }
    Ok(Outcome::Done)
}

/// Empties a worker from now on, or fills it again. Kind `InvalidInput` when the others could not
/// hold as many copies as there are.
pub(super) fn drain(draft: &mut Draft, worker: WorkerId, drained: bool) -> Result<Outcome> {
    let row = draft.next.workers.get(&worker);
    let row = row.ok_or_else(|| Error::not_found(format!("there is no worker {worker}")))?;
    if row.drained == drained {
        return Ok(Outcome::Done);
    }
    let row = Worker { drained, ..(**row).clone() };
    if drained {
        check_others_suffice(draft, worker)?;
    }
    draft.put(Row::Worker(row));
    Ok(Outcome::Done)
}

fn check_others_suffice(draft: &Draft, worker: WorkerId) -> Result<()> {
    let others = draft.next.workers.values().filter(|row| row.id != worker && row.takes_more());
    let others = others.count();
    for state in draft.next.tables.values().filter(|state| state.table.dropped.is_none()) {
        let held = state.buckets.values().filter(|bucket| bucket.replicas.contains(&worker));
        let factor = replication_factor(&state.table.settings, draft.next.workers.len());
        let needed = held.map(|bucket| bucket.replicas.len().min(factor)).max().unwrap_or(0);
        if needed > others {
            return Err(Error::invalid(format!(
                "table '{}' has {needed} copies of its parts and only {others} other workers could \
                 hold them; start another worker first, or lower its replication_factor",
                state.table.name
            )));
        }
    }
    Ok(())
}

pub(super) fn lease_part_ids(
    draft: &mut Draft,
    worker: WorkerId,
    incarnation: u64,
    count: u64,
) -> Result<Outcome> {
    find(draft, worker, incarnation)?;
    if count == 0 || count > PART_IDS_MAX {
        return Err(Error::invalid(format!("lease 1 to {PART_IDS_MAX} part ids, not {count}")));
    }
    let mut cluster = draft.cluster()?;
    let start = cluster.next_part_id;
    cluster.next_part_id += count;
    draft.put(Row::Cluster(cluster));
    let range = PartIdRange { start, end: start + count, worker, incarnation };
    draft.put(Row::PartIdRange(range.clone()));
    Ok(Outcome::PartIdsLeased(range))
}

pub(super) fn release_part_ids(
    draft: &mut Draft,
    worker: WorkerId,
    incarnation: u64,
    start: u64,
) -> Result<Outcome> {
    find(draft, worker, incarnation)?;
    let range = draft.next.part_id_ranges.get(&start);
    if range.is_some_and(|range| range.worker == worker && range.incarnation == incarnation) {
        draft.delete(RowKey::PartIdRange(start));
    }
    Ok(Outcome::Done)
}

fn find(draft: &Draft, worker: WorkerId, incarnation: u64) -> Result<Worker> {
    let row = draft.next.workers.get(&worker);
    let row = row.ok_or_else(|| Error::not_found(format!("worker {worker} is not registered")))?;
    if row.incarnation != incarnation {
        return Err(Error::conflict(format!(
            "worker {worker} has registered again since (incarnation {}, not {incarnation})",
            row.incarnation
        )));
    }
    Ok((**row).clone())
}
