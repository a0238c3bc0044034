//! Groups of one and of three members, over loopback and on real folders.

mod leases;
mod members;
mod support;

use granary_catalog::remote::wire;
use granary_catalog::{Catalog, Outcome};
use granary_common::{ErrorKind, SystemClock, SystemRandom};
use granary_metadata::{MetadataConfig, MetadataNode};
use support::{LIMIT, TestGroup, create, create_surely, embedded, eventually, has};

#[tokio::test]
async fn a_group_of_one_keeps_its_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = embedded(&folder).await.expect("starts");
    let catalog = node.catalog();
    let (version, outcome) = catalog.execute(create("a")).await.expect("done");
    assert_eq!(outcome, Outcome::Done);
    assert!(catalog.snapshot().version >= version);
    let error = catalog.execute(create("a")).await.expect_err("a second time");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(catalog.read_latest().await.expect("reads").version > version);
    let cluster = catalog.snapshot().cluster.clone();

    let second = embedded(&folder).await.expect_err("in use");
    assert_eq!(second.kind(), ErrorKind::Unavailable);
    assert!(second.message().contains("in use"), "{second}");

    let before = catalog.snapshot();
    drop(catalog);
    node.shutdown().await;
    for _ in 0..2 {
        let node = embedded(&folder).await.expect("starts again");
        let state = node.catalog().read_latest().await.expect("reads");
        assert!(state.version >= before.version);
        assert_eq!(state.cluster, cluster);
        assert_eq!(state.rows(), before.rows());
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_member_without_its_folder_or_port_says_so() {
    let group = TestGroup::of_three().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = MetadataConfig { data_dir: folder.path().to_owned(), ..group.config(0) };
    let error = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
    let error = error.expect_err("the port is in use");
    assert!(error.message().contains("cannot listen on"), "{error}");
}

#[tokio::test]
async fn three_members_form_a_group_and_any_of_them_answers() {
    let group = TestGroup::of_three().await;
    let cluster = group.catalog(0).snapshot().cluster.clone().expect("formed").id.clone();
    for place in 0..3 {
        let catalog = group.catalog(place);
        catalog.execute(create(&format!("d{place}"))).await.expect("any member runs a command");
        // Every other member sees it with its next linearizable read.
        for other in 0..3 {
            let state = group.catalog(other).read_latest().await.expect("reads");
            assert!(state.find_database(&format!("d{place}")).is_some(), "{place} at {other}");
            assert_eq!(state.cluster.as_ref().expect("formed").id, cluster);
        }
        let refused = catalog.execute(create("d0")).await.expect_err("exists");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "the kind survives the way");
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_the_leader_and_a_restart_of_all() {
    let mut group = TestGroup::of_three().await;
    let (remote, tasks) = group.remote();
    remote.ready(LIMIT).await.expect("formed");
    create_surely(&*remote, "before").await;
    let leader = group.leader().await;
    group.stop(leader).await;
    // The other two elect a leader; the client notices nothing but time.
    create_surely(&*remote, "without").await;
    let state = remote.read_latest().await.expect("reads");
    assert!(state.find_database("without").is_some() && state.find_database("before").is_some());
    group.start(leader).await;
    group.ready().await;
    assert!(has(&*group.catalog(leader), "without"), "caught up");

    for place in 0..3 {
        group.stop(place).await;
    }
    for place in 0..3 {
        group.start(place).await;
    }
    group.ready().await;
    for place in 0..3 {
        let state = group.catalog(place).read_latest().await.expect("reads");
        assert!(state.find_database("before").is_some(), "{place}");
        assert!(state.find_database("without").is_some(), "{place}");
    }
    create_surely(&*remote, "after").await;
    let follows = || async { has(&*remote, "after").then_some(()) };
    eventually("the stream of changes continues", follows).await;
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn a_member_that_lags_gets_a_snapshot() {
    let mut group = TestGroup::new(3, 3);
    group.tune = |config| {
        config.retention.snapshot_every = 20;
        config.retention.log_kept = 2;
    };
    for place in 0..3 {
        group.start(place).await;
    }
    group.ready().await;
    let leader = group.leader().await;
    let lagging = (leader + 1) % 3;
    group.stop(lagging).await;
    let catalog = group.catalog(leader);
    for number in 0..100 {
        create_surely(&*catalog, &format!("d{number}")).await;
    }
    let snapshots = group.folders[leader].path().join("snapshots");
    let taken = || async {
        let mut entries = std::fs::read_dir(&snapshots).expect("there");
        entries.next().map(|_| ())
    };
    eventually("a snapshot", taken).await;
    group.start(lagging).await;
    let caught_up = || async {
        let catalog = group.catalog(lagging);
        (0..100).all(|number| has(&*catalog, &format!("d{number}"))).then_some(())
    };
    eventually("the lagging member catches up", caught_up).await;
    // What it received is what it starts from.
    let before = group.catalog(leader).read_latest().await.expect("reads");
    group.stop(lagging).await;
    group.start(lagging).await;
    group.ready().await;
    let after = group.catalog(lagging).read_latest().await.expect("reads");
    assert_eq!(after.rows(), before.rows());
}

#[tokio::test]
async fn a_folder_of_another_cluster_is_refused() {
    let group = TestGroup::of_three().await;
    let mut other = TestGroup::of_three().await;
    other.stop(2).await;
    // The third member of the other cluster, with the addresses of this one.
    let mut config = other.config(2);
    let (first, second) = (group.addresses[0].to_string(), group.addresses[1].to_string());
    config.members[0].1 = first;
    config.members[1].1 = second;
    let error = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
    let error = error.expect_err("another cluster");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("belongs to cluster"), "{error}");
    // A client that knows its cluster is refused by another one.
    let mut request = tonic::Request::new(granary_proto::internal::ReadVersionRequest {});
    wire::stamp(&mut request, "somebody else");
    let status = group.client(0).read_version(request).await.expect_err("refused");
    assert_eq!(wire::error_of(&status).kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn many_readers_see_every_acknowledged_write() {
    let group = TestGroup::of_three().await;
    let (remote, tasks) = group.remote();
    remote.ready(LIMIT).await.expect("formed");
    for number in 0..20 {
        let name = format!("d{number}");
        create_surely(&*group.catalog(number % 3), &name).await;
        let reads = (0..20).map(|_| remote.read_latest());
        for state in futures::future::join_all(reads).await {
            assert!(state.expect("reads").find_database(&name).is_some());
        }
    }
    tasks.stop(LIMIT).await;
}
