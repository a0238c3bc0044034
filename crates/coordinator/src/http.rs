//! Probes and metrics over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::core::Coordinator;

/// The pages: `/healthz` while the process lives, `/readyz` while statements can be served,
/// `/metrics` in the format of Prometheus.
pub fn router(core: Arc<Coordinator>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(core)
}

async fn ready(State(core): State<Arc<Coordinator>>) -> impl IntoResponse {
    match core.check_ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn metrics(State(core): State<Arc<Coordinator>>) -> impl IntoResponse {
    let mut text = (core.config.render_metrics)();
    for (name, help, value) in [
        ("queries_running", "Statements that run now.", core.queries.running()),
        ("queries_admitted", "Queries that hold a place.", core.query_admission.running()),
        ("inserts_admitted", "Inserts that hold a place.", core.insert_admission.running()),
    ] {
        let name = format!("granary_coordinator_{name}");
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
