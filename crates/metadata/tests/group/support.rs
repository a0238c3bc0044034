//! Groups as tests start them, over loopback and on real folders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::remote::wire;
use granary_catalog::{Catalog, CommandBody, RemoteCatalog};
use granary_common::{Clock, ErrorKind, NodeId, SystemClock, SystemRandom, TaskOwner};
use granary_metadata::{MetadataConfig, MetadataNode};
use granary_proto::internal::metadata_client::MetadataClient;
use granary_proto::internal::{StatusRequest, StatusResponse};
use tempfile::TempDir;

pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `ready` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ready: impl Fn() -> F) -> T {
    let give_up_ms = SystemClock.monotonic_ms() + LIMIT.as_millis() as u64;
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(SystemClock.monotonic_ms() < give_up_ms, "not within {LIMIT:?}: {what}");
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

pub fn create(name: &str) -> CommandBody {
    CommandBody::CreateDatabase { name: name.to_owned(), if_not_exists: false }
}

pub fn has(catalog: &dyn Catalog, name: &str) -> bool {
    catalog.snapshot().find_database(name).is_some()
}

/// Ports of the loopback address that nobody used a moment ago.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let listeners: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect()
}

/// `RUST_LOG=info` shows what the members do.
pub fn log_when_asked() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test of the same process may have done so.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

pub struct TestGroup {
    pub addresses: Vec<SocketAddr>,
    pub nodes: Vec<Option<MetadataNode>>,
    /// Members that the nodes are told of: the first so many.
    pub told: usize,
    pub tune: fn(&mut MetadataConfig),
    /// Removed after the nodes have ended.
    pub folders: Vec<TempDir>,
}

impl TestGroup {
    /// `count` members, of which the first `told` form the group.
    pub fn new(count: usize, told: usize) -> Self {
        log_when_asked();
        Self {
            folders: (0..count).map(|_| tempfile::tempdir().expect("a folder")).collect(),
            addresses: free_addresses(count),
            nodes: (0..count).map(|_| None).collect(),
            told,
            tune: |_| (),
        }
    }

    pub async fn of_three() -> Self {
        let mut group = Self::new(3, 3);
        for place in 0..3 {
            group.start(place).await;
        }
        group.ready().await;
        group
    }

    pub fn config(&self, place: usize) -> MetadataConfig {
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

    pub async fn start(&mut self, place: usize) {
        let config = self.config(place);
        let node = MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await;
        self.nodes[place] = Some(node.expect("starts"));
    }

    pub async fn stop(&mut self, place: usize) {
        self.nodes[place].take().expect("runs").shutdown().await;
    }

    pub fn running(&self) -> impl Iterator<Item = (usize, &MetadataNode)> {
        self.nodes.iter().enumerate().filter_map(|(place, node)| Some((place, node.as_ref()?)))
    }

    /// Those that the nodes are told of form the group.
    pub async fn ready(&self) {
        for (_, node) in self.running().filter(|(place, _)| *place < self.told) {
            node.ready(LIMIT).await.expect("the group forms");
        }
    }

    pub async fn leader(&self) -> usize {
        let leader = || async {
            let mut leaders = self.running().filter(|(_, node)| node.is_leader());
            leaders.next().map(|(place, _)| place)
        };
        eventually("a leader", leader).await
    }

    pub fn catalog(&self, place: usize) -> Arc<dyn Catalog> {
        self.nodes[place].as_ref().expect("runs").catalog()
    }

    pub fn remote(&self) -> (Arc<RemoteCatalog>, TaskOwner) {
        let tasks = TaskOwner::current();
        let addresses = self.addresses.iter().map(SocketAddr::to_string).collect();
        let catalog = RemoteCatalog::connect(addresses, SystemClock::shared(), tasks.clone());
        (catalog.expect("addresses"), tasks)
    }

    pub fn client(&self, place: usize) -> MetadataClient<tonic::transport::Channel> {
        let channel = wire::channel(&self.addresses[place].to_string()).expect("an address");
        MetadataClient::new(channel)
    }

    pub async fn status(&self, place: usize) -> StatusResponse {
        let response = self.client(place).status(StatusRequest {}).await;
        response.expect("answers").into_inner()
    }
}

/// Runs a command until it is certain that it was done.
pub async fn create_surely(catalog: &dyn Catalog, name: &str) {
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

pub async fn embedded(folder: &TempDir) -> granary_common::Result<MetadataNode> {
    let config = MetadataConfig::embedded(folder.path().to_owned());
    MetadataNode::start(config, SystemClock::shared(), SystemRandom::shared()).await
}
