//! The channel of a session: sends the bearer token and the cookies that the coordinator gave.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use granary_common::{Error, Result};
use granary_proto::status::from_status;
use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

/// Says of a statement that something was accepted but has no effect; once for each notice.
const NOTICE_HEADER: &str = "granary-notice-bin";
/// Notices kept until somebody asks for them.
const NOTICES_MAX: usize = 64;
/// Cookies kept at most; a server that sends more is not one of ours.
const COOKIES_MAX: usize = 16;

#[derive(Debug, Default)]
struct Session {
    bearer: Option<HeaderValue>,
    cookies: BTreeMap<String, String>,
    notices: Vec<String>,
}

impl Session {
    fn cookie_header(&self) -> Option<HeaderValue> {
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten()
    }

    fn keep_notice(&mut self, header: &HeaderValue) {
        let text = header.to_str().ok().map(|text| text.trim_end_matches('='));
        let bytes = text.and_then(|text| BASE64_STANDARD_NO_PAD.decode(text).ok());
        if let Some(notice) = bytes.and_then(|bytes| String::from_utf8(bytes).ok())
            && self.notices.len() < NOTICES_MAX
            && !self.notices.contains(&notice)
        {
            self.notices.push(notice);
        }
    }

    fn keep(&mut self, set_cookie: &HeaderValue) {
        let pair = set_cookie.to_str().ok().and_then(|text| text.split(';').next());
        let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) else { return };
        if value.trim().is_empty() {
            self.cookies.remove(name.trim());
        } else if self.cookies.len() < COOKIES_MAX || self.cookies.contains_key(name.trim()) {
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

    /// The notices that came since they were last taken.
    pub(super) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.session.lock().notices)
    }

    /// Says who the user is; the token that the coordinator gives for it is kept like any other.
    pub(super) async fn log_in(&self, user: &str, password: &str) -> Result<()> {
        let hello = HandshakeRequest::default();
        let mut request = tonic::Request::new(futures::stream::iter([hello]));
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let basic = format!("Basic {basic}").parse();
        let basic = basic.map_err(|_| Error::invalid("the user name is not usable"))?;
        request.metadata_mut().insert("authorization", basic);
        let response = FlightServiceClient::new(self.clone()).handshake(request).await;
        response.map_err(|status| from_status(&status))?;
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
            // USE and SET answer with a new token, which carries what they changed.
            if let Some(bearer) = response.headers().get(AUTHORIZATION) {
                session.bearer = Some(bearer.clone());
            }
            response.headers().get_all(SET_COOKIE).iter().for_each(|cookie| session.keep(cookie));
            let notices = response.headers().get_all(NOTICE_HEADER);
            notices.iter().for_each(|notice| session.keep_notice(notice));
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
        for cookie in
            ["a=1; Path=/", "b=2", "a=3; HttpOnly", "not a cookie", "c=4", "c=; Max-Age=0"]
        {
            session.keep(&HeaderValue::from_static(cookie));
        }
        assert_eq!(session.cookie_header().expect("two cookies"), "a=3; b=2");
    }

    #[test]
    fn notices_are_read_with_or_without_padding() {
        let mut session = Session::default();
        for header in ["YQ", "YQ==", "Yg==", "%"] {
            session.keep_notice(&HeaderValue::from_static(header));
        }
        assert_eq!(session.notices, ["a", "b"]);
    }
}
