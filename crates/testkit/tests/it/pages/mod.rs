//! What supervisors and monitors ask: `/healthz`, `/readyz` and `/metrics` of every role, and gRPC's own
//! health protocol.

mod http;
mod metrics;
mod readiness;
