//! Statements: bound by GetFlightInfo, run by DoGet; updates by DoPut.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightInfo};
use granary_common::Result;
use prost::Message;
use tonic::{Response, Status};

use super::encode::{self, FlightStream};
use super::status;
use super::ticket::Ticket;
use crate::call::Call;
use crate::core::Coordinator;
use crate::ddl::Done;
use crate::query::{Parameters, StatementRequest, execute, run_bound};
use crate::session::Session;
use crate::statement::{Answer, answer, run_to_end};

/// The request that a statement's text makes in a session.
pub fn request(
    core: &Coordinator,
    session: &Session,
    sql: String,
    parameters: Parameters,
) -> StatementRequest {
    let id = core.queries.draw_id();
    StatementRequest { id, sql, session: session.clone(), parameters, version: None }
}

/// Binds a query and answers with its ticket; runs any other statement.
pub async fn flight_info(
    core: &Arc<Coordinator>,
    call: &Call,
    request: StatementRequest,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    call.names_query(&request.id);
    match answer(core, request).await.map_err(status)? {
        Answer::Query(bound) => {
            let sealer = core.sealer().map_err(status)?;
            let ticket = Ticket::of(&bound.request, bound.snapshot.version);
            let sealed = ticket.and_then(|ticket| ticket.seal(sealer)).map_err(status)?;
            let handle = TicketStatementQuery { statement_handle: sealed.into() };
            let ticket = handle.as_any().encode_to_vec();
            let info = encode::flight_info(descriptor, &bound.schema, Some(ticket))?;
            let info = info.with_app_metadata(bound.request.id.0.clone());
            call.notify(bound.notices.iter().cloned());
            core.pending.put(*bound);
            Ok(info)
        }
        Answer::Done(done) => {
            let rows = i64::try_from(done.rows).unwrap_or(i64::MAX);
            finish(core, call, done);
            let nothing = Arc::new(Schema::empty());
            Ok(encode::flight_info(descriptor, &nothing, None)?.with_total_records(rows))
        }
    }
}

/// Runs the query of a ticket, here or at any other coordinator, at the version that it was bound
/// at.
pub async fn do_get(
    core: &Arc<Coordinator>,
    call: &Call,
    ticket: TicketStatementQuery,
) -> Result<Response<FlightStream>, Status> {
    let sealer = core.sealer().map_err(status)?;
    let ticket = Ticket::open(sealer, &ticket.statement_handle).map_err(status)?;
    call.names_query(&ticket.query_id());
    let rows = match core.pending.take(&ticket.query_id()) {
        Some(bound) => run_bound(core, bound).await,
        None => execute(core, ticket.into_request().map_err(status)?).await,
    };
    let rows = rows.map_err(status)?;
    let limit = core.config.limits.result_message_bytes_max;
    Ok(encode::stream(Arc::clone(&rows.schema), rows, limit))
}

/// Runs a statement for the number of rows that it writes.
pub async fn update(
    core: &Arc<Coordinator>,
    call: &Call,
    request: StatementRequest,
) -> Result<i64, Status> {
    call.names_query(&request.id);
    let done = run_to_end(core, request).await.map_err(status)?;
    let rows = i64::try_from(done.rows).unwrap_or(i64::MAX);
    finish(core, call, done);
    Ok(rows)
}

/// Hands on what a statement changed beside its rows.
fn finish(core: &Coordinator, call: &Call, done: Done) {
    call.notify(done.notices);
    if let Some(session) = done.session {
        call.change_session(core, session);
    }
}
