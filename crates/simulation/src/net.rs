//! Hosts and the network between them: what is sent takes a while, may be lost, and finds the other
//! host dead, frozen or out of reach. Every choice comes from the seed.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::AbortHandle;
use granary_common::Random;
use granary_common::random::SeededRandom;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::executor;
use crate::trace::Trace;

/// A machine of the simulated cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    Metadata(u64),
    Coordinator(u64),
    Worker(u64),
    /// Where clients run; never dies, and reaches everybody.
    Client,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The other host was certainly not reached.
    NotSent,
    /// It may have done what was asked.
    Unknown,
}

/// For how long an answer is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How long it takes to notice that nobody listens.
const REFUSED_AFTER: Duration = Duration::from_millis(2);
/// Milliseconds that a message takes, and of one that is held up.
const LATENCY_MS: std::ops::Range<u64> = 1..5;
const DELAY_MS: std::ops::Range<u64> = 20..400;

#[derive(Debug, Default)]
struct HostState {
    is_up: bool,
    /// How often it was started.
    life: u64,
    is_cut_off: bool,
    frozen: Option<watch::Sender<bool>>,
    tasks: Vec<AbortHandle>,
}

/// What the network does to messages now, each out of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost: u64,
    pub delayed: u64,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    hosts: Mutex<BTreeMap<Host, HostState>>,
    weather: Mutex<Weather>,
    pub random: Arc<SeededRandom>,
    pub trace: Arc<Trace>,
}

impl Net {
    /// A network without hosts.
    pub fn new(random: Arc<SeededRandom>, trace: Arc<Trace>) -> Arc<Net> {
        let net = Net { hosts: Mutex::default(), weather: Mutex::default(), random, trace };
        net.start(Host::Client);
        Arc::new(net)
    }

    /// A number from `range`.
    pub fn pick(&self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.random.next_u64() % (range.end - range.start).max(1)
    }

    fn with<R>(&self, host: Host, look: impl FnOnce(&mut HostState) -> R) -> R {
        look(self.hosts.lock().entry(host).or_default())
    }

    /// The host runs from now on; gives its life.
    pub fn start(&self, host: Host) -> u64 {
        self.with(host, |state| {
            state.is_up = true;
            state.life += 1;
            state.life
        })
    }

    /// The host stops in the middle of whatever it does.
    pub fn kill(&self, host: Host) {
        let tasks = self.with(host, |state| {
            state.is_up = false;
            if let Some(frozen) = state.frozen.take() {
                frozen.send_replace(false);
            }
            std::mem::take(&mut state.tasks)
        });
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Whether the host runs, and still in the life that it was in.
    pub fn is_alive(&self, host: Host, life: u64) -> bool {
        self.with(host, |state| state.is_up && state.life == life)
    }

    pub fn is_up(&self, host: Host) -> bool {
        self.with(host, |state| state.is_up)
    }

    /// The host does nothing until it is thawed, and does not notice.
    pub fn freeze(&self, host: Host) {
        self.with(host, |state| {
            state.frozen.get_or_insert_with(|| watch::channel(true).0);
        });
    }

    pub fn thaw(&self, host: Host) {
        if let Some(frozen) = self.with(host, |state| state.frozen.take()) {
            frozen.send_replace(false);
        }
    }

    pub fn cut_off(&self, host: Host, is_cut_off: bool) {
        self.with(host, |state| state.is_cut_off = is_cut_off);
    }

    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    /// Nothing is wrong any more, but for hosts that are dead.
    pub fn heal(&self) {
        self.set_weather(Weather::default());
        let hosts: Vec<Host> = self.hosts.lock().keys().copied().collect();
        for host in hosts {
            self.thaw(host);
            self.cut_off(host, false);
        }
    }

    /// Waits while the host is frozen.
    pub async fn breathe(&self, host: Host) {
        loop {
            let frozen =
                self.with(host, |state| state.frozen.as_ref().map(watch::Sender::subscribe));
            let Some(mut frozen) = frozen else { return };
            // A sender that is gone has thawed it.
            let _ = frozen.wait_for(|is_frozen| !is_frozen).await;
        }
    }

    /// Runs a task on the host, for as long as that lives.
    pub fn spawn<T: Send + 'static>(
        &self,
        host: Host,
        task: impl Future<Output = T> + Send + 'static,
    ) -> executor::JoinHandle<T> {
        let (handle, abort) = executor::spawn(task);
        self.with(host, |state| {
            state.tasks.push(abort);
            if state.tasks.len().is_power_of_two() {
                state.tasks.retain(|task| !task.is_aborted());
            }
        });
        handle
    }

    /// Milliseconds that a message from one to the other takes; `None` when it never comes.
    fn journey(&self, from: Host, to: Host) -> Option<u64> {
        let is_cut_off = |host| self.with(host, |state| state.is_cut_off);
        let weather = *self.weather.lock();
        let (dice, latency) = (self.pick(0..1000), self.pick(LATENCY_MS));
        if from == to {
            return Some(0);
        }
        if is_cut_off(from) || is_cut_off(to) || dice < weather.lost {
            return None;
        }
        let delay = dice < weather.lost + weather.delayed;
        Some(latency + if delay { self.pick(DELAY_MS) } else { 0 })
    }

    /// Asks `to` for something. `serve` runs there, in the life that the message finds.
    pub async fn call<T, F>(
        &self,
        from: Host,
        to: Host,
        serve: impl FnOnce() -> F + Send,
    ) -> Result<T, Lost>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.breathe(from).await;
        let Some(there_ms) = self.journey(from, to) else {
            executor::sleep(ANSWER_LIMIT).await;
            return Err(Lost::Unknown);
        };
        executor::sleep_ms(there_ms).await;
        if !self.is_up(to) {
            executor::sleep(REFUSED_AFTER).await;
            return Err(Lost::NotSent);
        }
        let (frozen, work) = (self.gate(to), serve());
        let running = self.spawn(to, async move {
            frozen.await;
            work.await
        });
        let answer = match executor::timeout(ANSWER_LIMIT, running).await {
            Ok(Ok(answer)) => answer,
            // It died, or takes too long.
            _ => return Err(Lost::Unknown),
        };
        let Some(back_ms) = self.journey(to, from) else {
            executor::sleep(ANSWER_LIMIT).await;
            return Err(Lost::Unknown);
        };
        executor::sleep_ms(back_ms).await;
        self.breathe(from).await;
        Ok(answer)
    }

    /// Opens when the host is not frozen.
    fn gate(&self, host: Host) -> impl Future<Output = ()> + Send + use<> {
        let frozen = self.with(host, |state| state.frozen.as_ref().map(watch::Sender::subscribe));
        async move {
            if let Some(mut frozen) = frozen {
                let _ = frozen.wait_for(|is_frozen| !is_frozen).await;
            }
        }
    }
}
