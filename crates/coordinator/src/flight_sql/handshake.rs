//! Handshake: credentials to a bearer token, which is a session.

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::{BasicAuth, HandshakeRequest, HandshakeResponse};
use futures::Stream;
use granary_common::Result;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::{internal, status};
use crate::auth::{Credentials, basic};
use crate::core::Coordinator;
use crate::seal::Purpose;

type Answers = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

/// Lets a client in and gives it a token, in the header `authorization` and as the payload.
pub async fn handshake(
    core: &Arc<Coordinator>,
    request: Request<Streaming<HandshakeRequest>>,
) -> Result<Response<Answers>, Status> {
    let header = basic(request.metadata()).map_err(status)?;
    let credentials = match header {
        Some(credentials) => credentials,
        None => from_payload(request.into_inner()).await?,
    };
    let token = token(core, &credentials).await.map_err(status)?;
    let answer = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
    let answers: Answers = Box::pin(futures::stream::iter([Ok(answer)]));
    let mut response = Response::new(answers);
    let value = format!("Bearer {token}").parse().map_err(internal)?;
    response.metadata_mut().insert("authorization", value);
    Ok(response)
}

async fn token(core: &Coordinator, credentials: &Credentials) -> Result<String> {
    let identity = core.with.authenticator.authenticate(credentials).await?;
    core.sealer()?.seal_text(Purpose::Session, &core.open_session(&identity.user))
}

/// The older way: a message in the payload.
async fn from_payload(mut stream: Streaming<HandshakeRequest>) -> Result<Credentials, Status> {
    let payload = stream.message().await?.map(|first| first.payload).unwrap_or_default();
    match BasicAuth::decode(payload) {
        Ok(auth) if !auth.username.is_empty() => {
            Ok(Credentials::Basic { user: auth.username, password: auth.password })
        }
        _ => Ok(Credentials::Anonymous),
    }
}
