//! One call of a client: whose session it belongs to, and what its answer carries beside the
//! message.

use std::sync::Arc;

use granary_common::Result;
use granary_sql::Notice;
use parking_lot::Mutex;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Status};

use crate::auth::{Credentials, basic};
use crate::core::Coordinator;
use crate::seal::Purpose;
use crate::session::{Carrier, ConnectionId, Session, set_cookie};

/// Header of an answer, once for each notice, as UTF-8: something was accepted and has no effect,
/// or another one than its words say.
pub const NOTICE_HEADER: &str = "granary-notice-bin";
/// Header of an answer: the id under which `system.queries` lists the statement.
pub const QUERY_ID_HEADER: &str = "granary-query-id";
/// Notices that one answer carries at most; headers are small.
const NOTICES_MAX: usize = 16;
/// Bytes of a notice in a header.
const NOTICE_BYTES_MAX: usize = 400;

/// A call. Clones are of the same call.
#[derive(Clone, Debug)]
pub struct Call {
    pub session: Session,
    /// Whether the session had begun before this call.
    is_known: bool,
    carrier: Carrier,
    reply: Arc<Mutex<Reply>>,
}

/// What to tell beside the answer.
#[derive(Debug, Default)]
struct Reply {
    session: Option<Session>,
    is_closed: bool,
    notices: Vec<Notice>,
    query_id: Option<String>,
}

impl Call {
    /// The call of a request. A session that begins belongs to whom the authenticator says.
    ///
    /// Kind `Unauthenticated` for a token that is not good any more and for whom is not let in.
    pub async fn of<T>(core: &Coordinator, request: &mut Request<T>) -> Result<Self> {
        let connection = request.extensions().get::<ConnectionId>().cloned();
        let metadata = request.metadata();
        let found = core.sessions.resolve(core.sealer()?, metadata, connection.as_ref())?;
        let credentials = basic(metadata)?.unwrap_or(Credentials::Anonymous);
        let is_known = found.0.is_some();
        let (session, carrier) = match found {
            (Some(session), carrier) => (session, carrier),
            (None, carrier) => {
                let identity = core.with.authenticator.authenticate(&credentials).await?;
                (core.open_session(&identity.user), carrier)
            }
        };
        let reply = Reply {
            session: core.sessions.is_stale(&session).then(|| core.sessions.refreshed(&session)),
            ..Reply::default()
        };
        Ok(Self { session, is_known, carrier, reply: Arc::new(Mutex::new(reply)) })
    }

    /// The call that a layer above found.
    pub fn found<T>(request: &Request<T>) -> Result<Self, Status> {
        let call = request.extensions().get::<Call>().cloned();
        call.ok_or_else(|| Status::internal("a request came past the session layer"))
    }

    /// The session that a statement runs in which was prepared in `prepared`: this call's as it is
    /// now, else, when the call belongs to none, as it was then.
    pub fn session_for<'a>(&'a self, prepared: &'a Session) -> &'a Session {
        if self.is_known { &self.session } else { prepared }
    }

    /// The session is another one from now on.
    pub fn change_session(&self, core: &Coordinator, session: Session) {
        let changed = core.sessions.change(session, &self.carrier);
        let mut reply = self.reply.lock();
        if matches!(self.carrier, Carrier::None) {
            reply.notices.push(Notice::new(
                "the session lasts only if the client sends the cookie of this answer back, \
                 or a bearer token from Handshake",
            ));
        }
        reply.session = Some(changed);
    }

    /// The session ends.
    pub fn close_session(&self, core: &Coordinator) {
        core.sessions.close(&self.session, &self.carrier);
        self.reply.lock().is_closed = true;
    }

    /// Tells the client something.
    pub fn notify(&self, notices: impl IntoIterator<Item = Notice>) {
        self.reply.lock().notices.extend(notices);
    }

    /// Names the statement.
    pub fn names_query(&self, id: &granary_common::QueryId) {
        self.reply.lock().query_id = Some(id.0.clone());
    }

    /// Puts what there is to tell into the answer's headers.
    pub fn answer(&self, core: &Coordinator, headers: &mut MetadataMap) {
        let reply = std::mem::take(&mut *self.reply.lock());
        for notice in reply.notices.iter().take(NOTICES_MAX) {
            let end = notice.0.floor_char_boundary(NOTICE_BYTES_MAX);
            let value = MetadataValue::from_bytes(&notice.0.as_bytes()[..end]);
            headers.append_bin(NOTICE_HEADER, value);
        }
        if let Some(id) = reply.query_id.and_then(|id| id.parse().ok()) {
            headers.insert(QUERY_ID_HEADER, id);
        }
        let seconds = core.sessions.idle_max().as_secs();
        if reply.is_closed {
            append(headers, "set-cookie", &set_cookie("", seconds));
            return;
        }
        let Some(session) = reply.session else { return };
        let sealed = core.sealer().and_then(|sealer| sealer.seal_text(Purpose::Session, &session));
        match (sealed, &self.carrier) {
            (Ok(sealed), Carrier::Bearer) => {
                append(headers, "authorization", &format!("Bearer {sealed}"));
            }
            (Ok(sealed), _) => append(headers, "set-cookie", &set_cookie(&sealed, seconds)),
            (Err(error), _) => tracing::error!(%error, "a session could not be signed"),
        }
    }
}

fn append(headers: &mut MetadataMap, name: &'static str, value: &str) {
    match value.parse() {
        Ok(value) => drop(headers.append(name, value)),
        Err(_) => tracing::error!(name, "a header of an answer is not plain text"),
    }
}
