//! The consensus library over the simulated network, and its stores in memory. What was written and
//! not synced is lost with the host, or its end is.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use granary_catalog::{Change, Command, Outcome, Row, Snapshot, apply, codec};
use granary_common::{CatalogVersion, Error, ErrorKind, Result};
use granary_metadata::decisions::Resumed;
use openraft::impls::BasicNode;
use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    AnyError, Entry, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader,
    RaftSnapshotBuilder, SnapshotMeta, StorageError, StorageIOError, StoredMembership, Vote,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::executor;
use crate::net::Host;
use crate::sabotage::Sabotage;

openraft::declare_raft_types!(
    /// Catalog commands in, outcomes back.
    pub Types:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = crate::runtime::Simulated,
);

/// A member's handle.
pub type Raft = openraft::Raft<Types>;

/// A command on its way into the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposal {
    pub command: Command,
    /// Set when the proposer begins to write it; a refusal before that is certain.
    #[serde(skip)]
    pub written: Arc<AtomicBool>,
}

/// What came of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply(pub std::result::Result<Outcome, (ErrorKind, String)>);

impl Reply {
    pub fn into_result(self) -> Result<Outcome> {
        self.0.map_err(|(kind, message)| Error::new(kind, message))
    }
}

/// What a member keeps.
#[derive(Debug, Default)]
struct Kept {
    vote: Option<Vote<u64>>,
    log: BTreeMap<u64, Entry<Types>>,
    /// Entries before this index are synced.
    synced: u64,
    purged: Option<LogId<u64>>,
    snapshot: Option<(SnapshotMeta<u64, BasicNode>, Vec<u8>)>,
    snapshots: u64,
}

/// The disk of a member, in one life of it. Writes of an earlier life have no effect.
#[derive(Clone, Debug)]
pub struct MemberDisk {
    kept: Arc<Mutex<Kept>>,
    cluster: Arc<Cluster>,
    host: Host,
    life: u64,
}

/// Milliseconds that a sync takes.
const SYNC_MS: std::ops::Range<u64> = 1..6;

impl MemberDisk {
    /// An empty disk of a host.
    pub fn new(cluster: &Arc<Cluster>, host: Host) -> MemberDisk {
        MemberDisk { kept: Arc::default(), cluster: Arc::clone(cluster), host, life: 0 }
    }

    /// The same disk in another life: of what was not synced, some of the beginning is there.
    pub fn reopen(&self, life: u64) -> MemberDisk {
        let mut kept = self.kept.lock();
        let last = kept.log.keys().next_back().map_or(0, |last| last + 1);
        if last > kept.synced {
            let until = self.cluster.net.pick(kept.synced..last + 1);
            kept.log.split_off(&until);
        }
        kept.synced = kept.log.keys().next_back().map_or(0, |last| last + 1);
        MemberDisk { life, ..self.clone() }
    }

    /// Whether the member led when its host died.
    pub fn resumed(&self, number: u64) -> Option<Resumed> {
        let kept = self.kept.lock();
        let last = kept.log.keys().next_back().copied();
        let last = last.or(kept.purged.map(|id| id.index));
        let vote = kept.vote?;
        let leader = vote.leader_id();
        Resumed::of(number, (leader.term, leader.node_id, vote.committed), last)
    }

    /// Waits for the disk; fails when the host has died meanwhile.
    async fn sync(&self) -> std::io::Result<()> {
        let net = &self.cluster.net;
        net.breathe(self.host).await;
        executor::sleep_ms(net.pick(SYNC_MS)).await;
        match net.is_alive(self.host, self.life) {
            true => Ok(()),
            false => Err(std::io::Error::other("the host is dead")),
        }
    }

    fn is_alive(&self) -> bool {
        self.cluster.net.is_alive(self.host, self.life)
    }
}

impl RaftLogReader<Types> for MemberDisk {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StorageError<u64>> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        if let (Bound::Included(from), Bound::Excluded(to)) = bounds
            && from >= to
        {
            return Ok(Vec::new());
        }
        Ok(self.kept.lock().log.range(bounds).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Types> for MemberDisk {
    type LogReader = MemberDisk;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError<u64>> {
        let kept = self.kept.lock();
        let last = kept.log.values().next_back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last.or(kept.purged) })
    }

    async fn get_log_reader(&mut self) -> MemberDisk {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        self.sync().await.map_err(|error| StorageIOError::write_vote(&error))?;
        self.kept.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.kept.lock().vote)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        if !self.is_alive() {
            let dead = std::io::Error::other("the host is dead");
            return Err(StorageIOError::write_logs(AnyError::new(&dead)).into());
        }
        let mut until = 0;
        for entry in entries {
            if let EntryPayload::Normal(proposal) = &entry.payload {
                proposal.written.store(true, Ordering::SeqCst);
            }
            until = entry.log_id.index + 1;
            self.kept.lock().log.insert(entry.log_id.index, entry);
        }
        if let Err(error) = self.sync().await {
            let failed = StorageIOError::write_logs(AnyError::new(&error));
            callback.log_io_completed(Err(error));
            return Err(failed.into());
        }
        if self.cluster.sabotage != Some(Sabotage::UnsyncedLog) {
            let mut kept = self.kept.lock();
            kept.synced = kept.synced.max(until);
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.sync().await.map_err(|error| StorageIOError::write_logs(&error))?;
        let mut kept = self.kept.lock();
        kept.log.split_off(&log_id.index);
        kept.synced = kept.synced.min(log_id.index);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.sync().await.map_err(|error| StorageIOError::write_logs(&error))?;
        let mut kept = self.kept.lock();
        kept.log = kept.log.split_off(&(log_id.index + 1));
        kept.purged = Some(log_id);
        Ok(())
    }
}

/// The catalog as a member has applied it. A restart begins at the newest snapshot.
#[derive(Clone, Debug)]
pub struct Machine {
    disk: MemberDisk,
    applied: Arc<Mutex<Position>>,
    state: watch::Sender<Arc<Snapshot>>,
}

#[derive(Clone, Debug, Default)]
struct Position {
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
}

impl Machine {
    /// The machine over a disk, and where its state can be seen.
    pub fn open(disk: MemberDisk) -> (Machine, watch::Receiver<Arc<Snapshot>>) {
        let kept = disk.kept.lock().snapshot.clone();
        let (state, seen) = watch::channel(Arc::default());
        let machine = Machine { disk, applied: Arc::default(), state };
        if let Some((meta, bytes)) = kept {
            machine.restore(&meta, &bytes);
        }
        (machine, seen)
    }

    fn restore(&self, meta: &SnapshotMeta<u64, BasicNode>, bytes: &[u8]) {
        let rows: Vec<Row> = codec::decode(bytes).unwrap_or_default();
        let changes: Vec<Change> = rows.into_iter().map(Change::Put).collect();
        let version = CatalogVersion(meta.last_log_id.map_or(0, |id| id.index));
        let state = Snapshot::default().with_changes(version, &changes);
        *self.applied.lock() =
            Position { last: meta.last_log_id, membership: meta.last_membership.clone() };
        self.state.send_replace(Arc::new(state));
    }

    fn run(&self, entry: Entry<Types>) -> Reply {
        let version = CatalogVersion(entry.log_id.index);
        let mut state = (**self.state.borrow()).clone();
        let mut applied = self.applied.lock();
        applied.last = Some(entry.log_id);
        let mut reply = Reply(Ok(Outcome::Done));
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(members) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), members);
            }
            EntryPayload::Normal(proposal) => {
                let mut command = proposal.command;
                if let Some(sabotage) = self.disk.cluster.sabotage {
                    sabotage.spoil(&mut command, version, &state);
                }
                match apply(&state, version, &command) {
                    Ok(transition) => {
                        state = transition.next;
                        reply = Reply(Ok(transition.outcome));
                    }
                    Err(error) => reply = Reply(Err((error.kind(), error.message().to_owned()))),
                }
            }
        }
        state.version = version;
        self.state.send_replace(Arc::new(state));
        reply
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<openraft::Snapshot<Types>, StorageError<u64>> {
        let (applied, state) = (self.applied.lock().clone(), self.state.borrow().clone());
        let bytes = codec::encode(&state.rows())
            .map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        self.disk.sync().await.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        let mut kept = self.disk.kept.lock();
        kept.snapshots += 1;
        let index = applied.last.map_or(0, |id| id.index);
        let meta = SnapshotMeta {
            last_log_id: applied.last,
            last_membership: applied.membership,
            snapshot_id: format!("{index}-{}", kept.snapshots),
        };
        kept.snapshot = Some((meta.clone(), bytes.clone()));
        Ok(openraft::Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        let applied = self.applied.lock().clone();
        Ok((applied.last, applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        Ok(entries.into_iter().map(|entry| self.run(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        self.disk.sync().await.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        let bytes = snapshot.into_inner();
        self.restore(meta, &bytes);
        self.disk.kept.lock().snapshot = Some((meta.clone(), bytes));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::Snapshot<Types>>, StorageError<u64>> {
        let kept = self.disk.kept.lock().snapshot.clone();
        Ok(kept.map(|(meta, bytes)| openraft::Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        }))
    }
}
