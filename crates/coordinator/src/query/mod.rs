//! The life of a query: text to batches.
//!
//! ```text
//!   text ─parse─► statement ─bind at a pinned snapshot─► Bound ─admit─► plan ─► execute ─► batches
//! ```
//!
//! Clients ask for a query in two calls: the first binds it and answers with its schema and a
//! ticket, the second brings the ticket and takes the rows. What was bound waits in
//! [`PendingQueries`]; when the second call comes elsewhere or late, the ticket says enough to bind
//! again at the same version.

mod admission;
mod bind;
mod check;
mod edge;
mod parameters;
mod past;
mod pending;
mod pins;
mod registry;
mod run;
mod stale;

use std::sync::Arc;

use granary_common::{CatalogVersion, QueryId, Result};

pub use admission::{Admission, Admitted, Place};
pub use bind::{Bound, BoundQuery, bind_statement, is_query, one_statement, snapshot_at};
pub use edge::{edge_schema, edge_type_of, to_edge};
pub use parameters::Parameters;
pub use past::hold_past;
pub use pending::PendingQueries;
pub use pins::{Pin, Pins};
pub(crate) use registry::shown;
pub use registry::{QueryHandle, QueryRecord, QueryRegistry};
pub use run::{ResultStream, run_bound};

use crate::core::Coordinator;
use crate::session::Session;

/// A statement as a client sent it.
#[derive(Clone, Debug)]
pub struct StatementRequest {
    pub id: QueryId,
    pub sql: String,
    pub session: Session,
    /// Values of its placeholders.
    pub parameters: Parameters,
    /// The version to read; `None`: everything acknowledged until now.
    pub version: Option<CatalogVersion>,
}

/// Runs a query from its text to its batches.
pub async fn execute(core: &Arc<Coordinator>, request: StatementRequest) -> Result<ResultStream> {
    let statement = one_statement(core, &request).await?;
    let bound = bind_statement(core, request, statement).await?;
    run_bound(core, bound).await
}
