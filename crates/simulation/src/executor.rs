//! One thread, simulated time, and a seed that decides which of the tasks that can go on does so.
//!
//! Time stands still while any task has work, then moves to the next sleeper.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{AbortHandle, BoxFuture, abortable};
use granary_common::Random;
use granary_common::random::SeededRandom;
use parking_lot::Mutex;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Executor>>> = const { RefCell::new(None) };
}

/// The tasks of one run.
struct Executor {
    random: Arc<SeededRandom>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// By their numbers: in which order they were woken must not matter.
    ready: BTreeMap<u64, Arc<Task>>,
    spawned: u64,
    /// By when, then by who asked first.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    asked: u64,
    all: Vec<Weak<Task>>,
}

struct Task {
    number: u64,
    executor: Arc<Executor>,
    work: Mutex<Option<BoxFuture<'static, ()>>>,
    is_ready: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::SeqCst) {
            let executor = Arc::clone(&self.executor);
            executor.state.lock().ready.insert(self.number, self);
        }
    }
}

impl Executor {
    fn add(self: &Arc<Self>, work: BoxFuture<'static, ()>) {
        let mut state = self.state.lock();
        state.spawned += 1;
        let task = Arc::new(Task {
            number: state.spawned,
            executor: Arc::clone(self),
            work: Mutex::new(Some(work)),
            is_ready: AtomicBool::new(true),
        });
        state.all.push(Arc::downgrade(&task));
        if state.all.len().is_power_of_two() {
            state.all.retain(|task| task.strong_count() > 0);
        }
        state.ready.insert(task.number, task);
    }

    /// Any of the tasks that can go on.
    fn next(&self) -> Option<Arc<Task>> {
        let mut state = self.state.lock();
        let place = self.random.next_u64() as usize % state.ready.len().max(1);
        let number = *state.ready.keys().nth(place)?;
        state.ready.remove(&number)
    }

    /// Moves time to the next sleeper and wakes it; `false` when nobody sleeps.
    fn advance(&self) -> bool {
        let mut state = self.state.lock();
        let Some(((when, _), waker)) = state.sleepers.pop_first() else { return false };
        state.now = state.now.max(when);
        drop(state);
        waker.wake();
        true
    }

    /// Drops what has not ended.
    fn clear(&self) {
        let all = std::mem::take(&mut self.state.lock().all);
        for task in all.iter().filter_map(Weak::upgrade) {
            let work = task.work.lock().take();
            drop(work);
        }
        let mut state = self.state.lock();
        let (ready, sleepers) =
            (std::mem::take(&mut state.ready), std::mem::take(&mut state.sleepers));
        drop(state);
        drop((ready, sleepers));
    }
}

fn current() -> Arc<Executor> {
    let found = CURRENT.with(|current| current.borrow().clone());
    found.expect("called by a task of a simulation")
}

/// Runs `work` and every task that it spawns until it ends.
///
/// Panics when all wait for each other.
pub fn run<T: Send + 'static>(
    random: Arc<SeededRandom>,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let executor = Arc::new(Executor { random, state: Mutex::default() });
    let (done, mut result) = oneshot::channel();
    executor.add(Box::pin(async move {
        let _ = done.send(work.await);
    }));
    CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(&executor)));
    let result = loop {
        if let Some(result) = result.try_recv().expect("the sender is kept until it sends") {
            break result;
        }
        match executor.next() {
            Some(task) => poll(&task),
            None => assert!(executor.advance(), "every task waits for another one"),
        }
    };
    executor.clear();
    CURRENT.with(|current| *current.borrow_mut() = None);
    result
}

fn poll(task: &Arc<Task>) {
    task.is_ready.store(false, Ordering::SeqCst);
    let waker = Waker::from(Arc::clone(task));
    let mut work = task.work.lock();
    if let Some(running) = work.as_mut()
        && running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    {
        *work = None;
    }
}

/// The result of a task; an error when it was ended before.
pub type JoinHandle<T> = oneshot::Receiver<T>;

/// Runs a task beside the others.
pub fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> (JoinHandle<T>, AbortHandle) {
    let (done, result) = oneshot::channel();
    let (work, abort) = abortable(work);
    current().add(Box::pin(async move {
        if let Ok(output) = work.await {
            let _ = done.send(output); // Nobody may wait for it.
        }
    }));
    (result, abort)
}

/// Since the beginning.
pub fn now() -> Duration {
    current().state.lock().now
}

/// Waits until a moment.
pub struct Sleep {
    until: Duration,
    /// Its place among the sleepers, once it waits.
    place: Option<(Arc<Executor>, (Duration, u64))>,
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sleep").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Waits so long.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// Waits so many milliseconds.
pub fn sleep_ms(ms: u64) -> Sleep {
    sleep(Duration::from_millis(ms))
}

/// Waits until so long after the beginning.
pub fn sleep_until(until: Duration) -> Sleep {
    Sleep { until, place: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let executor = self.place.as_ref().map_or_else(current, |(executor, _)| executor.clone());
        let mut state = executor.state.lock();
        if state.now >= until {
            return Poll::Ready(());
        }
        let place = match &self.place {
            Some((_, place)) => *place,
            None => {
                state.asked += 1;
                (until, state.asked)
            }
        };
        state.sleepers.insert(place, context.waker().clone());
        drop(state);
        self.place = Some((executor, place));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((executor, place)) = self.place.take() {
            let waker = executor.state.lock().sleepers.remove(&place);
            drop(waker);
        }
    }
}

/// A limit has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the limit has passed")
    }
}

/// Work with a limit.
pub struct Timeout<F> {
    work: Pin<Box<F>>,
    limit: Sleep,
}

/// Waits for `work`, but not longer than `limit`.
pub fn timeout<F: Future>(limit: Duration, work: F) -> Timeout<F> {
    Timeout { work: Box::pin(work), limit: sleep(limit) }
}

/// Waits for `work`, but not longer than until so long after the beginning.
pub fn timeout_at<F: Future>(until: Duration, work: F) -> Timeout<F> {
    Timeout { work: Box::pin(work), limit: sleep_until(until) }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.work.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.limit).poll(context).map(|()| Err(Elapsed))
    }
}
