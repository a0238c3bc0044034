//! The simulated runtime as the consensus library asks for it.

use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use futures::channel::oneshot;
use openraft::{AsyncRuntime, Instant, OptionalSend, TokioRuntime};

use crate::executor::{self, Elapsed, Sleep, Timeout};

/// Tasks and time of the simulation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Simulated;

/// A moment of simulated time, since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Instant for Moment {
    fn now() -> Moment {
        Moment(executor::now())
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, later: Duration) -> Moment {
        Moment(self.0 + later)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, later: Duration) {
        self.0 += later;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, earlier: Duration) -> Moment {
        Moment(self.0.saturating_sub(earlier))
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;
    fn sub(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, earlier: Duration) {
        self.0 = self.0.saturating_sub(earlier);
    }
}

impl AsyncRuntime for Simulated {
    type JoinError = oneshot::Canceled;
    type JoinHandle<T: OptionalSend + 'static> = executor::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Moment;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    // Without effect: every member has one value for what it would draw.
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type OneshotSender<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiver<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        executor::spawn(future).0
    }

    fn sleep(duration: Duration) -> Sleep {
        executor::sleep(duration)
    }

    fn sleep_until(deadline: Moment) -> Sleep {
        executor::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        executor::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Moment,
        future: F,
    ) -> Timeout<F> {
        executor::timeout_at(deadline.0, future)
    }

    fn is_panic(_: &oneshot::Canceled) -> bool {
        // A panic ends the whole run.
        false
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        TokioRuntime::oneshot()
    }
}
