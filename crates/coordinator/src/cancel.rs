//! Cancels statements, whichever coordinator of the cluster runs them.
//!
//! ```text
//!   CancelFlightInfo, CancelQuery, KILL ─► here? ─ no ─► every other coordinator at once, each
//!                                                        asked by a signed PEER_ACTION
//! ```
//!
//! A coordinator that is asked by another one looks at its own statements only, so that nothing goes
//! round in circles.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, CancelFlightInfoResult, CancelStatus};
use futures::{StreamExt, stream};
use granary_common::{Error, QueryId, Result};
use granary_proto::status::from_status;
use prost::Message;
use serde::{Deserialize, Serialize};
use tonic::transport::Endpoint;

use crate::core::Coordinator;
use crate::seal::Purpose;

/// The action by which coordinators ask each other. It is not for clients: its body is signed with
/// the cluster's key.
pub(crate) const PEER_ACTION: &str = "granary.internal.Cancel";

/// How long another coordinator may take, its connection included.
const PEER_LIMIT: Duration = Duration::from_secs(3);
/// Coordinators that are asked at the same time.
const ASKED_MAX: usize = 64;

/// What to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Query,
    Mutation,
}

/// A wish to cancel a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cancellation {
    id: String,
    what: What,
    /// What its client reads.
    why: String,
}

impl Cancellation {
    /// Of the statement `id`, whose client is told `why`.
    pub fn new(id: &QueryId, what: What, why: &str) -> Self {
        Self { id: id.0.clone(), what, why: why.to_owned() }
    }
}

/// What a coordinator has of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    Ran,
    /// It was bound here and not fetched here; it may run where its ticket was brought.
    Waited,
    Unknown,
}

/// Cancels a statement on this coordinator or on another one. Gives whether it was found; not found
/// means that every coordinator was asked.
///
/// Kind `Unavailable` when it was not found and some coordinators did not answer in time.
pub(crate) async fn cancel(core: &Coordinator, wish: &Cancellation) -> Result<bool> {
    let here = cancel_here(core, wish);
    if here == Here::Ran {
        return Ok(true);
    }
    let mut silent = Vec::new();
    let known = core.other_coordinators();
    if ask_all(core, wish, known.clone(), &mut silent).await? {
        return Ok(true);
    }
    // One that came since the last heartbeat may run it.
    let mut newest = core.newest_other_coordinators(PEER_LIMIT).await;
    newest.retain(|peer| !known.contains(peer));
    if ask_all(core, wish, newest, &mut silent).await? {
        return Ok(true);
    }
    if silent.is_empty() {
        return Ok(here == Here::Waited);
    }
    silent.sort();
    Err(Error::unavailable(format!(
        "'{}' runs on none of the coordinators that answered, but {} did not answer within {} s; \
         try again",
        wish.id,
        silent.join(", "),
        PEER_LIMIT.as_secs()
    )))
}

/// Asks coordinators until one of them had the statement; those that do not answer are `silent`.
async fn ask_all(
    core: &Coordinator,
    wish: &Cancellation,
    peers: Vec<String>,
    silent: &mut Vec<String>,
) -> Result<bool> {
    let body = core.sealer()?.seal(Purpose::Cancellation, wish)?;
    let mut answers = stream::iter(peers)
        .map(|peer| {
            let body = body.clone();
            async move {
                let answer = ask(core, &peer, body).await;
                (peer, answer)
            }
        })
        .buffer_unordered(ASKED_MAX);
    while let Some((peer, answer)) = answers.next().await {
        match answer {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%peer, %error, "a coordinator was not told of a cancellation");
                silent.push(peer);
            }
        }
    }
    Ok(false)
}

/// Answers another coordinator with the result of its action. Kind `InvalidInput` for a wish that no
/// coordinator of this cluster has signed.
pub(crate) fn answer_peer(core: &Coordinator, action: &Action) -> Result<arrow_flight::Result> {
    let wish: Cancellation = core.sealer()?.open(Purpose::Cancellation, &action.body)?;
    let status = match cancel_here(core, &wish) {
        Here::Ran | Here::Waited => CancelStatus::Cancelled,
        Here::Unknown => CancelStatus::NotCancellable,
    };
    let body = CancelFlightInfoResult { status: status as i32 }.encode_to_vec();
    Ok(arrow_flight::Result { body: body.into() })
}

fn cancel_here(core: &Coordinator, wish: &Cancellation) -> Here {
    let id = QueryId(wish.id.clone());
    let why = Error::cancelled(&wish.why);
    let (waited, ran) = match wish.what {
        What::Query => (core.pending.take(&id).is_some(), core.queries.cancel(&id, why)),
        What::Mutation => {
            let runs = core.queries.mutations.kill(&id);
            if runs {
                core.queries.cancel(&id, why);
            }
            (false, runs)
        }
    };
    match (ran, waited) {
        (true, _) => Here::Ran,
        (false, true) => Here::Waited,
        (false, false) => Here::Unknown,
    }
}

/// Asks the coordinator at `peer` (`host:port`). Gives whether it had the statement.
async fn ask(core: &Coordinator, peer: &str, body: Vec<u8>) -> Result<bool> {
    tokio::select! {
        answer = call(peer, body) => answer,
        () = core.with.clock.sleep(PEER_LIMIT) => Err(Error::deadline("no answer")),
    }
}

async fn call(peer: &str, body: Vec<u8>) -> Result<bool> {
    let endpoint = Endpoint::from_shared(format!("http://{peer}"))
        .map_err(|error| Error::invalid(format!("'{peer}' is not host:port: {error}")))?;
    let channel = endpoint.connect_timeout(PEER_LIMIT).tcp_nodelay(true).connect().await;
    let channel = channel.map_err(|error| Error::unavailable(error.to_string()))?;
    let action = Action { r#type: PEER_ACTION.to_owned(), body: body.into() };
    let answer = FlightServiceClient::new(channel).do_action(action).await;
    let mut results = answer.map_err(|status| from_status(&status))?.into_inner();
    let result = results.message().await.map_err(|status| from_status(&status))?;
    let result = result.ok_or_else(|| Error::internal("the answer is empty"))?;
    let malformed = |error| Error::internal(format!("the answer is malformed: {error}"));
    let result = CancelFlightInfoResult::decode(&*result.body).map_err(malformed)?;
    Ok(result.status() == CancelStatus::Cancelled)
}
