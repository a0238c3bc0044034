//! What goes wrong, and the end: everything is well again, and must be as if nothing had been.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::HostClock;
use crate::cluster::{COORDINATORS, Cluster, MEMBERS};
use crate::coordinator::Coordinator;
use crate::disk::WorkerDisk;
use crate::executor;
use crate::member::Member;
use crate::net::{Host, Weather};
use crate::raft::MemberDisk;
use crate::worker::Worker;

const PAUSE_MS: std::ops::Range<u64> = 300..4_000;
/// For how long a fault lasts.
const LASTS_MS: std::ops::Range<u64> = 300..15_000;
/// How far wall clocks jump, either way.
const JUMP_MS: u64 = 3_600_000;

/// The disks of the metadata group's members.
#[derive(Debug, Default)]
struct Members {
    disks: BTreeMap<u64, MemberDisk>,
    /// The highest number that was ever used.
    last: u64,
}

/// The machines: their disks and clocks outlive what runs on them.
#[derive(Debug)]
pub struct Machines {
    pub(crate) cluster: Arc<Cluster>,
    members: Mutex<Members>,
    workers: BTreeMap<u64, WorkerDisk>,
    clocks: BTreeMap<Host, Arc<HostClock>>,
    pub faults: Mutex<u64>,
}

impl Machines {
    /// Machines on which nothing runs, with so many workers.
    pub fn new(cluster: &Arc<Cluster>, workers: u64) -> Arc<Machines> {
        let members: Vec<u64> = (1..=MEMBERS).collect();
        let hosts = members.iter().map(|number| Host::Metadata(*number));
        let hosts = hosts.chain((1..=workers).map(Host::Worker));
        Arc::new(Machines {
            cluster: Arc::clone(cluster),
            members: Mutex::new(Members {
                disks: (1..=MEMBERS)
                    .map(|number| (number, MemberDisk::new(cluster, Host::Metadata(number))))
                    .collect(),
                last: MEMBERS,
            }),
            workers: (1..=workers)
                .map(|number| (number, WorkerDisk::new(cluster, Host::Worker(number))))
                .collect(),
            clocks: hosts.map(|host| (host, HostClock::right())).collect(),
            faults: Mutex::default(),
        })
    }

    pub fn disk(&self, worker: u64) -> Option<&WorkerDisk> {
        self.workers.get(&worker)
    }

    pub fn worker_numbers(&self) -> impl Iterator<Item = u64> {
        self.workers.keys().copied()
    }

    fn clock(&self, host: Host) -> Arc<HostClock> {
        let clock = self.clocks.get(&host);
        clock.map_or_else(HostClock::right, Arc::clone)
    }

    /// Starts what runs on a host.
    pub async fn start(&self, host: Host) {
        if self.cluster.net.is_up(host) {
            return; // Somebody else has started it again.
        }
        match host {
            Host::Metadata(number) => {
                let disk = self.members.lock().disks.get(&number).cloned();
                if let Some(disk) = disk {
                    Member::start(&self.cluster, number, &disk, self.clock(host)).await;
                }
            }
            Host::Coordinator(number) => Coordinator::start(&self.cluster, number),
            Host::Worker(number) => {
                if let Some(disk) = self.workers.get(&number) {
                    Worker::start(&self.cluster, number, disk, self.clock(host));
                }
            }
            Host::Client => {}
        }
    }

    fn kill(&self, host: Host) {
        match host {
            Host::Metadata(number) => Member::die(&self.cluster, number),
            other => {
                self.cluster.net.kill(other);
                self.cluster.remove(other);
            }
        }
    }

    /// Any member that has its disk.
    pub(crate) fn any_member(&self) -> u64 {
        let members = self.members.lock();
        let place = self.cluster.net.pick(0..members.disks.len() as u64) as usize;
        members.disks.keys().nth(place).copied().unwrap_or(1)
    }

    /// A machine with an empty disk for a member whose number was never used.
    pub(crate) fn new_member(&self) -> u64 {
        let mut members = self.members.lock();
        members.last += 1;
        let number = members.last;
        let disk = MemberDisk::new(&self.cluster, Host::Metadata(number));
        members.disks.insert(number, disk);
        number
    }

    /// The member is gone, with its disk.
    pub(crate) fn lose_member(&self, number: u64) {
        self.members.lock().disks.remove(&number);
        self.kill(Host::Metadata(number));
    }

    /// The members that have their disks.
    fn members(&self) -> Vec<u64> {
        self.members.lock().disks.keys().copied().collect()
    }

    fn any_host(&self) -> Host {
        let net = &self.cluster.net;
        match net.pick(0..6) {
            0 | 1 => Host::Metadata(self.any_member()),
            2 => Host::Coordinator(net.pick(1..COORDINATORS + 1)),
            _ => Host::Worker(net.pick(1..self.workers.len() as u64 + 1)),
        }
    }

    /// Injects one fault after the other until the time has come.
    pub async fn mistreat(self: Arc<Machines>, until_ms: u64) {
        while self.cluster.now_ms() < until_ms {
            let pause_ms = self.cluster.net.pick(PAUSE_MS);
            executor::sleep_ms(pause_ms).await;
            let machines = Arc::clone(&self);
            *self.faults.lock() += 1;
            // Several may be going on.
            drop(self.cluster.net.spawn(Host::Client, async move { machines.fault().await }));
        }
    }

    async fn fault(&self) {
        let net = &self.cluster.net;
        let (host, lasts_ms) = (self.any_host(), net.pick(LASTS_MS));
        let kind = net.pick(0..12);
        let lasts = executor::sleep_ms(lasts_ms);
        self.cluster.note(format!("fault {kind} at {host:?} for {lasts_ms} ms"));
        match kind {
            0..4 => {
                if net.is_up(host) {
                    self.kill(host);
                    lasts.await;
                    self.start(host).await;
                }
            }
            4 | 5 => {
                net.cut_off(host, true);
                lasts.await;
                net.cut_off(host, false);
            }
            6 | 7 => {
                net.freeze(host);
                lasts.await;
                net.thaw(host);
            }
            8 => {
                net.set_weather(Weather { lost: 100, delayed: 300 });
                lasts.await;
                net.set_weather(Weather::default());
            }
            9 => {
                if let Host::Worker(number) = host
                    && let Some(disk) = self.disk(number)
                {
                    disk.set_full(true);
                    lasts.await;
                    disk.set_full(false);
                }
            }
            10 => {
                let by_ms = net.pick(0..2 * JUMP_MS) as i64 - JUMP_MS as i64;
                self.clock(host).jump(by_ms);
            }
            _ => self.power_failure(lasts).await,
        }
    }

    /// Everything dies at once.
    async fn power_failure(&self, lasts: executor::Sleep) {
        let members = self.members().into_iter().map(Host::Metadata);
        let coordinators = (1..=COORDINATORS).map(Host::Coordinator);
        let hosts = members.chain(coordinators).chain(self.worker_numbers().map(Host::Worker));
        let hosts: Vec<Host> = hosts.filter(|host| self.cluster.net.is_up(*host)).collect();
        hosts.iter().for_each(|host| self.kill(*host));
        lasts.await;
        for host in hosts {
            self.start(host).await;
        }
    }

    /// Ends every fault but those that end by themselves.
    pub fn heal(&self) {
        self.cluster.net.heal();
        self.workers.values().for_each(|disk| disk.set_full(false));
        self.clocks.values().for_each(|clock| clock.jump(0));
    }

    /// Whether everything runs.
    pub fn all_run(&self) -> bool {
        let members = self.members().into_iter().map(Host::Metadata);
        let coordinators = (1..=COORDINATORS).map(Host::Coordinator);
        let mut hosts = members.chain(coordinators).chain(self.worker_numbers().map(Host::Worker));
        hosts.all(|host| self.cluster.net.is_up(host))
    }
}
