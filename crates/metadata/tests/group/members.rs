//! Members that come, go, lose their disks and are upgraded.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::protocol::{FIRST_PROTOCOL, PROTOCOL_VERSION};
use granary_catalog::{Catalog, ClusterChange, CommandBody};
use granary_common::{ErrorKind, NodeId, SystemClock, SystemRandom, WorkerId};
use granary_metadata::{MetadataConfig, MetadataNode};
use granary_proto::internal::change_membership_request::Change;
use granary_proto::internal::{ChangeMembershipRequest, Member};

use crate::support::{LIMIT, TestGroup, create_surely, eventually, has};

fn add(group: &TestGroup, place: usize) -> ChangeMembershipRequest {
    let address = group.addresses[place].to_string();
    let member = Member { node_id: place as u64 + 1, address, voter: true };
    ChangeMembershipRequest { change: Some(Change::Add(member)) }
}

fn remove(place: usize) -> ChangeMembershipRequest {
    ChangeMembershipRequest { change: Some(Change::RemoveNodeId(place as u64 + 1)) }
}

#[tokio::test]
async fn members_are_added_and_removed() {
    let mut group = TestGroup::new(5, 3);
    for place in 0..4 {
        group.start(place).await;
    }
    group.ready().await;
    create_surely(&*group.catalog(0), "before").await;
    // Through any member, by a fourth one that only waits until then.
    let members = group.client(1).change_membership(add(&group, 3)).await.expect("added");
    let members = members.into_inner().members;
    assert_eq!(members.iter().filter(|member| member.voter).count(), 4, "{members:?}");
    let fourth = || async { has(&*group.catalog(3), "before").then_some(()) };
    eventually("the new member has the state", fourth).await;

    let leader = group.leader().await;
    let removed = (leader + 1) % 3;
    let members = group.client(leader).change_membership(remove(removed)).await.expect("removed");
    assert_eq!(members.into_inner().members.len(), 3);
    group.stop(removed).await;
    create_surely(&*group.catalog(leader), "after").await;
    assert!(group.catalog(3).read_latest().await.expect("reads").find_database("after").is_some());

    // A removed id is never used again, through whichever leader.
    let status = group.client(leader).change_membership(add(&group, removed)).await;
    let status = status.expect_err("refused");
    assert!(status.message().contains("never used"), "{status}");
    assert_eq!(group.status(leader).await.members.len(), 3);
}

#[tokio::test]
async fn a_member_that_lost_its_disk_does_not_come_back_under_its_id() {
    let mut group = TestGroup::of_three().await;
    let leader = group.leader().await;
    for place in [leader, (leader + 1) % 3] {
        group.stop(place).await;
        let folder = tempfile::tempdir().expect("a folder");
        let config = MetadataConfig { data_dir: folder.path().to_owned(), ..group.config(place) };
        let (clock, random) = (SystemClock::shared(), SystemRandom::shared());
        let error = MetadataNode::start(config, clock, random).await.expect_err("refused");
        assert!(error.message().contains("joins under a new id"), "{error}");
        group.start(place).await;
        group.ready().await;
    }
}

#[tokio::test]
async fn a_member_that_lost_its_disk_is_not_counted() {
    let mut group = TestGroup::of_three().await;
    let leader = group.leader().await;
    let (lost, away) = ((leader + 1) % 3, (leader + 2) % 3);
    group.stop(away).await;
    group.stop(lost).await;
    // Starts while nobody answers, so that nobody refuses it.
    group.stop(leader).await;
    let kept = std::mem::replace(&mut group.folders[lost], tempfile::tempdir().expect("a folder"));
    group.start(lost).await;
    group.start(leader).await;
    let node = group.nodes[leader].as_ref().expect("runs");
    node.ready(Duration::from_secs(5)).await.expect_err("one member is no majority of three");
    group.stop(lost).await;
    group.folders[lost] = kept;
    group.start(lost).await;
    node_ready(&group, leader).await;
}

async fn node_ready(group: &TestGroup, place: usize) {
    group.nodes[place].as_ref().expect("runs").ready(LIMIT).await.expect("a majority is back");
}

#[tokio::test]
async fn a_member_that_is_behind_does_not_take_the_others_for_older() {
    let mut group = TestGroup::new(4, 3);
    for place in 0..4 {
        group.start(place).await;
    }
    group.ready().await;
    let (knows, behind) = (group.catalog(0), group.catalog(3));
    let raised = || async { (knows.snapshot().protocol() == PROTOCOL_VERSION).then_some(()) };
    eventually("all members speak the newest version", raised).await;
    assert_eq!(behind.snapshot().protocol(), FIRST_PROTOCOL);
    let drop = CommandBody::Cluster(ClusterChange::DropWorker { worker: WorkerId(7) });
    let refused = behind.execute(drop.clone()).await.expect_err("it belongs to no group");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");

    group.client(0).change_membership(add(&group, 3)).await.expect("added");
    let answered = || async {
        let error = behind.execute(drop.clone()).await.expect_err("there is no such worker");
        assert_ne!(error.kind(), ErrorKind::Unsupported, "{error}");
        (error.kind() == ErrorKind::NotFound).then_some(())
    };
    eventually("the group answers through it", answered).await;
}

#[tokio::test]
async fn a_group_goes_on_when_its_last_member_is_upgraded() {
    let mut group = TestGroup::new(3, 3);
    // One member says that it is of a build that knows no numbers.
    group.tune = |config| {
        config.timing.worker_lease = Duration::from_millis(400);
        config.timing.controller_tick = Duration::from_millis(50);
        if config.node_id == NodeId(3) {
            config.speaks = FIRST_PROTOCOL;
        }
    };
    for place in 0..3 {
        group.start(place).await;
    }
    group.ready().await;
    let (remote, tasks) = group.remote();
    remote.ready(LIMIT).await.expect("formed");
    let drop = CommandBody::Cluster(ClusterChange::DropWorker { worker: WorkerId(7) });
    let refused = async |drop: &CommandBody| {
        for catalog in [group.catalog(0), group.catalog(1), remote.clone() as Arc<dyn Catalog>] {
            let error = catalog.execute(drop.clone()).await.expect_err("one could not read it");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.message().contains("protocol version"), "{error}");
        }
    };
    refused(&drop).await;
    let members = eventually("every member answers", || async {
        let members = remote.metadata_members().await.expect("answers");
        members.iter().all(|member| member.report.is_some()).then_some(members)
    });
    let speak = members.await.into_iter().filter_map(|member| Some(member.report?.protocol));
    assert_eq!(speak.collect::<Vec<_>>(), [PROTOCOL_VERSION, PROTOCOL_VERSION, FIRST_PROTOCOL]);

    // It is still refused while the old member is away: it may come back as it was.
    group.stop(2).await;
    create_surely(&*remote, "a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(remote.snapshot().protocol() < PROTOCOL_VERSION);
    group.tune = |config| {
        config.timing.worker_lease = Duration::from_millis(400);
        config.timing.controller_tick = Duration::from_millis(50);
    };
    group.start(2).await;
    let raised = || async { (remote.snapshot().protocol() == PROTOCOL_VERSION).then_some(()) };
    eventually("all members are upgraded", raised).await;
    let missing = remote.execute(drop).await.expect_err("there is no such worker");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");

    // Nobody goes back after that.
    let catalog = group.catalog(2);
    let reached = || async { (catalog.snapshot().protocol() == PROTOCOL_VERSION).then_some(()) };
    eventually("it has heard so", reached).await;
    std::mem::drop(catalog);
    group.stop(2).await;
    let config = MetadataConfig { speaks: FIRST_PROTOCOL, ..group.config(2) };
    let error = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
    assert_eq!(error.expect_err("too old").kind(), ErrorKind::Unsupported);
    tasks.stop(LIMIT).await;
}
