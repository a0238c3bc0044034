//! Work that must end before a node may leave.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// Counts pieces of work that must end before a node may leave.
#[derive(Clone, Debug, Default)]
pub struct ActiveWork(Arc<AtomicUsize>);

/// One piece of work; it ends when this is dropped.
#[derive(Debug)]
pub struct ActiveGuard(Arc<AtomicUsize>);

impl ActiveWork {
    /// Begins a piece of work.
    pub fn begin(&self) -> ActiveGuard {
        self.0.fetch_add(1, Ordering::SeqCst);
        ActiveGuard(Arc::clone(&self.0))
    }

    /// Pieces that have begun and not ended.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A gRPC service whose requests count as active until their answers have left.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    active: ActiveWork,
}

impl<S> Counted<S> {
    /// `inner`, counted by `active`.
    pub fn new(inner: S, active: ActiveWork) -> Self {
        Self { inner, active }
    }
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = self.active.begin();
        let answered = self.inner.call(request);
        let counted = async move {
            let response = answered.await?;
            Ok(response.map(|body| Body::new(CountedBody { body, _guard: guard })))
        };
        counted.boxed()
    }
}

/// An answer on its way.
struct CountedBody {
    body: Body,
    _guard: ActiveGuard,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
