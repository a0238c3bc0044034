//! Actions beside those of Flight SQL: sessions and cancellation.

use std::sync::Arc;

use arrow_flight::sql::{Any, TicketStatementQuery};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
};
use granary_common::{Error, Result};
use prost::Message;
use prost::bytes::Bytes;

use super::ticket::Ticket;
use crate::call::Call;
use crate::cancel::{self, Cancellation, What};
use crate::core::Coordinator;
use crate::session::{
    CATALOG_NAME, CATALOG_OPTION, CloseSessionResult, GetSessionOptionsResult, SCHEMA_OPTION,
    SessionOptionValue, SetSessionOptionsRequest, is_known, set_options,
};
use crate::system::is_system_schema;
use crate::temporary;

/// The result `closed` of CloseSession.
const CLOSED: i32 = 1;

/// What is offered beside Flight SQL's own actions.
pub fn list() -> Vec<ActionType> {
    [
        ("CancelFlightInfo", "Cancels a query.\n\nRequest Message: CancelFlightInfoRequest\n\nResponse Message: CancelFlightInfoResult"),
        ("SetSessionOptions", "Sets options of the session: catalog, schema, or a setting.\n\nRequest Message: SetSessionOptionsRequest\n\nResponse Message: SetSessionOptionsResult"),
        ("GetSessionOptions", "Gives the options of the session.\n\nRequest Message: GetSessionOptionsRequest\n\nResponse Message: GetSessionOptionsResult"),
        ("CloseSession", "Ends the session.\n\nRequest Message: CloseSessionRequest\n\nResponse Message: CloseSessionResult"),
    ]
    .map(|(name, description)| ActionType { r#type: name.to_owned(), description: description.to_owned() })
    .to_vec()
}

/// Runs an action; gives the bytes of its result.
pub async fn run(core: &Arc<Coordinator>, call: &Call, action: &Action) -> Result<Bytes> {
    match action.r#type.as_str() {
        "CancelFlightInfo" => {
            let request: CancelFlightInfoRequest = decode(action)?;
            let status = cancel(core, request.info.as_ref()).await?;
            Ok(CancelFlightInfoResult { status: status as i32 }.encode_to_vec().into())
        }
        "SetSessionOptions" => set(core, call, &decode(action)?).await,
        "GetSessionOptions" => Ok(get(call).encode_to_vec().into()),
        "CloseSession" => {
            call.close_session(core);
            temporary::drop_all(core, &call.session).await;
            Ok(CloseSessionResult { status: CLOSED }.encode_to_vec().into())
        }
        other => Err(Error::unsupported(format!("there is no action '{other}'"))),
    }
}

fn decode<T: Message + Default>(action: &Action) -> Result<T> {
    T::decode(&*action.body).map_err(|error| {
        Error::invalid(format!("the body of action {} is malformed: {error}", action.r#type))
    })
}

/// Cancels the query of a FlightInfo, whether it runs or waits to be fetched, here or on another
/// coordinator.
///
/// Kind `Unavailable` when some coordinators did not answer and no other one knows the query.
pub async fn cancel(core: &Coordinator, info: Option<&FlightInfo>) -> Result<CancelStatus> {
    let tickets = info.into_iter().flat_map(|info| &info.endpoint);
    let ticket = tickets.filter_map(|endpoint| endpoint.ticket.as_ref()).next();
    let ticket = ticket.ok_or_else(|| Error::invalid("the FlightInfo has no ticket"))?;
    let malformed = |_| Error::invalid("the ticket is not one of Granary's");
    let any = Any::decode(&*ticket.ticket).map_err(|error| malformed(error.to_string()))?;
    let handle =
        any.unpack::<TicketStatementQuery>().map_err(|error| malformed(error.to_string()))?;
    let Some(handle) = handle else { return Ok(CancelStatus::NotCancellable) };
    let id = Ticket::open(core.sealer()?, &handle.statement_handle)?.query_id();
    let wish = Cancellation::new(&id, What::Query, "its client cancelled it");
    Ok(match cancel::cancel(core, &wish).await? {
        true => CancelStatus::Cancelled,
        false => CancelStatus::NotCancellable,
    })
}

async fn set(
    core: &Arc<Coordinator>,
    call: &Call,
    request: &SetSessionOptionsRequest,
) -> Result<Bytes> {
    let snapshot = core.with.catalog.read_latest().await?;
    let mut session = call.session.clone();
    let find = |name: &str| match is_system_schema(name) {
        true => Some(name.to_ascii_lowercase()),
        false => snapshot.find_database(name).map(|database| database.name.clone()),
    };
    let result = set_options(&mut session, request, find);
    // What lost its value goes back to what the user begins with.
    for name in request.session_options.keys().filter(|name| is_known(name)) {
        let name = name.to_ascii_lowercase();
        if !session.settings.contains_key(&name) {
            core.reset_setting(&mut session, &name);
        }
    }
    if session != call.session || !request.session_options.is_empty() {
        call.change_session(core, session);
    }
    Ok(result.encode_to_vec().into())
}

fn get(call: &Call) -> GetSessionOptionsResult {
    let session = &call.session;
    let own = session.settings.iter();
    let mut options: std::collections::HashMap<String, SessionOptionValue> =
        own.map(|(name, value)| (name.clone(), SessionOptionValue::text(value))).collect();
    options.insert(CATALOG_OPTION.to_owned(), SessionOptionValue::text(CATALOG_NAME));
    options.insert(SCHEMA_OPTION.to_owned(), SessionOptionValue::text(&session.database));
    GetSessionOptionsResult { session_options: options }
}
