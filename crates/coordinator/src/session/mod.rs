//! Sessions: the current database and the settings that `USE` and `SET` leave behind.
//!
//! A session's state is self-contained and signed, so any coordinator continues it. It comes back
//! with each call in one of these ways, the first that is there:
//!
//! 1. the cookie `arrow_flight_session_id` of Flight's session specification,
//! 2. the bearer token that Handshake gave; `USE` and `SET` answer with a new token in the
//!    `authorization` header, and for clients that keep the old one the coordinator remembers what
//!    became of it,
//! 3. the connection, for clients that keep neither: only where no proxy shares the connection
//!    among clients, and only while it is open.
//!
//! ```text
//!   request headers ──SessionStore::resolve──► Session ──change──► reply headers
//! ```

mod connection;
mod cookie;
mod options;
mod settings;
mod store;
mod user;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use connection::{ConnectionId, tagged};
pub use cookie::{SESSION_COOKIE, cookie_value, set_cookie};
pub use options::{
    CATALOG_OPTION, CloseSessionResult, GetSessionOptionsResult, SCHEMA_OPTION, SessionOptionValue,
    SetSessionOptionsRequest, SetSessionOptionsResult, set_options,
};
pub use settings::{StatementSettings, TOKEN_SETTING, is_known, known_settings, parse_settings};
pub use store::{Carrier, SessionStore};

/// The database of a session that has not chosen one.
pub const DEFAULT_DATABASE: &str = "default";
/// The name under which the whole of Granary appears where clients ask for catalogs.
pub const CATALOG_NAME: &str = "granary";

/// What lasts between the statements of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Drawn at its beginning.
    pub id: String,
    /// Who it belongs to.
    pub user: String,
    /// The current database.
    pub database: String,
    /// Settings by name, as `SET` gave them.
    pub settings: BTreeMap<String, String>,
    /// Moves with each change; of two states of one session the higher one counts.
    pub revision: u64,
    /// When this state was signed, in milliseconds since the epoch.
    pub issued_ms: u64,
    /// The database of its temporary tables, once it has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<String>,
}

impl Session {
    /// A new session of `user`.
    pub fn new(id: String, user: String, now_ms: u64) -> Self {
        Self {
            id,
            user,
            database: DEFAULT_DATABASE.to_owned(),
            settings: BTreeMap::new(),
            revision: 0,
            issued_ms: now_ms,
            temporary: None,
        }
    }
}
