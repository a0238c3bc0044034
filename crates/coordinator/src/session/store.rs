//! Finds the session of a call, and remembers what became of sessions whose client keeps an old
//! token. Bounded by number and by idle time.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use granary_common::{Clock, Error, Random, Result};
use parking_lot::Mutex;
use tonic::metadata::MetadataMap;

use super::{ConnectionId, Session, cookie_value};
use crate::seal::{Purpose, Sealer};

/// Headers that a proxy adds. A connection that carries them may be shared by several clients, so
/// it keeps no session.
const PROXY_HEADERS: [&str; 5] =
    ["x-forwarded-for", "forwarded", "via", "x-envoy-external-address", "x-real-ip"];

/// How the client carries its session.
#[derive(Clone, Debug)]
pub enum Carrier {
    /// In the cookie, which changes with the session.
    Cookie,
    /// In the bearer token.
    Bearer,
    /// Not at all: its connection keeps it.
    Connection(ConnectionId),
    /// Not at all, and nothing keeps it.
    None,
}

/// A remembered state and when it was last used.
#[derive(Debug)]
struct Remembered {
    /// `None` for a session that was closed.
    session: Option<Session>,
    used_ms: u64,
}

/// The sessions of one coordinator.
#[derive(Debug)]
pub struct SessionStore {
    remembered: Mutex<HashMap<String, Remembered>>,
    /// What connections keep, for sessions with temporary tables.
    connections: Mutex<HashMap<String, Weak<Mutex<Option<Session>>>>>,
    /// Sessions that a statement is making something for.
    held: Mutex<Vec<String>>,
    sessions_max: usize,
    idle_max: Duration,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl SessionStore {
    /// A store that remembers at most `sessions_max` sessions, and none that was idle for longer
    /// than `idle_max`.
    pub fn new(
        sessions_max: usize,
        idle_max: Duration,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let (remembered, connections, held) = Default::default();
        Self { remembered, connections, held, sessions_max, idle_max, clock, random }
    }

    /// A new session of `user`.
    pub fn open(&self, user: &str) -> Session {
        Session::new(self.random.next_hex(), user.to_owned(), self.clock.now_ms())
    }

    /// For how long a session may be idle.
    pub fn idle_max(&self) -> Duration {
        self.idle_max
    }

    /// The session of a call with these headers on this connection, and how its client carries it.
    /// `None` when the call brings none, or a cookie that is not good any more: a new one begins.
    ///
    /// Kind `Unauthenticated` for a bearer token that is not good any more.
    pub fn resolve(
        &self,
        sealer: &Sealer,
        metadata: &MetadataMap,
        connection: Option<&ConnectionId>,
    ) -> Result<(Option<Session>, Carrier)> {
        if let Some(cookie) = cookie_value(metadata) {
            let sealed = sealer.open_text::<Session>(Purpose::Session, &cookie);
            return Ok((sealed.ok().and_then(|session| self.newest(session)), Carrier::Cookie));
        }
        if let Some(token) = bearer(metadata) {
            let expired = || Error::unauthenticated("the session has expired; connect again");
            let sealed: Session = sealer
                .open_text(Purpose::Session, &token)
                .map_err(|error| Error::unauthenticated(error.message()))?;
            return Ok((Some(self.newest(sealed).ok_or_else(expired)?), Carrier::Bearer));
        }
        match connection.filter(|_| !is_proxied(metadata)) {
            Some(connection) => {
                let kept = connection.session.lock().clone();
                Ok((kept, Carrier::Connection(connection.clone())))
            }
            None => Ok((None, Carrier::None)),
        }
    }

    /// The newest state of a session of which its client sent one; `None` when it was closed or
    /// idle for too long. Counts as use.
    fn newest(&self, sent: Session) -> Option<Session> {
        let now_ms = self.clock.now_ms();
        let idle_ms = self.idle_max.as_millis() as u64;
        let mut remembered = self.remembered.lock();
        let entry = remembered.get_mut(&sent.id);
        let used_ms = entry.as_ref().map_or(0, |entry| entry.used_ms).max(sent.issued_ms);
        if now_ms.saturating_sub(used_ms) > idle_ms {
            remembered.remove(&sent.id);
            return None;
        }
        let newest = match entry {
            Some(entry) => {
                entry.used_ms = now_ms;
                let kept = entry.session.as_ref()?;
                if kept.revision > sent.revision { kept.clone() } else { sent }
            }
            None => {
                // Remembered from now on, so that use alone keeps it alive here.
                let session = Some(sent.clone());
                self.insert(&mut remembered, &sent.id, Remembered { session, used_ms: now_ms });
                sent
            }
        };
        Some(newest)
    }

    /// Takes a changed state over; the result is what to sign and give to the client.
    pub fn change(&self, mut session: Session, carrier: &Carrier) -> Session {
        session.revision += 1;
        session.issued_ms = self.clock.now_ms();
        if let Carrier::Connection(connection) = carrier {
            *connection.session.lock() = Some(session.clone());
            if session.temporary.is_some() {
                let mut connections = self.connections.lock();
                connections.retain(|_, kept| kept.strong_count() > 0);
                connections.insert(session.id.clone(), Arc::downgrade(&connection.session));
            }
            return session;
        }
        let entry = Remembered { session: Some(session.clone()), used_ms: session.issued_ms };
        self.insert(&mut self.remembered.lock(), &session.id, entry);
        session
    }

    /// Whether a state was signed so long ago that its client should get a fresh one.
    pub fn is_stale(&self, session: &Session) -> bool {
        let age_ms = self.clock.now_ms().saturating_sub(session.issued_ms);
        age_ms > self.idle_max.as_millis() as u64 / 4
    }

    /// The same state, signed now.
    pub fn refreshed(&self, session: &Session) -> Session {
        Session { issued_ms: self.clock.now_ms(), ..session.clone() }
    }

    /// Forgets a session. Other coordinators that a copy is sent to refuse it only when it expires.
    pub fn close(&self, session: &Session, carrier: &Carrier) {
        if let Carrier::Connection(connection) = carrier {
            *connection.session.lock() = None;
        }
        let entry = Remembered { session: None, used_ms: self.clock.now_ms() };
        self.insert(&mut self.remembered.lock(), &session.id, entry);
    }

    /// Whether a session of this id is known here, or a statement holds it.
    pub fn is_live(&self, id: &str) -> bool {
        if self.held.lock().iter().any(|held| held == id) {
            return true;
        }
        let kept = self.connections.lock().get(id).and_then(Weak::upgrade);
        let is_kept = |kept: Arc<Mutex<Option<Session>>>| {
            kept.lock().as_ref().is_some_and(|session| session.id == id)
        };
        if kept.is_some_and(is_kept) {
            return true;
        }
        let now_ms = self.clock.now_ms();
        let idle_ms = self.idle_max.as_millis() as u64;
        self.remembered.lock().get(id).is_some_and(|entry| {
            entry.session.is_some() && now_ms.saturating_sub(entry.used_ms) <= idle_ms
        })
    }

    /// Lets a session count as live until the result is dropped.
    pub fn hold(&self, id: &str) -> Held<'_> {
        self.held.lock().push(id.to_owned());
        Held { store: self, id: id.to_owned() }
    }

    fn insert(&self, all: &mut HashMap<String, Remembered>, id: &str, entry: Remembered) {
        if all.len() >= self.sessions_max && !all.contains_key(id) {
            let idle_ms = self.idle_max.as_millis() as u64;
            let now_ms = self.clock.now_ms();
            all.retain(|_, entry| now_ms.saturating_sub(entry.used_ms) <= idle_ms);
            // Full of live ones: forget the longest unused eighth at once, so that this stays rare.
            if all.len() >= self.sessions_max {
                let mut used: Vec<u64> = all.values().map(|entry| entry.used_ms).collect();
                used.sort_unstable();
                let limit_ms = used[used.len() / 8];
                all.retain(|_, entry| entry.used_ms > limit_ms);
            }
        }
        all.insert(id.to_owned(), entry);
    }
}

/// A session that counts as live.
#[derive(Debug)]
pub struct Held<'a> {
    store: &'a SessionStore,
    id: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.store.held.lock();
        if let Some(at) = held.iter().position(|id| *id == self.id) {
            held.swap_remove(at);
        }
    }
}

fn bearer(metadata: &MetadataMap) -> Option<String> {
    let header = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn is_proxied(metadata: &MetadataMap) -> bool {
    PROXY_HEADERS.iter().any(|name| metadata.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::random::SeededRandom;
    use granary_common::{ClusterId, ErrorKind, TestClock};

    const IDLE: Duration = Duration::from_secs(600);

    fn store(clock: &Arc<TestClock>, sessions_max: usize) -> SessionStore {
        let random = Arc::new(SeededRandom::new(1));
        SessionStore::new(sessions_max, IDLE, Arc::clone(clock) as Arc<dyn Clock>, random)
    }

    fn sealer() -> Sealer {
        Sealer::new(&ClusterId("c".into()), "")
    }

    fn headers(name: &'static str, value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().unwrap());
        metadata
    }

    fn with_cookie(session: &Session) -> MetadataMap {
        let sealed = sealer().seal_text(Purpose::Session, session).unwrap();
        headers("cookie", &format!("arrow_flight_session_id={sealed}"))
    }

    fn with_bearer(session: &Session) -> MetadataMap {
        let sealed = sealer().seal_text(Purpose::Session, session).unwrap();
        headers("authorization", &format!("Bearer {sealed}"))
    }

    fn found(store: &SessionStore, metadata: &MetadataMap) -> Option<Session> {
        store.resolve(&sealer(), metadata, None).unwrap().0
    }

    fn in_database(store: &SessionStore, database: &str) -> Session {
        Session { database: database.into(), ..store.open("ann") }
    }

    #[test]
    fn another_coordinator_continues_a_cookie() {
        let clock = TestClock::at(1_000);
        let session = in_database(&store(&clock, 8), "sales");
        let (found, carrier) =
            store(&clock, 8).resolve(&sealer(), &with_cookie(&session), None).unwrap();
        assert_eq!(found, Some(session));
        assert!(matches!(carrier, Carrier::Cookie));
    }

    #[test]
    fn an_old_token_finds_the_newest_state() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 8);
        let token = with_bearer(&store.open("ann"));
        let session = found(&store, &token).unwrap();
        store.change(Session { database: "sales".into(), ..session }, &Carrier::Bearer);
        let newest = found(&store, &token).unwrap();
        assert_eq!((newest.database.as_str(), newest.revision), ("sales", 1));
    }

    #[test]
    fn idle_sessions_expire_and_used_ones_do_not() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 8);
        let session = in_database(&store, "sales");
        for _ in 0..3 {
            clock.advance(IDLE / 2);
            assert_eq!(found(&store, &with_cookie(&session)).unwrap().database, "sales");
        }
        clock.advance(IDLE + Duration::from_secs(1));
        assert_eq!(found(&store, &with_cookie(&session)), None, "a new session begins");
        let error = store.resolve(&sealer(), &with_bearer(&session), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }

    #[test]
    fn closed_sessions_are_refused() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 8);
        let session = in_database(&store, "sales");
        store.close(&session, &Carrier::Bearer);
        assert!(store.resolve(&sealer(), &with_bearer(&session), None).is_err());
    }

    #[test]
    fn the_number_is_bounded() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 16);
        for _ in 0..100 {
            clock.advance(Duration::from_millis(1));
            let session = store.open("ann");
            store.change(session, &Carrier::Cookie);
        }
        assert!(store.remembered.lock().len() <= 16);
    }

    #[test]
    fn a_connection_keeps_a_session_unless_a_proxy_shares_it() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 8);
        let connection = ConnectionId { number: 1, session: Arc::default() };
        let plain = MetadataMap::new();
        let (kept, carrier) = store.resolve(&sealer(), &plain, Some(&connection)).unwrap();
        assert_eq!(kept, None);
        store.change(in_database(&store, "sales"), &carrier);
        let database = |metadata: &MetadataMap| {
            let (kept, _) = store.resolve(&sealer(), metadata, Some(&connection)).unwrap();
            kept.map(|session| session.database)
        };
        assert_eq!(database(&plain).as_deref(), Some("sales"));
        assert_eq!(database(&headers("x-forwarded-for", "10.0.0.1")), None);
    }

    #[test]
    fn a_session_lives_while_somebody_keeps_it() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 8);
        let with_tables = |session| Session { temporary: Some("x".into()), ..session };
        // By its token, until it was idle for too long or was closed.
        let session = store.change(with_tables(store.open("ann")), &Carrier::Bearer);
        assert!(store.is_live(&session.id));
        clock.advance(IDLE + Duration::from_secs(1));
        assert!(!store.is_live(&session.id));
        let session = store.change(with_tables(store.open("ann")), &Carrier::Bearer);
        store.close(&session, &Carrier::Bearer);
        assert!(!store.is_live(&session.id));
        // By its connection, however idle, until it is closed.
        let connection = ConnectionId { number: 1, session: Arc::default() };
        let carrier = Carrier::Connection(connection.clone());
        let session = store.change(with_tables(store.open("ann")), &carrier);
        clock.advance(IDLE * 2);
        assert!(store.is_live(&session.id));
        drop((carrier, connection));
        assert!(!store.is_live(&session.id));
        // By a statement that is under way.
        let (first, second) = (store.hold("s"), store.hold("s"));
        drop(first);
        assert!(store.is_live("s"));
        drop(second);
        assert!(!store.is_live("s"));
    }

    #[test]
    fn foreign_tokens_are_refused_and_foreign_cookies_begin_anew() {
        let clock = TestClock::at(1_000);
        let store = store(&clock, 8);
        let token = headers("authorization", "Bearer nonsense");
        let error = store.resolve(&sealer(), &token, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        let cookie = headers("cookie", "arrow_flight_session_id=nonsense");
        assert_eq!(found(&store, &cookie), None);
    }
}
