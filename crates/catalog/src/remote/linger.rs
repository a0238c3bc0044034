//! Connections that are closed when the other side has read everything.
//!
//! A socket that is closed answers whatever still comes with a reset, and the reset takes away what
//! the other side has received and not read yet. Over HTTP/2 something always comes: who reads a
//! result makes room for more. So the end of a long result was lost when its server stopped right
//! after sending it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use granary_common::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;

/// For how long the other side may go on reading after the last byte was sent.
const LINGER_MAX: Duration = Duration::from_secs(10);

/// A connection whose shutdown ends when the other side has closed it too, or after [`LINGER_MAX`].
/// Its requests carry `info` as an extension.
pub struct Lingering<I> {
    stream: TcpStream,
    info: I,
    clock: Arc<dyn Clock>,
    limit: Option<BoxFuture<'static, ()>>,
}

/// The connections of `listener`, each with what `info` says of it.
pub fn lingering<I>(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    mut info: impl FnMut() -> I,
) -> impl Stream<Item = io::Result<Lingering<I>>> {
    TcpListenerStream::new(listener).map(move |accepted| {
        let stream = accepted?;
        stream.set_nodelay(true)?;
        Ok(Lingering { stream, info: info(), clock: Arc::clone(&clock), limit: None })
    })
}

impl<I: fmt::Debug> fmt::Debug for Lingering<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lingering").field("info", &self.info).finish_non_exhaustive()
    }
}

impl<I: Clone + Send + Sync + 'static> Connected for Lingering<I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<I: Unpin> AsyncRead for Lingering<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<I: Unpin> AsyncWrite for Lingering<I> {
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
        let this = &mut *self;
        if this.limit.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let clock = &this.clock;
        let limit = this.limit.get_or_insert_with(|| {
            let clock = Arc::clone(clock);
            Box::pin(async move { clock.sleep(LINGER_MAX).await })
        });
        let mut space = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                // Of no interest any more, but it must not find the socket closed.
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return limit.as_mut().poll(context).map(Ok),
            }
        }
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

#[cfg(test)]
mod tests {
    use granary_common::{SystemClock, TaskOwner, TestClock};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const BYTES: usize = 256 << 10;
    const PIECE: usize = 16 << 10;

    #[tokio::test]
    async fn who_reads_slowly_and_answers_reads_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut accepted = Box::pin(lingering(listener, SystemClock::shared(), || ()));
        let server = TaskOwner::current().spawn(async move {
            let mut stream = accepted.next().await.expect("a client").expect("accepted");
            stream.write_all(&[7; BYTES]).await.expect("sent");
            stream.shutdown().await.expect("shut down");
        });
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (mut read, mut piece) = (0, vec![0; PIECE]);
        while read < BYTES {
            // As a reader of HTTP/2 does that makes room.
            client.write_all(b"more").await.expect("the other side is there");
            let got = client.read(&mut piece).await.expect("no reset");
            assert!(got > 0, "it ended after {read} bytes");
            read += got;
            tokio::task::yield_now().await;
        }
        drop(client);
        server.await.expect("ended");
    }

    #[tokio::test]
    async fn who_never_closes_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let clock = TestClock::at(0);
        let mut accepted = Box::pin(lingering(listener, clock.clone(), || ()));
        let _client = TcpStream::connect(address).await.expect("connected");
        let mut stream = accepted.next().await.expect("a client").expect("accepted");
        let mut closing = Box::pin(stream.shutdown());
        assert!(futures::poll!(&mut closing).is_pending());
        clock.advance(LINGER_MAX);
        closing.await.expect("closed");
    }
}
