//! Connections with an identity, so that a session can last as long as its connection.

use std::io;
use std::sync::Arc;

use futures::Stream;
use granary_catalog::remote::linger::{Lingering, lingering};
use granary_common::Clock;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::Session;

/// One accepted connection. Requests carry it as an extension; its state goes with it.
#[derive(Clone, Debug)]
pub struct ConnectionId {
    /// Its number since the coordinator started.
    pub number: u64,
    /// The session that the connection itself keeps, for clients that keep none.
    pub session: Arc<Mutex<Option<Session>>>,
}

/// The connections of `listener`, each with its identity.
pub fn tagged(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = io::Result<Lingering<ConnectionId>>> {
    let mut number = 0;
    lingering(listener, clock, move || {
        number += 1;
        ConnectionId { number, session: Arc::default() }
    })
}
