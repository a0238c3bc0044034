//! The state machine: the catalog's rows on RocksDB, and the same state in memory for readers.

use std::path::PathBuf;
use std::sync::Arc;

use granary_catalog::{Change, Command, Row, RowKey, Snapshot, apply, codec};
use granary_common::{CatalogVersion, Random, Result, TaskOwner};
use openraft::impls::BasicNode;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership,
};
use parking_lot::Mutex;
use rocksdb::{DB, Direction, IteratorMode, WriteBatch};

use super::disk::{Disk, Durability, STATE, family, storage_error, write_batch};
use super::entry::Applied;
use super::snapshot::SnapshotFolder;
use super::{Store, snapshot};
use crate::feed::{ChangeSet, Feed};
use crate::measure::COMMANDS;
use crate::raft::{Reply, TypeConfig};

/// Generation 0 holds the applied position, beside the rows that it describes.
const APPLIED_KEY: [u8; 4] = [0; 4];
const FIRST_GENERATION: u32 = 1;
/// Rows of one write while a snapshot is installed.
const INSTALL_ROWS: usize = 4096;

/// The applied position of a store; the beginning when nothing was applied yet.
pub(crate) fn read_applied(db: &DB) -> Result<Applied> {
    let bytes = db
        .get_cf(family(db, STATE)?, APPLIED_KEY)
        .map_err(|error| storage_error("cannot read the applied position", &error))?;
    match bytes {
        Some(bytes) => codec::decode(&bytes),
        None => Ok(Applied { generation: FIRST_GENERATION, ..Applied::default() }),
    }
}

fn put_applied(db: &DB, batch: &mut WriteBatch, applied: &Applied) -> Result<()> {
    batch.put_cf(family(db, STATE)?, APPLIED_KEY, codec::encode(applied)?);
    Ok(())
}

fn state_key(generation: u32, key: &RowKey) -> Vec<u8> {
    let mut bytes = generation.to_be_bytes().to_vec();
    bytes.extend(key.to_bytes());
    bytes
}

/// Calls `each` with the stored key and value of every row of a generation.
fn for_each_row(
    db: &DB,
    generation: u32,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let start = generation.to_be_bytes();
    let rows = db.iterator_cf(family(db, STATE)?, IteratorMode::From(&start, Direction::Forward));
    for item in rows {
        let (key, value) =
            item.map_err(|error| storage_error("cannot read the catalog", &error))?;
        let Some(row_key) = key.strip_prefix(&start) else { break };
        each(row_key, &value)?;
    }
    Ok(())
}

fn load(db: &DB, applied: &Applied) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let mut rows = Vec::new();
    for_each_row(db, applied.generation, |_, value| {
        rows.push(Change::Put(codec::decode::<Row>(value)?));
        if rows.len() == INSTALL_ROWS {
            snapshot = snapshot.with_changes(CatalogVersion(0), &rows);
            rows.clear();
        }
        Ok(())
    })?;
    Ok(snapshot.with_changes(applied.version(), &rows))
}

/// The state machine of one node.
#[derive(Debug)]
pub(crate) struct StateMachine {
    disk: Arc<Disk>,
    applied: Applied,
    feed: Arc<Feed>,
    snapshots: Snapshots,
}

/// Where snapshots are made and which one is current.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    current: Arc<Mutex<Option<SnapshotFolder>>>,
    random: Arc<dyn Random>,
    tasks: TaskOwner,
}

impl Snapshots {
    /// Makes a snapshot the current one, unless a newer one was installed while it was taken.
    fn replace(&self, new: SnapshotFolder) {
        let mut current = self.current.lock();
        let newer = current.as_ref().is_some_and(|current| current.position() > new.position());
        let old = if newer { Some(new) } else { current.replace(new) };
        drop(current);
        if let Some(old) = old {
            old.mark_obsolete();
        }
    }
}

impl StateMachine {
    /// Loads the state that survived, publishes it through `feed`, and finds the current snapshot.
    pub fn open(
        store: &Store,
        feed: Arc<Feed>,
        random: Arc<dyn Random>,
        tasks: TaskOwner,
    ) -> Result<Self> {
        let folder = store.folder.join("snapshots");
        snapshot::clear_incoming(&store.folder.join("incoming"))?;
        let current = Arc::new(Mutex::new(SnapshotFolder::newest(&folder)?));
        let applied = read_applied(store.disk.db())?;
        drop_other_generations(store.disk.db(), applied.generation)?;
        feed.reset(load(store.disk.db(), &applied)?, applied.known.clone());
        let snapshots = Snapshots { folder, current, random, tasks };
        Ok(Self { disk: Arc::clone(&store.disk), applied, feed, snapshots })
    }

    async fn apply_entries(&mut self, entries: Vec<Entry<TypeConfig>>) -> Result<Vec<Reply>> {
        let mut state = (*self.feed.snapshot()).clone();
        let mut replies = Vec::with_capacity(entries.len());
        let mut sets = Vec::with_capacity(entries.len());
        let mut applied = self.applied.clone();
        for entry in entries {
            let version = CatalogVersion(entry.log_id.index);
            applied.last = Some(entry.log_id.into());
            let (changes, reply) = match entry.payload {
                EntryPayload::Blank => (Vec::new(), Reply::from(Ok(done()))),
                EntryPayload::Membership(members) => {
                    applied.members_at = Some(entry.log_id.into());
                    applied.members = (&members).into();
                    applied.known.extend(applied.members.addresses.keys());
                    (Vec::new(), Reply::from(Ok(done())))
                }
                EntryPayload::Normal(proposal) => run(&mut state, version, &proposal.command),
            };
            // A refused command moves the version too, so that a reader that waits for this
            // position in the log does not wait for the next change.
            state.version = version;
            replies.push(reply);
            sets.push(Arc::new(ChangeSet { version, changes }));
        }
        let written = applied.clone();
        let changed = sets.clone();
        self.disk
            .write(Durability::Ordered, move |db, batch| put_changes(db, batch, &changed, &written))
            .await?;
        self.applied = applied;
        self.feed.publish(Arc::new(state), sets, &self.applied.known);
        Ok(replies)
    }

    async fn install(&mut self, folder: SnapshotFolder) -> Result<()> {
        let kept = folder.keep(&self.snapshots.folder)?;
        let generation = self.applied.generation + 1;
        let source = kept.clone();
        let old = self.applied.generation;
        let applied = self
            .disk
            .run(move |db| {
                let applied = copy_rows(db, &source.open()?, generation)?;
                drop_generation(db, old)?;
                Ok(applied)
            })
            .await?;
        let state = load(self.disk.db(), &applied)?;
        self.applied = applied;
        self.feed.reset(state, self.applied.known.clone());
        self.snapshots.replace(kept);
        Ok(())
    }
}

fn done() -> granary_catalog::Outcome {
    granary_catalog::Outcome::Done
}

fn run(state: &mut Snapshot, version: CatalogVersion, command: &Command) -> (Vec<Change>, Reply) {
    match apply(state, version, command) {
        Ok(transition) => {
            metrics::counter!(COMMANDS, "result" => "done").increment(1);
            *state = transition.next;
            (transition.changes, Reply::from(Ok(transition.outcome)))
        }
        Err(error) => {
            let kind = error.kind().code();
            metrics::counter!(COMMANDS, "result" => kind).increment(1);
            (Vec::new(), Reply::from(Err(error)))
        }
    }
}

fn put_changes(
    db: &DB,
    batch: &mut WriteBatch,
    sets: &[Arc<ChangeSet>],
    applied: &Applied,
) -> Result<()> {
    let state = family(db, STATE)?;
    for change in sets.iter().flat_map(|set| &set.changes) {
        match change {
            Change::Put(row) => {
                batch.put_cf(state, state_key(applied.generation, &row.key()), codec::encode(row)?);
            }
            Change::Delete(key) => batch.delete_cf(state, state_key(applied.generation, key)),
        }
    }
    put_applied(db, batch, applied)
}

/// Copies the rows of a snapshot under a new generation, then makes that one count in one synced
/// write. A crash before leaves the old state; rows of a generation that never counted are
/// deleted at the next start.
fn copy_rows(db: &DB, source: &DB, generation: u32) -> Result<Applied> {
    let mut applied = read_applied(source)?;
    let prefix = generation.to_be_bytes();
    let mut batch = WriteBatch::default();
    for_each_row(source, applied.generation, |key, value| {
        let mut place = prefix.to_vec();
        place.extend_from_slice(key);
        batch.put_cf(family(db, STATE)?, place, value);
        match batch.len() >= INSTALL_ROWS {
            true => write_batch(db, std::mem::take(&mut batch), Durability::Ordered),
            false => Ok(()),
        }
    })?;
    applied.generation = generation;
    put_applied(db, &mut batch, &applied)?;
    write_batch(db, batch, Durability::Synced)?;
    Ok(applied)
}

fn drop_generation(db: &DB, generation: u32) -> Result<()> {
    delete_range(db, generation, generation + 1)
}

fn drop_other_generations(db: &DB, generation: u32) -> Result<()> {
    delete_range(db, FIRST_GENERATION, generation)?;
    delete_range(db, generation + 1, u32::MAX)
}

fn delete_range(db: &DB, from: u32, to: u32) -> Result<()> {
    if from >= to {
        return Ok(());
    }
    let mut batch = WriteBatch::default();
    batch.delete_range_cf(family(db, STATE)?, from.to_be_bytes(), to.to_be_bytes());
    write_batch(db, batch, Durability::Ordered)
}

impl RaftSnapshotBuilder<TypeConfig> for (Arc<Disk>, Snapshots) {
    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::Snapshot<TypeConfig>, StorageError<u64>> {
        let (disk, snapshots) = self.clone();
        // Not on the write thread: the checkpoint flushes, and log writes need not wait for it.
        let taken = self.1.tasks.spawn_blocking(move || {
            SnapshotFolder::take(disk.db(), &snapshots.folder, &*snapshots.random)
        });
        let taken = taken
            .await
            .map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        let folder = taken.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        let manifest =
            folder.manifest().map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        let meta = manifest.meta();
        self.1.replace(folder.clone());
        Ok(openraft::Snapshot { meta, snapshot: Box::new(folder) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = (Arc<Disk>, Snapshots);

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        Ok((self.applied.last_log_id(), self.applied.membership()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let result = self.apply_entries(entries).await;
        Ok(result.map_err(|error| StorageIOError::write_state_machine(&error))?)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        (Arc::clone(&self.disk), self.snapshots.clone())
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFolder>, StorageError<u64>> {
        Ok(Box::new(SnapshotFolder::default()))
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<SnapshotFolder>,
    ) -> Result<(), StorageError<u64>> {
        let result = self.install(*snapshot).await;
        Ok(result.map_err(|error| StorageIOError::write_snapshot(None, &error))?)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::Snapshot<TypeConfig>>, StorageError<u64>> {
        let current = self.snapshots.current.lock().clone();
        let Some(folder) = current else { return Ok(None) };
        let manifest =
            folder.manifest().map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        Ok(Some(openraft::Snapshot { meta: manifest.meta(), snapshot: Box::new(folder.clone()) }))
    }
}
