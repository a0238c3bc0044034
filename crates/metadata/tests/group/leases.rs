//! Leases of workers and coordinators.

use std::time::Duration;

use granary_catalog::protocol::{PROTOCOL_VERSION, software_version};
use granary_catalog::{Catalog, CommandBody, Heartbeat, LeaseHolder};
use granary_common::{CatalogVersion, ErrorKind, SystemClock, SystemRandom, WorkerId};
use granary_metadata::{MetadataConfig, MetadataNode};

use crate::support::eventually;

fn beat(worker: u64, incarnation: u64) -> Heartbeat {
    Heartbeat {
        holder: LeaseHolder::Worker { worker: WorkerId(worker), incarnation },
        address: "w1:7422".into(),
        lowest_pinned: None,
        protocol: PROTOCOL_VERSION,
        loads: Vec::new(),
        is_full: false,
    }
}

#[tokio::test]
async fn leases_decide_who_is_alive() {
    use granary_catalog::WorkerState::{Alive, Dead};
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = MetadataConfig::embedded(folder.path().to_owned());
    config.timing.worker_lease = Duration::from_millis(400);
    config.timing.controller_tick = Duration::from_millis(50);
    let node = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
    let node = node.expect("starts");
    let catalog = node.catalog();
    let missing = catalog.heartbeat(beat(1, 1)).await.expect_err("not registered");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let register = CommandBody::RegisterWorker {
        identity: "w1".into(),
        address: "w1:7422".into(),
        zone: String::new(),
        software_version: software_version("0.1.0"),
    };
    catalog.execute(register).await.expect("registers");
    let state = |catalog: &dyn Catalog| catalog.snapshot().workers[&WorkerId(1)].state;
    assert_eq!(state(&*catalog), Alive);
    let stale = catalog.heartbeat(beat(1, 7)).await.expect_err("another incarnation");
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    let silent = || async { (state(&*catalog) == Dead).then_some(()) };
    eventually("a silent worker is dead", silent).await;
    let reply = catalog.heartbeat(beat(1, 1)).await.expect("renews");
    assert_eq!(reply.lease_ms, 400);
    let back = || async {
        catalog.heartbeat(beat(1, 1)).await.expect("renews");
        (state(&*catalog) == Alive).then_some(())
    };
    eventually("it is alive again", back).await;

    let coordinator = Heartbeat {
        holder: LeaseHolder::Coordinator { identity: "c1".into() },
        address: "c1:7420".into(),
        lowest_pinned: Some(CatalogVersion(1)),
        protocol: PROTOCOL_VERSION,
        loads: Vec::new(),
        is_full: false,
    };
    let reply = catalog.heartbeat(coordinator).await.expect("renews");
    assert_eq!(reply.coordinators, ["c1:7420"]);
    drop(catalog);
    node.shutdown().await;
}
