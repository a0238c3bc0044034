//! The HTTP port of every role: `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use granary_common::{Error, Result, TaskOwner};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::health::Health;
use super::{cores, listen_error};
use crate::telemetry::MetricsHandle;

/// A running listener.
pub(super) struct HttpServer {
    pub(super) address: SocketAddr,
    /// Ends it when it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl HttpServer {
    /// Listens on `listen`, on a thread of its own: whoever watches the process is answered while
    /// queries take all others.
    pub(super) async fn start(
        listen: SocketAddr,
        health: &Health,
        metrics: MetricsHandle,
    ) -> Result<HttpServer> {
        let failed = |error: std::io::Error| listen_error("http_listen", listen, &error);
        let runtime = cores::control_runtime()?;
        let tasks = TaskOwner::on(runtime.handle().clone());
        // From here on it ends in good order, also when the port is taken.
        let mut server = HttpServer { address: listen, runtime: Some(runtime) };
        let bound = tasks.spawn(TcpListener::bind(listen)).await.ok().flatten();
        let bound = bound.ok_or_else(|| Error::internal("the HTTP thread has ended"))?;
        let listener = bound.map_err(failed)?;
        server.address = listener.local_addr().map_err(failed)?;
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready).with_state(health.clone()))
            .route("/metrics", get(render).with_state(metrics));
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!("the HTTP port failed: {error}");
            }
        });
        Ok(server)
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    match health.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, not_ready(&error)),
    }
}

fn not_ready(error: &Error) -> String {
    format!("not ready: {error}\n")
}

async fn render(State(metrics): State<MetricsHandle>) -> impl IntoResponse {
    // Histograms are drained when they are read; nobody else does it.
    metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
