//! From a bound query to its batches.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin as StdPin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use granary_common::{Error, ErrorKind, Result};
use granary_execution::error::from_datafusion;
use granary_sql::Notice;
use parking_lot::Mutex;

use super::bind::explain_rows;
use super::check::check;
use super::{Bound, BoundQuery, Pin, Place, QueryHandle, to_edge};
use crate::core::Coordinator;
use crate::lost::{shun_silent, while_alive};

/// The rows of a query. Dropping it stops the query on every worker.
pub struct ResultStream {
    pub schema: SchemaRef,
    pub notices: Vec<Notice>,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl Stream for ResultStream {
    type Item = Result<RecordBatch>;

    fn poll_next(
        mut self: StdPin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(context)
    }
}

/// Admits and runs a bound query. Returns when its first batch is there, so that what goes wrong
/// before it is answered as an error of the call, or tried again.
pub async fn run_bound(core: &Arc<Coordinator>, query: BoundQuery) -> Result<ResultStream> {
    let request = &query.request;
    let session = &request.session;
    let handle = core.queries.begin(&request.id, &session.user, &session.database, &request.sql);
    // What is not protected anyway goes on when the metadata group is lost.
    if !query.is_stale {
        handle.reads(query.snapshot.version);
    }
    let outcome = handle.run(start(core, query, &handle)).await;
    match outcome {
        Ok(started) => Ok(started.into_stream(core, handle)),
        Err(error) => {
            handle.finish(Some(&error));
            Err(error)
        }
    }
}

/// A query whose first batch is there.
struct Started {
    schema: SchemaRef,
    notices: Vec<Notice>,
    first: Option<RecordBatch>,
    rest: BoxStream<'static, Result<RecordBatch>>,
    held: Held,
}

/// What a query holds until its last batch.
struct Held {
    _pin: Pin,
    _place: Place,
    _state: Option<Box<SessionState>>,
}

async fn start(
    core: &Arc<Coordinator>,
    mut query: BoundQuery,
    handle: &QueryHandle,
) -> Result<Started> {
    let place = core.query_admission.admit().await?;
    limit_time(core, &query, handle);
    let bound = std::mem::replace(&mut query.bound, Bound::Taken);
    let (state, (first, rest)) = match bound {
        Bound::Taken => return Err(Error::internal("a query was run twice")),
        Bound::Rows(rows) => (None, (Some(rows), futures::stream::empty().boxed())),
        Bound::Check(copies) => {
            let mut rows = check(core, copies);
            let first = rows.next().await.transpose()?;
            (None, (first, rows))
        }
        Bound::Plan { mut state, plan } => {
            let opened = with_retries(core, &query, &mut state, &plan).await?;
            (Some(state), opened)
        }
        Bound::Explain { mut state, plan, analyze, verbose } => {
            let text = explain(core, &mut state, &plan, analyze, verbose).await?;
            (Some(state), (Some(explain_rows(&text)?), futures::stream::empty().boxed()))
        }
    };
    let held = Held { _pin: query.pin, _place: place, _state: state };
    let (schema, notices) = (query.schema, query.notices);
    Ok(Started { schema, notices, first, rest, held })
}

type Opened = (Option<RecordBatch>, BoxStream<'static, Result<RecordBatch>>);

/// Plans and runs until the first batch is there. A worker that dies before that costs time only:
/// the query is planned again, at the same snapshot, for the workers that are alive by then.
async fn with_retries(
    core: &Arc<Coordinator>,
    query: &BoundQuery,
    state: &mut Box<SessionState>,
    plan: &LogicalPlan,
) -> Result<Opened> {
    let mut backoff = core.backoff();
    loop {
        match while_alive(core, None, Box::pin(open(core, state, plan))).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && backoff.wait().await => {
                tracing::warn!(%error, "a worker was lost; planning the query again");
                shun_silent(core).await;
                let session = &query.request.session;
                **state = core.session_state(&query.snapshot, session, &query.settings)?;
            }
            outcome => return outcome,
        }
    }
}

async fn open(core: &Arc<Coordinator>, state: &SessionState, plan: &LogicalPlan) -> Result<Opened> {
    let engine = &core.with.engine;
    let planned = AssertUnwindSafe(engine.physical_plan(state, plan)).catch_unwind().await;
    let physical = planned.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
    let batches = engine.execute(&physical, state)?;
    let batches = batches.map(|batch| batch.map_err(|error| from_datafusion(&error)));
    let mut batches = without_panics(batches).boxed();
    let first = batches.next().await.transpose()?;
    Ok((first, batches))
}

/// Ends with an error where making the next batch panics, as a function of a library may: the client
/// would only see that its connection is cut.
fn without_panics(
    batches: impl Stream<Item = Result<RecordBatch>>,
) -> impl Stream<Item = Result<RecordBatch>> {
    let caught = AssertUnwindSafe(batches).catch_unwind();
    caught.map(|batch| batch.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the query panicked, which is a bug: {}", said.unwrap_or("no reason")))
}

async fn explain(
    core: &Arc<Coordinator>,
    state: &mut SessionState,
    plan: &LogicalPlan,
    analyze: bool,
    verbose: bool,
) -> Result<String> {
    let engine = &core.with.engine;
    let text = match analyze {
        true => engine.explain_analyze(plan, state).await?,
        false => engine.explain_with_indexes(plan, state).await?,
    };
    Ok(match verbose {
        true => format!("logical plan:\n{}\nphysical plan:\n{text}", plan.display_indent()),
        false => text,
    })
}

/// Stops the query when `max_execution_time` is over.
fn limit_time(core: &Arc<Coordinator>, query: &BoundQuery, handle: &QueryHandle) {
    let seconds = query.settings.query.max_execution_time;
    if seconds == 0 {
        return;
    }
    let (core_, id) = (Arc::clone(core), handle.id().clone());
    core.with.tasks.spawn(async move {
        core_.with.clock.sleep(Duration::from_secs(seconds)).await;
        let why = format!("the query ran longer than max_execution_time = {seconds} s");
        core_.queries.cancel(&id, Error::deadline(why));
    });
}

/// The rest of a stream between two batches.
struct Flow {
    first: Option<RecordBatch>,
    source: Arc<Mutex<Option<Source>>>,
    schema: SchemaRef,
    handle: Arc<QueryHandle>,
}

/// Where batches come from. Dropping it stops the query on every worker.
struct Source {
    rest: BoxStream<'static, Result<RecordBatch>>,
    _held: Held,
}

impl Started {
    fn into_stream(self, core: &Coordinator, handle: QueryHandle) -> ResultStream {
        let source = Source { rest: self.rest, _held: self.held };
        let flow = Flow {
            first: self.first,
            source: Arc::new(Mutex::new(Some(source))),
            schema: Arc::clone(&self.schema),
            handle: Arc::new(handle),
        };
        flow.handle.wait_for_client();
        let_go_when_cancelled(core, &flow);
        let batches = futures::stream::unfold(Some(flow), next_batch).boxed();
        ResultStream { schema: self.schema, notices: self.notices, batches }
    }
}

/// Stops a query that is cancelled while nobody asks for its next batch, as when its client does not
/// read.
fn let_go_when_cancelled(core: &Coordinator, flow: &Flow) {
    let (source, handle) = (Arc::downgrade(&flow.source), Arc::downgrade(&flow.handle));
    // Cancelled at the end of every query, too.
    let cancelled = flow.handle.cancelled();
    core.with.tasks.spawn(async move {
        cancelled.cancelled().await;
        let left = source.upgrade().and_then(|source| source.lock().take());
        if left.is_some()
            && let Some(handle) = handle.upgrade()
        {
            handle.finish(Some(&handle.reason()));
        }
    });
}

impl Flow {
    /// The next batch; the source is back in its place afterwards unless the query has ended.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let handle = &self.handle;
        let Some(mut source) = self.source.lock().take() else {
            return Err(handle.reason());
        };
        if let Some(first) = self.first.take() {
            return self.put_back(source).map(|()| Some(first));
        }
        let rest = &mut source.rest;
        let next = handle.run(async move { rest.next().await.transpose() }).await?;
        if next.is_some() {
            self.put_back(source)?;
        }
        Ok(next)
    }

    fn put_back(&self, source: Source) -> Result<()> {
        *self.source.lock() = Some(source);
        // Who cancelled meanwhile found the place empty.
        match self.handle.cancelled().is_cancelled() {
            true => {
                drop(self.source.lock().take());
                Err(self.handle.reason())
            }
            false => Ok(()),
        }
    }
}

/// The next batch and the flow after it; after an error the flow ends.
fn next_batch(
    flow: Option<Flow>,
) -> BoxFuture<'static, Option<(Result<RecordBatch>, Option<Flow>)>> {
    async move {
        let mut flow = flow?;
        flow.handle.busy();
        let next = flow.next().await;
        let edge =
            next.and_then(|batch| batch.map(|batch| to_edge(&batch, &flow.schema)).transpose());
        match edge {
            Ok(Some(batch)) => {
                flow.handle.add_rows(batch.num_rows() as u64);
                flow.handle.wait_for_client();
                Some((Ok(batch), Some(flow)))
            }
            Ok(None) => {
                flow.handle.finish(None);
                None
            }
            Err(error) => {
                flow.handle.finish(Some(&error));
                Some((Err(error), None))
            }
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_reason_and_the_end() {
        let batches = futures::stream::iter(0..3).map(|number| match number {
            1 => panic!("number {number}"),
            _ => Err(Error::invalid("a first one")),
        });
        let errors: Vec<Error> =
            without_panics(batches).map(|batch| batch.expect_err("no rows")).collect().await;
        let shown: Vec<(ErrorKind, String)> =
            errors.iter().map(|error| (error.kind(), error.to_string())).collect();
        assert_eq!(shown[0], (ErrorKind::InvalidInput, "a first one".to_owned()));
        assert_eq!(shown[1].0, ErrorKind::Internal);
        assert!(shown[1].1.ends_with("which is a bug: number 1"), "{shown:?}");
        assert_eq!(shown.len(), 2);
    }
}
