//! One run: a cluster is made, used and mistreated, left alone, and looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use granary_catalog::replication::{holds_all, replication_factor};
use granary_catalog::{Catalog, DeletionFiles, PartLocation, Snapshot};
use granary_common::PartId;
use granary_common::random::SeededRandom;
use granary_worker::decisions::{named, named_shared};

use crate::clients::Clients;
use crate::cluster::{COORDINATORS, Cluster, MEMBERS, host_of};
use crate::executor::{self, sleep_ms};
use crate::faults::Machines;
use crate::net::{Host, Net};
use crate::sabotage::Sabotage;
use crate::trace::Trace;

/// For how long a cluster that is well again may take to have every copy where it belongs.
const RECOVERY_MS: u64 = 180_000;
const LOOK_MS: u64 = 500;
/// Readers that look at the end.
const LAST_QUERIES: u64 = 4;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub workers: u64,
    /// For how long faults come, in simulated milliseconds.
    pub faults_ms: u64,
    pub sabotage: Option<Sabotage>,
    /// Whether the story is told on standard error.
    pub is_told: bool,
}

impl Plan {
    /// What a seed stands for where nothing else is said.
    pub fn of(seed: u64) -> Plan {
        Plan { seed, workers: 4, faults_ms: 60_000, sabotage: None, is_told: false }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    pub inserts: u64,
    /// Long inserts that were given up.
    pub given_up: u64,
    pub deletions: u64,
    pub updates: u64,
    pub upserts: u64,
    pub queries: u64,
    pub merges: u64,
    pub splits: u64,
    pub faults: u64,
    /// Simulated time in all.
    pub ms: u64,
    /// The story as a number.
    pub story: u64,
    /// What must never be.
    pub wrong: Vec<String>,
}

/// Runs a plan to its end.
pub fn run(plan: Plan) -> Report {
    let random = Arc::new(SeededRandom::new(plan.seed));
    executor::run(Arc::clone(&random), go(plan, random))
}

async fn go(plan: Plan, random: Arc<SeededRandom>) -> Report {
    let net = Net::new(random, Arc::new(Trace::new(plan.is_told)));
    let cluster = Cluster::new(net, plan.sabotage);
    let machines = Machines::new(&cluster, plan.workers);
    for host in (1..=MEMBERS).map(Host::Metadata).chain((1..=COORDINATORS).map(Host::Coordinator)) {
        machines.start(host).await;
    }
    for number in 1..=plan.workers {
        machines.start(Host::Worker(number)).await;
    }
    let clients = Clients::new(&cluster);
    let mut wrong = Vec::new();
    if let Err(error) = clients.prepare(plan.workers as usize).await {
        wrong.push(format!("the cluster was not formed: {error}"));
    }
    clients.begin(&machines);
    Arc::clone(&machines).mistreat(cluster.now_ms() + plan.faults_ms).await;
    machines.heal();
    recover(&cluster, &machines, &clients).await;
    let mut oracle = clients.oracle.lock();
    wrong.append(&mut oracle.wrong);
    Report {
        seed: plan.seed,
        inserts: oracle.acknowledged,
        given_up: oracle.given_up,
        deletions: oracle.deleted,
        updates: oracle.updated,
        upserts: oracle.keys.acknowledged(),
        queries: oracle.queries,
        merges: cluster.merges(),
        splits: cluster.splits(),
        faults: *machines.faults.lock(),
        ms: cluster.now_ms(),
        story: cluster.net.trace.hash(),
        wrong,
    }
}

/// Waits until everybody has an answer and every copy is where it belongs, then reads all.
async fn recover(cluster: &Arc<Cluster>, machines: &Machines, clients: &Clients) {
    let give_up_ms = cluster.now_ms() + RECOVERY_MS;
    let wrong = loop {
        sleep_ms(LOOK_MS).await;
        machines.heal();
        let wrong = unsettled(cluster, machines, clients).await;
        if wrong.is_none() || cluster.now_ms() >= give_up_ms {
            break wrong;
        }
    };
    if let Some(wrong) = wrong {
        clients.oracle.lock().wrong.push(format!("after {RECOVERY_MS} ms of peace: {wrong}"));
        return;
    }
    cluster.note("settled");
    let mut answered = 0;
    while answered < LAST_QUERIES && cluster.now_ms() < give_up_ms + RECOVERY_MS {
        answered += u64::from(clients.query().await);
        sleep_ms(LOOK_MS).await;
    }
    clients.oracle.lock().finish();
    if answered < LAST_QUERIES {
        clients.oracle.lock().wrong.push("queries have no answer in peace".to_owned());
    }
}

/// What is not yet as it shall be in the end.
async fn unsettled(cluster: &Cluster, machines: &Machines, clients: &Clients) -> Option<String> {
    if !machines.all_run() {
        return Some("a host is down".to_owned());
    }
    if !clients.is_finished() {
        return Some("a client has no answer".to_owned());
    }
    if let Err(error) = clients.fill_all().await {
        return Some(format!("the catalog does not answer: {error}"));
    }
    match clients.unstage().await {
        Ok(false) => {}
        Ok(true) => return Some("something is staged that nobody adds to".to_owned()),
        Err(error) => return Some(format!("the catalog does not answer: {error}")),
    }
    let snapshot = match clients.catalog().read_latest().await {
        Ok(snapshot) => snapshot,
        Err(error) => return Some(format!("the catalog does not answer: {error}")),
    };
    members_differ(cluster, &snapshot)
        .or_else(|| copies_lack(&snapshot))
        .or_else(|| files_differ(machines, &snapshot))
        .or_else(|| far_differs(cluster, &snapshot))
}

/// Members that have applied the same must have the same.
fn members_differ(cluster: &Cluster, snapshot: &Snapshot) -> Option<String> {
    let group = cluster.addresses();
    for number in &group {
        let member = cluster.member(*number)?;
        let known = member.group();
        if known != (group.clone(), true) {
            return Some(format!("for member {number} the group is {known:?}, not {group:?}"));
        }
        let seen = member.snapshot();
        if seen.version == snapshot.version && seen.rows() != snapshot.rows() {
            return Some(format!("member {number} has another catalog"));
        }
    }
    None
}

/// Every bucket has as many replicas in sync as its table wants.
fn copies_lack(snapshot: &Snapshot) -> Option<String> {
    for state in snapshot.tables.values() {
        if state.is_splitting(snapshot.version) {
            return Some(format!("rows of {} have not moved", state.table.name));
        }
        let factor = replication_factor(&state.table.settings, snapshot.workers.len());
        for bucket in state.buckets.values() {
            let all = bucket.replicas.iter().all(|worker| {
                bucket.in_sync.contains(worker) && holds_all(snapshot, state, bucket.index, *worker)
            });
            if bucket.replicas.len() != factor || !all {
                return Some(format!(
                    "bucket {} of {}: {bucket:?}",
                    bucket.index, state.table.name
                ));
            }
        }
    }
    None
}

/// What lies on the shared volume is what the catalog names there.
fn far_differs(cluster: &Cluster, snapshot: &Snapshot) -> Option<String> {
    let (named, there) = (named_shared(snapshot), cluster.far.parts());
    let lost = named.iter().find(|part| !there.contains(part));
    let lost = lost.map(|part| format!("part {part} is not on the shared volume"));
    let is_kept = |part: &&PartId| !named.contains(part) && !snapshot.is_leased(**part);
    let kept = there.iter().find(is_kept);
    lost.or_else(|| kept.map(|part| format!("the shared volume keeps part {part}")))
        .or_else(|| far_deletions_differ(cluster, snapshot))
}

/// So are the files of deletions: those that somebody may need, and at most those that may yet be
/// committed.
fn far_deletions_differ(cluster: &Cluster, snapshot: &Snapshot) -> Option<String> {
    let files = DeletionFiles::of(snapshot, &BTreeSet::new());
    let there = cluster.far.deletions();
    let lost = files.needed.iter().find(|file| !there.contains(file));
    let lost = lost.map(|file| format!("deletions {file} are not on the shared volume"));
    let kept = there.iter().find(|file| files.is_orphan(**file, snapshot.is_leased(**file)));
    lost.or_else(|| kept.map(|file| format!("the shared volume keeps deletions {file}")))
}

/// Copies are whole and alike, and nothing else is on any disk.
fn files_differ(machines: &Machines, snapshot: &Snapshot) -> Option<String> {
    let mut rows: BTreeMap<PartId, Vec<u64>> = BTreeMap::new();
    let parts = snapshot.tables.values().flat_map(|state| state.parts.values());
    for part in parts {
        let PartLocation::Local { copies, .. } = &part.location else { continue };
        for worker in copies {
            let disk = host_of(snapshot, *worker).and_then(|number| machines.disk(number));
            let held = match disk.map(|disk| disk.read(part.id)) {
                Some(Ok(held)) => held,
                other => return Some(format!("part {} at worker {worker}: {other:?}", part.id)),
            };
            if rows.entry(part.id).or_insert_with(|| held.clone()) != &held {
                return Some(format!("copies of part {} differ", part.id));
            }
        }
    }
    for worker in snapshot.workers.keys() {
        let present = named(snapshot, *worker);
        let disk = host_of(snapshot, *worker).and_then(|number| machines.disk(number));
        for part in disk.into_iter().flat_map(|disk| disk.parts()) {
            if !present.contains_key(&part) && !snapshot.is_leased(part) {
                return Some(format!("worker {worker} keeps part {part}, which nobody names"));
            }
        }
    }
    None
}
