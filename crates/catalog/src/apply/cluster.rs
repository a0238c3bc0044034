//! Changes of the cluster as a whole.

use granary_common::{Result, WorkerId};

use super::{Draft, worker};
use crate::command::{ClusterChange, Outcome};
use crate::departure;
use crate::model::CopyId;
use crate::row::{Row, RowKey};

pub(super) fn change(draft: &mut Draft, change: &ClusterChange) -> Result<Outcome> {
    match change {
        ClusterChange::RaiseProtocol { version } => raise_protocol(draft, *version),
        ClusterChange::DropWorker { worker } => drop_worker(draft, *worker),
        ClusterChange::ChangeRoom { worker, incarnation, is_full } => {
            worker::change_room(draft, *worker, *incarnation, *is_full)
        }
    }
}

fn raise_protocol(draft: &mut Draft, version: u32) -> Result<Outcome> {
    let mut cluster = draft.cluster()?;
    if version > cluster.protocol {
        cluster.protocol = version;
        draft.put(Row::Cluster(cluster));
    }
    Ok(Outcome::Done)
}

/// Its id is never used again: when it comes back, it registers as a new one.
fn drop_worker(draft: &mut Draft, worker: WorkerId) -> Result<Outcome> {
    departure::check(&draft.next, worker)?;
    worker::expire_ranges(draft, worker);
    // What is left are notes of copies that it had given up already.
    let damaged = draft.next.damage.keys().filter(|copy| copy.worker == Some(worker));
    for copy in damaged.copied().collect::<Vec<CopyId>>() {
        draft.delete(RowKey::Damage(copy));
    }
    draft.delete(RowKey::Worker(worker));
    Ok(Outcome::Done)
}
