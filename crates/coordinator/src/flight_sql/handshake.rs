//! Handshake: credentials to a bearer token, which is a session.

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::{BasicAuth, HandshakeRequest, HandshakeResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::Stream;
use granary_common::{Error, Result};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::{internal, status};
use crate::auth::Credentials;
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
    core.sealer()?.seal_text(Purpose::Session, &core.sessions.open(&identity.user))
}

fn basic(metadata: &MetadataMap) -> Result<Option<Credentials>> {
    let Some(header) = metadata.get("authorization").and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let Some((scheme, encoded)) = header.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let malformed = || Error::unauthenticated("the basic authorization is malformed");
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| malformed())?;
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    let (user, password) = text.split_once(':').ok_or_else(malformed)?;
    Ok(Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_are_read() {
        let read = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            basic(&metadata)
        };
        let ann = Credentials::Basic { user: "ann".into(), password: "a:b".into() };
        assert_eq!(read(&format!("Basic {}", STANDARD.encode("ann:a:b"))).unwrap(), Some(ann));
        assert_eq!(read("Bearer x").unwrap(), None);
        assert!(read("Basic !").is_err());
    }
}
