//! The one way in for rows, whoever brings them.
//!
//! ```text
//!   BulkInsert RPC ─┐
//!   Flight ingest  ─┼─ batches ─► blocks ─► table's columns ─► buckets ─► leader workers ─► parts
//!   INSERT         ─┘                                                                         │
//!                              acknowledgement ◄─ one commit (long streams stage first) ◄─────┘
//! ```
//!
//! Memory is bounded by blocks: one is gathered while at most three are written.

mod block;
mod commit;
pub mod digest;
mod effect;
mod feed;
mod from_query;
mod group;
mod rpc;
mod slowdown;
mod source;
mod staged;
mod target;
mod upsert;
pub mod wire;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use futures::stream::BoxStream;
use granary_common::{CatalogVersion, QueryId, Result};
use granary_sql::{Notice, TableName};

pub(crate) use effect::Effect;
pub(crate) use from_query::rows_of;
pub use from_query::{column_types, insert_query, insert_statement, placeholder_columns};
pub use group::InsertGroups;
pub use rpc::BulkInsertService;
pub use source::{ArrowSource, Piece, stream_error};

use crate::core::Coordinator;
use crate::query::QueryHandle;
use crate::session::{Session, StatementSettings};
use commit::Writer;

/// An insert before its rows.
#[derive(Clone, Debug)]
pub struct InsertRequest {
    pub id: QueryId,
    pub session: Session,
    pub table: TableName,
    /// The columns that the rows bring, in their order; `None`: all visible ones.
    pub columns: Option<Vec<String>>,
    /// With the token, when the client chose one.
    pub settings: StatementSettings,
    /// The digest, when it is not that of the rows.
    pub digest: Option<String>,
    /// What `system.queries` shows.
    pub text: String,
}

/// The answer to an insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inserted {
    pub rows: u64,
    pub parts: u64,
    /// The version at which the rows are visible.
    pub version: CatalogVersion,
    /// The token had been committed before.
    pub duplicate: bool,
    pub token: String,
    /// What was accepted without effect.
    pub notices: Vec<Notice>,
}

/// Inserts rows: all of them become visible at one version, or none do.
///
/// Kinds: `InvalidInput` names the row and the column that does not fit; `Conflict` and
/// `Unavailable`: nothing happened, send it again, with the same token; `DeadlineExceeded`: the
/// outcome is unknown, and the same token again tells it.
pub async fn insert(
    core: &Arc<Coordinator>,
    request: InsertRequest,
    schema: SchemaRef,
    batches: BoxStream<'_, Result<RecordBatch>>,
) -> Result<Inserted> {
    insert_with(core, request, Effect::Add, schema, batches).await
}

/// The same with what goes away as the rows come, at the same version.
pub(crate) async fn insert_with(
    core: &Arc<Coordinator>,
    request: InsertRequest,
    effect: Effect,
    schema: SchemaRef,
    batches: BoxStream<'_, Result<RecordBatch>>,
) -> Result<Inserted> {
    core.check_accepting()?;
    let session = &request.session;
    let handle = core.queries.begin(&request.id, &session.user, &session.database, &request.text);
    let outcome = handle.run(admitted(core, &request, effect, schema, batches, &handle)).await;
    handle.finish(outcome.as_ref().err());
    outcome.map(|mut inserted| {
        inserted.notices.extend(request.settings.notices);
        inserted
    })
}

async fn admitted(
    core: &Arc<Coordinator>,
    request: &InsertRequest,
    effect: Effect,
    schema: SchemaRef,
    batches: BoxStream<'_, Result<RecordBatch>>,
    handle: &QueryHandle,
) -> Result<Inserted> {
    let place = core.insert_admission.admit().await?;
    // Of a type of its own: what an insert waits for is too deep for the compiler to look through.
    let writing = async {
        let writer = Writer::begin(core, request, effect, schema, Some(place)).await?;
        writer.write(batches, handle).await
    };
    writing.boxed().await
}

/// The same for who is admitted already and has a handle.
pub(crate) async fn write_admitted(
    core: &Arc<Coordinator>,
    request: &InsertRequest,
    effect: Effect,
    schema: SchemaRef,
    batches: BoxStream<'_, Result<RecordBatch>>,
    handle: &QueryHandle,
) -> Result<Inserted> {
    let writing = async {
        let writer = Writer::begin(core, request, effect, schema, None).await?;
        writer.write(batches, handle).await
    };
    writing.boxed().await
}
