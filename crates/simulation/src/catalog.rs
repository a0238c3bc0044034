//! The catalog as workers and coordinators see it over the simulated network.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use granary_catalog::{
    BucketPlacement, Catalog, CommandBody, Heartbeat, HeartbeatReply, MemberChange, MetadataMember,
    Outcome, Snapshot,
};
use granary_common::{CatalogVersion, Error, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::executor;
use crate::member::{Answer, Member};
use crate::net::{Host, Lost};

const GIVE_UP_AFTER_MS: u64 = 8_000;
const PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at what a member has applied.
const FEED_MS: std::ops::Range<u64> = 10..120;

/// One host's view.
pub struct SimulatedCatalog {
    cluster: Arc<Cluster>,
    host: Host,
    state: Mutex<Arc<Snapshot>>,
    version: watch::Sender<CatalogVersion>,
    /// Who is asked first.
    leader: AtomicU64,
}

impl fmt::Debug for SimulatedCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedCatalog").field("host", &self.host).finish_non_exhaustive()
    }
}

impl SimulatedCatalog {
    /// A view that follows the members for as long as the host lives.
    pub fn follow(cluster: &Arc<Cluster>, host: Host) -> Arc<SimulatedCatalog> {
        let catalog = Arc::new(SimulatedCatalog {
            cluster: Arc::clone(cluster),
            host,
            state: Mutex::default(),
            version: watch::channel(CatalogVersion(0)).0,
            leader: AtomicU64::new(1),
        });
        let feed = Arc::clone(&catalog);
        drop(cluster.net.spawn(host, async move { feed.feed().await }));
        catalog
    }

    async fn feed(&self) {
        let net = &self.cluster.net;
        loop {
            let members = self.cluster.addresses();
            let place = net.pick(0..members.len() as u64) as usize;
            let member = members.iter().nth(place).copied().unwrap_or(1);
            let seen = self.ask(member, |member| async move { member.snapshot() }).await;
            if let Ok(Some(seen)) = seen {
                self.learn(seen);
            }
            executor::sleep_ms(net.pick(FEED_MS)).await;
        }
    }

    fn learn(&self, seen: Arc<Snapshot>) {
        let mut state = self.state.lock();
        if seen.version > state.version {
            let version = seen.version;
            *state = seen;
            drop(state);
            self.version.send_replace(version);
        }
    }

    async fn ask<T, F>(
        &self,
        number: u64,
        ask: impl FnOnce(Arc<Member>) -> F + Send + 'static,
    ) -> Result<Option<T>, Lost>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let cluster = Arc::clone(&self.cluster);
        let serve = move || async move {
            match cluster.member(number) {
                Some(member) => Some(ask(member).await),
                None => None,
            }
        };
        self.cluster.net.call(self.host, Host::Metadata(number), serve).await
    }

    /// Asks the leader, and looks for it. What `changes` something is asked for again only if
    /// nothing was done.
    async fn ask_leader<T, F>(
        &self,
        changes: bool,
        ask: impl Fn(Arc<Member>) -> F + Clone + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let give_up_ms = self.cluster.now_ms() + GIVE_UP_AFTER_MS;
        let mut why = Error::unavailable("the metadata group has no leader");
        while self.cluster.now_ms() < give_up_ms {
            let number = self.leader.load(Ordering::SeqCst);
            let next = self.cluster.member_after(number);
            let asked = ask.clone();
            match self.ask(number, asked).await {
                Ok(Some(Answer::Done(Ok(answer)))) => return Ok(answer),
                Ok(Some(Answer::Done(Err(error)))) => {
                    let again = error.kind() == granary_common::ErrorKind::Unavailable;
                    if !again {
                        return Err(error);
                    }
                    why = error;
                    self.leader.store(next, Ordering::SeqCst);
                }
                Ok(Some(Answer::Elsewhere(leader))) => {
                    self.leader.store(leader.unwrap_or(next), Ordering::SeqCst);
                }
                Err(Lost::Unknown) | Ok(None) if changes => {
                    self.leader.store(next, Ordering::SeqCst);
                    return Err(Error::deadline("the leader has not answered"));
                }
                Err(_) | Ok(None) => self.leader.store(next, Ordering::SeqCst),
            }
            executor::sleep(PAUSE).await;
        }
        Err(why)
    }
}

#[async_trait]
impl Catalog for SimulatedCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.lock())
    }

    async fn read_latest(&self) -> Result<Arc<Snapshot>> {
        let read = self.ask_leader(false, |member| async move { member.read().await });
        let seen = read.await?;
        self.learn(Arc::clone(&seen));
        Ok(seen)
    }

    async fn execute(&self, command: CommandBody) -> Result<(CatalogVersion, Outcome)> {
        let propose = move |member: Arc<Member>| {
            let command = command.clone();
            async move { member.propose(command).await }
        };
        let (version, outcome, seen) = self.ask_leader(true, propose).await?;
        self.learn(seen);
        Ok((version, outcome))
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        let beat = move |member: Arc<Member>| {
            let heartbeat = heartbeat.clone();
            async move { member.heartbeat(heartbeat).await }
        };
        self.ask_leader(false, beat).await
    }

    async fn planned_placements(&self) -> Result<Vec<BucketPlacement>> {
        Err(Error::unsupported("nobody asks for plans here"))
    }

    async fn metadata_members(&self) -> Result<Vec<MetadataMember>> {
        Err(Error::unsupported("nobody asks for the members here"))
    }

    async fn change_member(&self, change: MemberChange) -> Result<()> {
        let ask = move |member: Arc<Member>| {
            let change = change.clone();
            async move { member.change_member(change).await }
        };
        self.ask_leader(true, ask).await
    }

    fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.version.subscribe()
    }
}
