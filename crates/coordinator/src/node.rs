//! A coordinator that listens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use granary_catalog::remote::wire::within;
use granary_common::units::KIB;
use granary_common::{Error, Result, TaskOwner};
use granary_proto::v1::bulk_insert_server::BulkInsertServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::CoordinatorConfig;
use crate::core::{Collaborators, Coordinator};
use crate::flight_sql::GranaryFlight;
use crate::insert::BulkInsertService;
use crate::session::tagged;
use crate::{heartbeat, refresh, temporary};

/// Bytes that a client may send on one stream before we have read them.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes of a frame that a client may send: each costs a look, and by default they have 16 KiB.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// Calls at the same time on one connection.
const STREAMS_MAX: u32 = 256;
/// Bytes of all headers of a call; session cookies are a few hundred.
const HEADER_BYTES_MAX: u32 = 64 * KIB as u32;
/// A client that does not answer a ping is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long statements that were stopped at the end of a drain may take to tell their clients.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often readiness and the drain look again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A running coordinator.
#[derive(Debug)]
pub struct CoordinatorNode {
    core: Arc<Coordinator>,
    grpc_addr: SocketAddr,
    tasks: TaskOwner,
    /// Ends the servers.
    closing: CancellationToken,
    /// Every connection has ended since.
    closed: CancellationToken,
}

impl CoordinatorNode {
    /// Listens and serves. Returns when the port is open; [`check_ready`](Self::check_ready) says when
    /// statements are served. Kind `Unavailable` when the port is in use.
    pub async fn start(config: CoordinatorConfig, with: Collaborators) -> Result<Self> {
        if config.secret.is_empty() {
            tracing::warn!(
                "no secret is configured: whoever knows the cluster's id can sign tickets"
            );
        }
        let (grpc, grpc_addr) = listen(config.grpc_listen).await?;
        let tasks = with.tasks.child();
        let core = Coordinator::new(config, with);
        let node = Self {
            core,
            grpc_addr,
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            tasks,
        };
        node.serve_grpc(grpc)?;
        let address = node.core.advertised_address(grpc_addr.port());
        heartbeat::start(Arc::clone(&node.core), address, node.tasks.cancelled())?;
        node.tasks.spawn(refresh::keep_refreshing(Arc::clone(&node.core)));
        node.tasks.spawn(temporary::keep_sweeping(Arc::clone(&node.core)));
        Ok(node)
    }

    /// Where clients connect.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Whether statements can be served; the error says what is missing.
    pub fn check_ready(&self) -> Result<()> {
        self.core.check_ready()
    }

    /// Refuses new statements, waits up to `limit` for the running ones, then stops; clients of those
    /// that still run read why. Gives whether all of them ended in time.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.core.begin_drain();
        let clock = &self.core.with.clock;
        let end_ms = clock.monotonic_ms().saturating_add(limit.as_millis() as u64);
        let all_ended = self.wait_idle(limit).await;
        if !all_ended {
            let why = Error::unavailable(format!(
                "this coordinator shuts down, and the statement did not end within its \
                 drain_limit_s = {}; run it again through another one",
                limit.as_secs()
            ));
            self.core.queries.cancel_all(&why);
            self.wait_idle(FAREWELL).await;
        }
        self.closing.cancel();
        // What was answered has still to be read.
        let left = Duration::from_millis(end_ms.saturating_sub(clock.monotonic_ms()));
        let read = within(&**clock, left.max(FAREWELL), self.closed.cancelled()).await;
        let all_ended = all_ended && read.is_some();
        self.tasks.stop(LOOK_AGAIN * 5).await && all_ended
    }

    /// Whether no statement runs, at `limit` from now at the latest.
    async fn wait_idle(&self, limit: Duration) -> bool {
        let clock = &self.core.with.clock;
        let end_ms = clock.monotonic_ms().saturating_add(limit.as_millis() as u64);
        while self.core.queries.running() > 0 && clock.monotonic_ms() < end_ms {
            clock.sleep(LOOK_AGAIN).await;
        }
        self.core.queries.running() == 0
    }

    fn serve_grpc(&self, listener: TcpListener) -> Result<()> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let message_bytes_max = self.core.config.limits.message_bytes_max;
        let flight = FlightServiceServer::new(GranaryFlight::new(Arc::clone(&self.core)))
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max);
        let inserts = BulkInsertServer::new(BulkInsertService::new(Arc::clone(&self.core)))
            .max_decoding_message_size(message_bytes_max);
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(granary_proto::PUBLIC_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| Error::internal(format!("reflection: {error}")))?;
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(flight)
            .add_service(inserts);
        let closing = self.closing.clone().cancelled_owned();
        let incoming = tagged(listener, Arc::clone(&self.core.with.clock));
        let closed = self.closed.clone();
        self.tasks.spawn(async move {
            let _closed = closed.drop_guard();
            if let Err(error) = server.serve_with_incoming_shutdown(incoming, closing).await {
                tracing::error!(%error, "the gRPC server ended");
            }
        });
        self.tasks.spawn(report_health(Arc::clone(&self.core), health));
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("cannot listen on {address} (grpc_listen): {error}"))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// gRPC's own health protocol says what `/readyz` says.
async fn report_health(core: Arc<Coordinator>, health: HealthReporter) {
    loop {
        let status = match core.check_ready() {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        for service in ["", "arrow.flight.protocol.FlightService", "granary.v1.BulkInsert"] {
            health.set_service_status(service, status).await;
        }
        core.with.clock.sleep(LOOK_AGAIN).await;
    }
}
