//! The catalog for workers and coordinators.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::remote::wire::{FORWARDED_HEADER, within};
use granary_catalog::{Change, SharedRound, Snapshot, codec};
use granary_common::{CatalogVersion, Clock, Result, TaskOwner};
use granary_proto::internal::metadata_server::Metadata;
use granary_proto::internal::{
    ChangeMembershipRequest, ChangeMembershipResponse, ExecuteRequest, ExecuteResponse,
    HeartbeatRequest, HeartbeatResponse, PlanPlacementsRequest, PlanPlacementsResponse,
    ReadVersionRequest, ReadVersionResponse, StatusRequest, StatusResponse, WatchRequest,
    WatchResponse,
};
use granary_proto::status::to_status;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::feed::{Feed, Next};
use crate::group::{Group, Hop};

/// Bytes of one message to a watcher, unless a single change is larger.
const WATCH_BYTES: usize = 1 << 20;
/// Messages that wait for a watcher.
const WATCH_AHEAD: usize = 8;
/// A watcher that takes nothing for so long is dropped; it comes back and continues.
const WATCHER_LIMIT: Duration = Duration::from_secs(30);

/// Serves the catalog on one member.
#[derive(Clone, Debug)]
pub(crate) struct MetadataService {
    pub group: Group,
    pub reads: SharedRound,
    pub tasks: TaskOwner,
}

fn reply<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| to_status(&error))
}

impl MetadataService {
    async fn admit<T>(&self, request: &Request<T>) -> Result<Hop, Status> {
        self.group.peers.admit(request).await.map_err(|error| to_status(&error))?;
        Ok(match request.metadata().contains_key(FORWARDED_HEADER) {
            true => Hop::Forwarded,
            false => Hop::First,
        })
    }

    async fn run_execute(&self, request: ExecuteRequest, hop: Hop) -> Result<ExecuteResponse> {
        let (version, reply) = self.group.run(codec::decode(&request.command)?, hop).await?;
        reply.into_response(version)
    }

    async fn run_heartbeat(
        &self,
        request: HeartbeatRequest,
        hop: Hop,
    ) -> Result<HeartbeatResponse> {
        let reply = self.group.heartbeat(codec::decode(&request.heartbeat)?, hop).await?;
        Ok(HeartbeatResponse { reply: codec::encode(&reply)?.into() })
    }
}

#[tonic::async_trait]
impl Metadata for MetadataService {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        let hop = self.admit(&request).await?;
        reply(self.run_execute(request.into_inner(), hop).await)
    }

    async fn read_version(
        &self,
        request: Request<ReadVersionRequest>,
    ) -> Result<Response<ReadVersionResponse>, Status> {
        let version = match self.admit(&request).await? {
            Hop::First => self.reads.join().await,
            // Already one round for many; here it must not be passed on again.
            Hop::Forwarded => self.group.read_version(Hop::Forwarded).await,
        };
        reply(version.map(|version| ReadVersionResponse { version: version.0 }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let hop = self.admit(&request).await?;
        reply(self.run_heartbeat(request.into_inner(), hop).await)
    }

    async fn plan_placements(
        &self,
        request: Request<PlanPlacementsRequest>,
    ) -> Result<Response<PlanPlacementsResponse>, Status> {
        let hop = self.admit(&request).await?;
        let planned = self.group.planned_placements(hop).await;
        let encoded = planned.and_then(|placements| codec::encode(&placements));
        reply(encoded.map(|placements| PlanPlacementsResponse { placements: placements.into() }))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.admit(&request).await?;
        let after = CatalogVersion(request.into_inner().after_version);
        let (messages, stream) = mpsc::channel(WATCH_AHEAD);
        let watcher = Watcher {
            feed: Arc::clone(&self.group.feed),
            clock: Arc::clone(&self.group.clock),
            messages,
        };
        self.tasks.spawn(async move { watcher.follow(after).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.admit(&request).await?;
        Ok(Response::new(self.group.status()))
    }

    async fn change_membership(
        &self,
        request: Request<ChangeMembershipRequest>,
    ) -> Result<Response<ChangeMembershipResponse>, Status> {
        let hop = self.admit(&request).await?;
        let members = self.group.change_membership(request.into_inner(), hop).await;
        reply(members.map(|members| ChangeMembershipResponse { members }))
    }
}

/// One stream of changes.
struct Watcher {
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
    messages: mpsc::Sender<Result<WatchResponse, Status>>,
}

impl Watcher {
    async fn follow(&self, mut after: CatalogVersion) {
        let mut versions = self.feed.watch();
        loop {
            versions.mark_unchanged();
            match self.send_next(after).await {
                Some(version) => after = version,
                None => return,
            }
            tokio::select! {
                () = self.messages.closed() => return,
                changed = versions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sends everything that is new; `None` when the watcher is gone or too slow.
    async fn send_next(&self, after: CatalogVersion) -> Option<CatalogVersion> {
        match self.feed.after(after) {
            Next::State(snapshot) => {
                let version = snapshot.version;
                let changes = state_changes(&snapshot);
                self.send(version, true, changes).await.then_some(version)
            }
            Next::Changes(sets) => {
                let mut reached = after;
                for set in sets {
                    if !self.send(set.version, false, set.changes.iter().cloned()).await {
                        return None;
                    }
                    reached = set.version;
                }
                Some(reached)
            }
        }
    }

    async fn send(
        &self,
        version: CatalogVersion,
        mut reset: bool,
        changes: impl Iterator<Item = Change>,
    ) -> bool {
        let mut encoded = Vec::new();
        let mut bytes_total = 0;
        for change in changes {
            let bytes = match codec::encode(&change) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let _ = self.messages.send(Err(to_status(&error))).await;
                    return false;
                }
            };
            bytes_total += bytes.len();
            encoded.push(bytes.into());
            if bytes_total >= WATCH_BYTES {
                let changes = std::mem::take(&mut encoded);
                if !self.send_one(version, reset, true, changes).await {
                    return false;
                }
                (bytes_total, reset) = (0, false);
            }
        }
        self.send_one(version, reset, false, encoded).await
    }

    async fn send_one(
        &self,
        version: CatalogVersion,
        reset: bool,
        more: bool,
        changes: Vec<bytes::Bytes>,
    ) -> bool {
        let message = WatchResponse { version: version.0, reset, more, changes };
        let sent = self.messages.send(Ok(message));
        matches!(within(&*self.clock, WATCHER_LIMIT, sent).await, Some(Ok(())))
    }
}

fn state_changes(snapshot: &Snapshot) -> impl Iterator<Item = Change> + Send + use<> {
    snapshot.rows().into_iter().map(Change::Put)
}
