//! The channel of a session: sends the bearer token and the cookies that the coordinator gave.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use granary_common::{Error, Result};
use granary_proto::status::from_status;
use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

/// Cookies kept at most; a server that sends more is not one of ours.
const COOKIES_MAX: usize = 16;

#[derive(Debug, Default)]
struct Session {
    bearer: Option<HeaderValue>,
    cookies: BTreeMap<String, String>,
}

impl Session {
    fn cookie_header(&self) -> Option<HeaderValue> {
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten()
    }

    fn keep(&mut self, set_cookie: &HeaderValue) {
        let pair = set_cookie.to_str().ok().and_then(|text| text.split(';').next());
        let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) else { return };
        if self.cookies.len() < COOKIES_MAX || self.cookies.contains_key(name.trim()) {
            self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
}

/// A channel with its session. Clones share the session.
#[derive(Clone, Debug)]
pub struct SessionChannel {
    channel: Channel,
    session: Arc<Mutex<Session>>,
}

impl SessionChannel {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, session: Arc::default() }
    }

    /// Says who the user is, and keeps the token that the coordinator gives for it.
    pub(super) async fn log_in(&self, user: &str, password: &str) -> Result<()> {
        let hello = HandshakeRequest::default();
        let mut request = tonic::Request::new(futures::stream::iter([hello]));
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let basic = format!("Basic {basic}").parse();
        let basic = basic.map_err(|_| Error::invalid("the user name is not usable"))?;
        request.metadata_mut().insert("authorization", basic);
        let response = FlightServiceClient::new(self.clone()).handshake(request).await;
        let response = response.map_err(|status| from_status(&status))?;
        let bearer = response.metadata().get("authorization").map(|value| value.as_encoded_bytes());
        let bearer = bearer.and_then(|bytes| HeaderValue::from_bytes(bytes).ok());
        self.session.lock().bearer = bearer;
        Ok(())
    }
}

impl Service<http::Request<Body>> for SessionChannel {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<Self::Response, tonic::transport::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let session = Arc::clone(&self.session);
        {
            let session = session.lock();
            let headers = request.headers_mut();
            if let Some(bearer) = &session.bearer {
                headers.entry(AUTHORIZATION).or_insert_with(|| bearer.clone());
            }
            if let Some(cookies) = session.cookie_header() {
                headers.insert(COOKIE, cookies);
            }
        }
        let response = self.channel.call(request);
        Box::pin(async move {
            let response = response.await?;
            let mut session = session.lock();
            response.headers().get_all(SET_COOKIE).iter().for_each(|cookie| session.keep(cookie));
            drop(session);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_replaced_by_name() {
        let mut session = Session::default();
        for cookie in ["a=1; Path=/", "b=2", "a=3; HttpOnly", "not a cookie"] {
            session.keep(&HeaderValue::from_static(cookie));
        }
        assert_eq!(session.cookie_header().expect("two cookies"), "a=3; b=2");
    }
}
