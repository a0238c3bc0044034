//! Connections with an identity, so that a session can last as long as its connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use granary_catalog::remote::linger::{Lingering, lingering};
use granary_common::Clock;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected;

use super::Session;

/// One accepted connection. Requests carry it as an extension; its state goes with it.
#[derive(Clone, Debug)]
pub struct ConnectionId {
    /// Its number since the coordinator started.
    pub number: u64,
    /// The session that the connection itself keeps, for clients that keep none.
    pub session: Arc<Mutex<Option<Session>>>,
}

/// A TCP stream that knows which connection it is.
#[derive(Debug)]
pub struct TaggedStream {
    stream: Lingering<TcpStream>,
    id: ConnectionId,
}

/// The connections of `listener`, each with its identity.
pub fn tagged(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = io::Result<TaggedStream>> {
    let next = AtomicU64::new(1);
    lingering(listener, clock).map(move |accepted| {
        let stream = accepted?;
        let number = next.fetch_add(1, Ordering::Relaxed);
        Ok(TaggedStream { stream, id: ConnectionId { number, session: Arc::default() } })
    })
}

impl Connected for TaggedStream {
    type ConnectInfo = ConnectionId;

    fn connect_info(&self) -> ConnectionId {
        self.id.clone()
    }
}

impl AsyncRead for TaggedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TaggedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
