//! Groups of one and of three members, over loopback and on real folders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::protocol::{PROTOCOL_VERSION, software_version};
use granary_catalog::remote::wire;
use granary_catalog::{
    Catalog, ClusterChange, CommandBody, Heartbeat, LeaseHolder, Outcome, RemoteCatalog,
};
use granary_common::{
    CatalogVersion, Clock, ErrorKind, NodeId, SystemClock, SystemRandom, TaskOwner, WorkerId,
};
use granary_metadata::{MetadataConfig, MetadataNode};
use granary_proto::internal::change_membership_request::Change;
use granary_proto::internal::metadata_client::MetadataClient;
use granary_proto::internal::{ChangeMembershipRequest, Member, StatusRequest, StatusResponse};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `ready` gives something.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ready: impl Fn() -> F) -> T {
    let give_up_ms = SystemClock.monotonic_ms() + LIMIT.as_millis() as u64;
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(SystemClock.monotonic_ms() < give_up_ms, "not within {LIMIT:?}: {what}");
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

fn create(name: &str) -> CommandBody {
    CommandBody::CreateDatabase { name: name.to_owned(), if_not_exists: false }
}

fn has(catalog: &dyn Catalog, name: &str) -> bool {
    catalog.snapshot().find_database(name).is_some()
}

/// Ports of the loopback address that nobody used a moment ago.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let listeners: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect()
}

/// `RUST_LOG=info` shows what the members do.
fn log_when_asked() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test of the same process may have done so.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

struct TestGroup {
    addresses: Vec<SocketAddr>,
    nodes: Vec<Option<MetadataNode>>,
    /// Members that the nodes are told of: the first so many.
    told: usize,
    tune: fn(&mut MetadataConfig),
    /// Removed after the nodes have ended.
    folders: Vec<TempDir>,
}

impl TestGroup {
    /// `count` members, of which the first `told` form the group.
    fn new(count: usize, told: usize) -> Self {
        log_when_asked();
        Self {
            folders: (0..count).map(|_| tempfile::tempdir().expect("a folder")).collect(),
            addresses: free_addresses(count),
            nodes: (0..count).map(|_| None).collect(),
            told,
            tune: |_| (),
        }
    }

    async fn of_three() -> Self {
        let mut group = Self::new(3, 3);
        for place in 0..3 {
            group.start(place).await;
        }
        group.ready().await;
        group
    }

    fn config(&self, place: usize) -> MetadataConfig {
        let member = |place: usize| (NodeId(place as u64 + 1), self.addresses[place].to_string());
        let mut members: Vec<_> = (0..self.told).map(member).collect();
        if place >= self.told {
            members.push(member(place));
        }
        let folder = self.folders[place].path().to_owned();
        let mut config = MetadataConfig::member(
            NodeId(place as u64 + 1),
            members,
            folder,
            self.addresses[place],
        );
        (self.tune)(&mut config);
        config
    }

    async fn start(&mut self, place: usize) {
        let config = self.config(place);
        let node = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
        self.nodes[place] = Some(node.expect("starts"));
    }

    async fn stop(&mut self, place: usize) {
        self.nodes[place].take().expect("runs").shutdown().await;
    }

    fn running(&self) -> impl Iterator<Item = (usize, &MetadataNode)> {
        self.nodes.iter().enumerate().filter_map(|(place, node)| Some((place, node.as_ref()?)))
    }

    async fn ready(&self) {
        for (_, node) in self.running() {
            node.ready(LIMIT).await.expect("the group forms");
        }
    }

    async fn leader(&self) -> usize {
        let leader = || async {
            let mut leaders = self.running().filter(|(_, node)| node.is_leader());
            leaders.next().map(|(place, _)| place)
        };
        eventually("a leader", leader).await
    }

    fn catalog(&self, place: usize) -> Arc<dyn Catalog> {
        self.nodes[place].as_ref().expect("runs").catalog()
    }

    fn remote(&self) -> (Arc<RemoteCatalog>, TaskOwner) {
        let tasks = TaskOwner::current();
        let addresses = self.addresses.iter().map(SocketAddr::to_string).collect();
        let catalog = RemoteCatalog::connect(addresses, SystemClock::shared(), tasks.clone());
        (catalog.expect("addresses"), tasks)
    }

    fn client(&self, place: usize) -> MetadataClient<tonic::transport::Channel> {
        let channel = wire::channel(&self.addresses[place].to_string()).expect("an address");
        MetadataClient::new(channel)
    }

    async fn status(&self, place: usize) -> StatusResponse {
        let response = self.client(place).status(StatusRequest {}).await;
        response.expect("answers").into_inner()
    }
}

/// Runs a command until it is certain that it was done.
async fn create_surely(catalog: &dyn Catalog, name: &str) {
    eventually(name, || async {
        match catalog.execute(create(name)).await {
            Ok(_) => Some(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Some(()),
            Err(error) => {
                let unknown = [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded];
                assert!(unknown.contains(&error.kind()), "{error:?}");
                None
            }
        }
    })
    .await;
}

async fn embedded(folder: &TempDir) -> granary_common::Result<MetadataNode> {
    let config = MetadataConfig::embedded(folder.path().to_owned());
    MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await
}

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
    for place in 0..3 {
        group.nodes[place].as_ref().expect("runs").ready(LIMIT).await.expect("forms");
    }
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

fn beat(worker: u64, incarnation: u64) -> Heartbeat {
    Heartbeat {
        holder: LeaseHolder::Worker { worker: WorkerId(worker), incarnation },
        address: "w1:7422".into(),
        lowest_pinned: None,
        protocol: PROTOCOL_VERSION,
        loads: Vec::new(),
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
    };
    let reply = catalog.heartbeat(coordinator).await.expect("renews");
    assert_eq!(reply.coordinators, ["c1:7420"]);
    drop(catalog);
    node.shutdown().await;
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

#[tokio::test]
async fn a_group_goes_on_when_its_last_member_is_upgraded() {
    let mut group = TestGroup::new(3, 3);
    // One member says that it is of the build before.
    group.tune = |config| {
        config.timing.worker_lease = Duration::from_millis(400);
        config.timing.controller_tick = Duration::from_millis(50);
        if config.node_id == NodeId(3) {
            config.speaks = PROTOCOL_VERSION - 1;
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
    assert_eq!(
        speak.collect::<Vec<_>>(),
        [PROTOCOL_VERSION, PROTOCOL_VERSION, PROTOCOL_VERSION - 1]
    );

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
    let config = MetadataConfig { speaks: PROTOCOL_VERSION - 1, ..group.config(2) };
    let error = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
    assert_eq!(error.expect_err("too old").kind(), ErrorKind::Unsupported);
    tasks.stop(LIMIT).await;
}
