//! Who the worker is in the cluster, and how it becomes so again.

use granary_catalog::protocol::software_version;
use granary_catalog::{Catalog, CommandBody, Outcome, Worker, WorkerState};
use granary_common::{Error, Result, WorkerId};

/// What a worker registers with; the same for each of its incarnations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// From the data folder; the cluster knows the worker by it.
    pub identity: String,
    /// `host:port` that others reach it at.
    pub address: String,
    /// Label for placement; may be empty.
    pub zone: String,
}

impl Registration {
    /// Registers; gives the worker's id and its new incarnation.
    pub async fn register(&self, catalog: &dyn Catalog) -> Result<(WorkerId, u64)> {
        let command = CommandBody::RegisterWorker {
            identity: self.identity.clone(),
            address: self.address.clone(),
            zone: self.zone.clone(),
            software_version: software_version(env!("CARGO_PKG_VERSION")),
        };
        match catalog.execute(command).await?.1 {
            Outcome::WorkerRegistered { worker, incarnation } => Ok((worker, incarnation)),
            other => Err(Error::internal(format!("a registration brought about {other:?}"))),
        }
    }

    /// Whether to register again when a heartbeat says that the incarnation was replaced: when
    /// nobody else is this worker now. A registration of our own may have been applied twice; but
    /// another process with a copy of the data folder must not be fought for the place.
    pub fn may_return(&self, row: Option<&Worker>) -> bool {
        row.is_some_and(|row| {
            row.identity == self.identity
                && (row.address == self.address || row.state == WorkerState::Dead)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_returns_unless_another_process_took_its_place() {
        let ours = Registration {
            identity: "a".to_owned(),
            address: "w1:7422".to_owned(),
            zone: String::new(),
        };
        let row = |identity: &str, address: &str, state| Worker {
            id: WorkerId(1),
            identity: identity.to_owned(),
            address: address.to_owned(),
            zone: String::new(),
            state,
            incarnation: 7,
            software_version: String::new(),
            drained: false,
            is_full: false,
        };
        for (row, expected) in [
            (Some(row("a", "w1:7422", WorkerState::Alive)), true),
            (Some(row("a", "w9:7422", WorkerState::Alive)), false),
            (Some(row("a", "w9:7422", WorkerState::Dead)), true),
            (Some(row("b", "w1:7422", WorkerState::Alive)), false),
            (None, false),
        ] {
            assert_eq!(ours.may_return(row.as_ref()), expected, "{row:?}");
        }
    }
}
