//! What the tests of the controller share: a catalog without a group, and workers that are alive.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use granary_catalog::protocol::{self, PROTOCOL_VERSION};
use granary_catalog::{Command, CommandBody, LeaseHolder, NewTable, Snapshot, apply};
use granary_common::{CatalogVersion, ClusterId};

use crate::config::Retention;
use crate::controller::View;
use crate::leases::{Lease, LeaseView};

/// After how long a silent worker is dead, and one that is dead replaced.
pub(crate) const WORKER_LEASE_MS: u64 = 4_000;
pub(crate) const REPLACE_AFTER_MS: u64 = 60_000;

static RETENTION: LazyLock<Retention> = LazyLock::new(Retention::default);

/// Runs a command, which must be taken.
pub(crate) fn run(state: &mut Snapshot, body: CommandBody) {
    let version = CatalogVersion(state.version.0 + 1);
    *state = apply(state, version, &Command { time_ms: 0, body }).expect("applies").next;
}

/// A cluster that has been formed, without workers.
pub(crate) fn formed() -> Snapshot {
    let mut state = Snapshot::default();
    run(&mut state, CommandBody::InitCluster { cluster: ClusterId("c".into()) });
    state
}

/// Registers a worker.
pub(crate) fn add_worker(state: &mut Snapshot, name: &str, zone: &str) {
    run(
        state,
        CommandBody::RegisterWorker {
            identity: name.to_owned(),
            address: format!("{name}:7422"),
            zone: zone.to_owned(),
            software_version: protocol::software_version("0"),
        },
    );
}

/// A table without columns: placement looks at none.
pub(crate) fn new_table(name: &str, buckets: u32, settings: BTreeMap<String, String>) -> NewTable {
    NewTable {
        database: granary_common::DatabaseId(1),
        name: name.into(),
        engine: granary_catalog::TableEngine {
            kind: granary_catalog::EngineKind::MergeTree,
            arguments: vec![],
        },
        columns: vec![],
        order_by: vec![],
        primary_key_len: 0,
        partition_by: vec![],
        distribution: granary_catalog::Distribution::Rotation,
        buckets: Some(buckets),
        colocation_group: None,
        settings,
        comment: None,
        unique_key: vec![],
        options: Default::default(),
    }
}

/// Leases of all workers, each renewed at `renewed_ms` of its id.
pub(crate) fn leases(state: &Snapshot, renewed_ms: impl Fn(u64) -> u64) -> LeaseView {
    let lease = |row: &std::sync::Arc<granary_catalog::Worker>| {
        let holder = LeaseHolder::Worker { worker: row.id, incarnation: row.incarnation };
        let (address, pinned) = (row.address.clone(), CatalogVersion(u64::MAX));
        let (renewed_ms, protocol) = (renewed_ms(row.id.0), PROTOCOL_VERSION);
        (
            holder,
            Lease {
                address,
                pinned,
                renewed_ms,
                protocol,
                loads: Vec::new(),
                is_full: row.is_full,
            },
        )
    };
    LeaseView { since_ms: 0, held: state.workers.values().map(lease).collect() }
}

/// What a leader sees at `now_ms` that gives nodes 10 seconds, workers 4, and dead ones a minute until
/// they are replaced.
pub(crate) fn view<'a>(snapshot: &'a Snapshot, leases: &'a LeaseView, now_ms: u64) -> View<'a> {
    View {
        snapshot,
        leases,
        now_ms,
        wall_ms: 0,
        lease_ms: 10_000,
        worker_lease_ms: WORKER_LEASE_MS,
        replace_after_ms: REPLACE_AFTER_MS,
        housekeeping: false,
        retention: &RETENTION,
    }
}
