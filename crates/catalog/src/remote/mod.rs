//! The catalog of a metadata group in other processes.
//!
//! ```text
//!   any member ──Watch──► state, then changes ──► local snapshot ──► readers
//!   callers ──read_latest──► one ReadVersion for all that wait ──► wait for that version here
//! ```

mod follow;
pub mod linger;
pub mod members;
pub mod wire;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use granary_common::{CatalogVersion, Clock, Error, Result, TaskOwner};
use granary_proto::internal::metadata_client::MetadataClient;
use granary_proto::internal::{
    ExecuteRequest, HeartbeatRequest, Member, PlanPlacementsRequest, ReadVersionRequest,
    StatusRequest,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::api::{Catalog, Heartbeat, HeartbeatReply, MemberChange, MetadataMember};
use crate::codec;
use crate::command::{BucketPlacement, CommandBody, Outcome};
use crate::protocol;
use crate::shared_round::SharedRound;
use crate::snapshot::Snapshot;
use wire::{error_of, is_transient, stamp, within};

/// For how long a call looks for a member that answers.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// For how long one member may take. Longer than a member's own limit for a command, so that its
/// answer is heard.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(12);
/// For how long a member may take for what changes nothing, before another one is asked.
const READ_ATTEMPT_LIMIT: Duration = Duration::from_secs(4);
/// For how long the stream of changes may be behind what was read, before it is made anew.
const LAG_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// For how long a change of the metadata group may take: a new member receives the state first.
const MEMBER_LIMIT: Duration = Duration::from_secs(130);

/// A [`Catalog`] over the network. Cheap to share; stops with the owner of its tasks.
#[derive(Debug)]
pub struct RemoteCatalog {
    shared: Arc<Shared>,
    reads: SharedRound,
}

#[derive(Debug)]
struct Shared {
    members: Vec<MetadataClient<Channel>>,
    /// The member that answered last.
    preferred: AtomicUsize,
    snapshot: Mutex<Arc<Snapshot>>,
    version: watch::Sender<CatalogVersion>,
    /// Rings when the stream of changes should move to another member.
    renew: Notify,
    clock: Arc<dyn Clock>,
}

impl RemoteCatalog {
    /// A catalog that follows the group at `addresses` (`host:port` of some or all members).
    ///
    /// Returns at once, with an empty snapshot: see [`RemoteCatalog::ready`]. Must be called on the
    /// runtime of `tasks`. Kind `InvalidInput` when an address is malformed or there is none.
    pub fn connect(
        addresses: Vec<String>,
        clock: Arc<dyn Clock>,
        tasks: TaskOwner,
    ) -> Result<Arc<Self>> {
        if addresses.is_empty() {
            return Err(Error::invalid("give the address of at least one metadata node"));
        }
        let members = addresses.iter().map(|address| {
            let channel = wire::channel(address)?;
            Ok(MetadataClient::new(channel).max_decoding_message_size(wire::MESSAGE_BYTES_MAX))
        });
        let shared = Arc::new(Shared {
            members: members.collect::<Result<_>>()?,
            preferred: AtomicUsize::new(0),
            snapshot: Mutex::new(Arc::new(Snapshot::default())),
            version: watch::channel(CatalogVersion(0)).0,
            renew: Notify::new(),
            clock,
        });
        let follower = Arc::clone(&shared);
        tasks.spawn(async move { follow::follow(&follower).await });
        let reader = Arc::clone(&shared);
        let reads = SharedRound::start(&tasks, move || {
            let shared = Arc::clone(&reader);
            async move { shared.read_version().await }
        });
        Ok(Arc::new(Self { shared, reads }))
    }

    /// Waits until the cluster is formed and its state has arrived. Kind `Unavailable` when that
    /// takes longer than `limit`.
    pub async fn ready(&self, limit: Duration) -> Result<Arc<Snapshot>> {
        let mut versions = self.watch();
        let formed = versions.wait_for(|_| self.shared.snapshot().cluster.is_some());
        within(&*self.shared.clock, limit, formed)
            .await
            .ok_or_else(|| {
                Error::unavailable(format!(
                    "no metadata node has answered within {limit:?}; check that they run and that \
                 their addresses are right"
                ))
            })?
            .map_err(|_| Error::unavailable("this node is shutting down"))?;
        Ok(self.snapshot())
    }
}

impl Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock())
    }

    fn cluster_id(&self) -> String {
        let snapshot = self.snapshot();
        snapshot.cluster.as_ref().map(|cluster| cluster.id.0.clone()).unwrap_or_default()
    }

    fn member(&self) -> (usize, MetadataClient<Channel>) {
        let place = self.preferred.load(Ordering::Relaxed) % self.members.len();
        (place, self.members[place].clone())
    }

    /// Goes on to the next member, unless somebody else has.
    fn leave(&self, place: usize) {
        let next = (place + 1) % self.members.len();
        let moved = Ordering::Relaxed;
        let _ = self.preferred.compare_exchange(place, next, moved, moved);
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        stamp(&mut request, &self.cluster_id());
        request
    }

    /// Asks one member after the other until one answers for good. A call that changes something
    /// is made again only when it is certain that nothing was done.
    async fn call<T, F, Fut>(&self, changes: bool, call: F) -> Result<T>
    where
        F: Fn(MetadataClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let give_up_ms = self.clock.monotonic_ms() + CALL_LIMIT.as_millis() as u64;
        let attempt_limit = if changes { ATTEMPT_LIMIT } else { READ_ATTEMPT_LIMIT };
        loop {
            let (place, client) = self.member();
            let error = match within(&*self.clock, attempt_limit, call(client)).await {
                Some(Ok(response)) => return Ok(response.into_inner()),
                Some(Err(status)) => error_of(&status),
                None => Error::deadline("a metadata node has not answered in time"),
            };
            if !is_transient(&error) {
                return Err(error);
            }
            // Also when the caller is told: it may ask again, and not one that has gone silent.
            self.leave(place);
            if changes && error.kind() != granary_common::ErrorKind::Unavailable {
                return Err(error);
            }
            if self.clock.monotonic_ms() >= give_up_ms {
                return match changes {
                    true => Err(error),
                    false => Err(Error::unavailable(error.message())),
                };
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    async fn read_version(&self) -> Result<CatalogVersion> {
        let response = self
            .call(false, |mut client| {
                let request = self.request(ReadVersionRequest {});
                async move { client.read_version(request).await }
            })
            .await?;
        Ok(CatalogVersion(response.version))
    }

    /// Waits until the local snapshot is at or past `version`.
    async fn reached(&self, version: CatalogVersion) -> Option<Arc<Snapshot>> {
        let mut watch = self.version.subscribe();
        for _ in 0..(CALL_LIMIT.as_millis() / LAG_LIMIT.as_millis()) {
            let reached = watch.wait_for(|reached| *reached >= version);
            match within(&*self.clock, LAG_LIMIT, reached).await {
                Some(Ok(_)) => return Some(self.snapshot()),
                Some(Err(_)) => return None,
                // The member that feeds this node may be cut off from its group.
                None => self.renew.notify_one(),
            }
        }
        None
    }
}

#[async_trait]
impl Catalog for RemoteCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    async fn read_latest(&self) -> Result<Arc<Snapshot>> {
        let version = self.reads.join().await?;
        self.shared.reached(version).await.ok_or_else(|| {
            Error::unavailable(format!("the catalog's version {version} has not arrived in time"))
        })
    }

    async fn execute(&self, command: CommandBody) -> Result<(CatalogVersion, Outcome)> {
        // A member of an older build could not even read it.
        protocol::check(&command, &self.shared.snapshot())?;
        let command: Vec<u8> = codec::encode(&command)?;
        let command = ExecuteRequest { command: command.into() };
        let response = self
            .shared
            .call(true, |mut client| {
                let request = self.shared.request(command.clone());
                async move { client.execute(request).await }
            })
            .await?;
        let outcome = wire::outcome_of(&response)??;
        let version = CatalogVersion(response.version);
        match self.shared.reached(version).await {
            Some(_) => Ok((version, outcome)),
            None => Err(Error::deadline(format!(
                "done at version {version}, but that version has not arrived here in time"
            ))),
        }
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        let heartbeat: Vec<u8> = codec::encode(&heartbeat)?;
        let heartbeat = HeartbeatRequest { heartbeat: heartbeat.into() };
        let response = self
            .shared
            .call(false, |mut client| {
                let request = self.shared.request(heartbeat.clone());
                async move { client.heartbeat(request).await }
            })
            .await?;
        codec::decode(&response.reply)
    }

    async fn planned_placements(&self) -> Result<Vec<BucketPlacement>> {
        let response = self
            .shared
            .call(false, |mut client| {
                let request = self.shared.request(PlanPlacementsRequest {});
                async move { client.plan_placements(request).await }
            })
            .await?;
        codec::decode(&response.placements)
    }

    async fn metadata_members(&self) -> Result<Vec<MetadataMember>> {
        let status = self
            .shared
            .call(false, |mut client| {
                let request = self.shared.request(StatusRequest {});
                async move { client.status(request).await }
            })
            .await?;
        let ask = |member: &Member| {
            let mut client = MetadataClient::new(wire::channel(&member.address)?);
            let request = self.shared.request(StatusRequest {});
            Ok(async move { client.status(request).await })
        };
        Ok(members::gather(&*self.shared.clock, status, ask).await)
    }

    async fn change_member(&self, change: MemberChange) -> Result<()> {
        let change = members::change_request(change);
        // A new member takes its time, and whoever leads waits for it; so each one is asked once.
        let mut failure = Error::unavailable("no metadata node answers");
        for _ in 0..self.shared.members.len() {
            let (place, mut client) = self.shared.member();
            let asked = client.change_membership(self.shared.request(change.clone()));
            failure = match within(&*self.shared.clock, MEMBER_LIMIT, asked).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(status)) => error_of(&status),
                None => Error::deadline("the metadata group has not agreed in time"),
            };
            if failure.kind() != granary_common::ErrorKind::Unavailable {
                break;
            }
            self.shared.leave(place);
        }
        Err(failure)
    }

    fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.shared.version.subscribe()
    }
}
