//! Connections between roles: how they are made, marked and judged.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use granary_common::{Clock, Error, ErrorKind, Result};
use granary_proto::internal::ExecuteResponse;
use granary_proto::status::{KIND_HEADER, from_status};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::codec;
use crate::command::Outcome;

/// Carries the caller's cluster; absent while the caller does not know it.
pub const CLUSTER_ID_HEADER: &str = "granary-cluster-id";
/// Set on a call that one member passes to another, which does not pass it on again.
pub const FORWARDED_HEADER: &str = "granary-forwarded";
/// Bytes of one internal message; more is refused.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A member that is silent for so long is asked whether it is there, and has so long to say so. Who
/// waits for a leader that was stopped in its tracks goes on when the next one has been elected;
/// a caller that is itself held up for less than the second keeps its connection.
const SILENCE: Duration = Duration::from_millis(500);
const SILENCE_LIMIT: Duration = Duration::from_secs(1);

/// A connection to `host:port` that is made at its first use and made again when it breaks.
/// Must be called on the runtime that will drive it. Kind `InvalidInput` for a malformed address.
pub fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Error::invalid(format!("'{address}' is not host:port: {error}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE_LIMIT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// Marks a request with the cluster that its sender belongs to.
pub fn stamp<T>(request: &mut Request<T>, cluster_id: &str) {
    if cluster_id.is_empty() {
        return;
    }
    if let Ok(value) = MetadataValue::try_from(cluster_id) {
        request.metadata_mut().insert(CLUSTER_ID_HEADER, value);
    }
}

/// Refuses a request from another cluster. `own` is empty while it is not known.
pub fn check_cluster<T>(request: &Request<T>, own: &str) -> Result<()> {
    let theirs = request.metadata().get(CLUSTER_ID_HEADER).and_then(|value| value.to_str().ok());
    match theirs {
        Some(theirs) if !own.is_empty() && theirs != own => Err(Error::denied(format!(
            "this node belongs to cluster {own}, the caller to cluster {theirs}; check the \
             addresses that it was started with"
        ))),
        _ => Ok(()),
    }
}

/// The error of a call that may have changed something: `Unavailable` only when it is certain that
/// nothing was done, `DeadlineExceeded` when it is unknown.
pub fn error_of(status: &Status) -> Error {
    if status.metadata().contains_key(KIND_HEADER) {
        return from_status(status);
    }
    lost(status, "a metadata node")
}

/// The error of a call to `whom` that nobody answered; kinds as in [`error_of`].
pub fn lost(status: &Status, whom: &str) -> Error {
    let text = status.message();
    match never_sent(status) {
        true => Error::unavailable(format!("cannot reach {whom}: {text}")),
        false => Error::deadline(format!("{whom} went away, outcome unknown: {text}")),
    }
}

/// What a command brought about: the outer error is a malformed response, the inner one a refusal.
pub fn outcome_of(response: &ExecuteResponse) -> Result<Result<Outcome>> {
    match &response.refusal {
        None => Ok(Ok(codec::decode(&response.outcome)?)),
        Some(refusal) => {
            let kind = ErrorKind::from_code(&refusal.kind).unwrap_or(ErrorKind::Internal);
            Ok(Err(Error::new(kind, refusal.message.clone())))
        }
    }
}

/// Whether the connection failed before the request could be sent.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether asking again, elsewhere, can help a call that changes nothing.
pub fn is_transient(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

/// The result of `work`, or `None` when `limit` of the clock's time passes first.
pub async fn within<F: Future>(clock: &dyn Clock, limit: Duration, work: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        result = work => Some(result),
        () = clock.sleep(limit) => None,
    }
}

#[cfg(test)]
mod tests {
    use granary_proto::status::to_status;

    use super::*;

    #[test]
    fn clusters_do_not_mix() {
        for (theirs, own, accepted) in
            [("", "", true), ("", "a", true), ("a", "", true), ("a", "a", true), ("b", "a", false)]
        {
            let mut request = Request::new(());
            stamp(&mut request, theirs);
            assert_eq!(check_cluster(&request, own).is_ok(), accepted, "{theirs} at {own}");
        }
    }

    #[test]
    fn an_answer_keeps_its_kind_and_a_lost_one_is_unknown() {
        let answered = to_status(&Error::unavailable("no leader"));
        assert_eq!(error_of(&answered).kind(), ErrorKind::Unavailable);
        let lost = Status::unavailable("connection reset");
        assert_eq!(error_of(&lost).kind(), ErrorKind::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_refused_connection_did_nothing() {
        // Port 9 of the loopback address is not listened on.
        let channel = channel("127.0.0.1:9").expect("an address");
        let mut client = granary_proto::internal::metadata_client::MetadataClient::new(channel);
        let status = client
            .read_version(granary_proto::internal::ReadVersionRequest {})
            .await
            .expect_err("nobody listens");
        assert_eq!(error_of(&status).kind(), ErrorKind::Unavailable);
    }
}
