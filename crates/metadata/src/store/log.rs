//! The Raft log and the vote on RocksDB. Everything is synced before it is reported as done.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use granary_catalog::codec;
use granary_common::Result;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError,
    Vote,
};
use rocksdb::{DB, Direction, IteratorMode};

use super::disk::{Disk, Durability, LOG, family, put_meta, read_meta, storage_error};
use super::entry::{StoredEntry, StoredLogId, StoredVote};
use crate::raft::TypeConfig;
use crate::resumed::Resumed;

const VOTE: &str = "vote";
const PURGED: &str = "purged";
/// Bytes of entries that one message to a follower carries, unless the first is larger.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The log of one node.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    disk: Arc<Disk>,
}

impl LogStore {
    pub fn new(disk: Arc<Disk>) -> Self {
        Self { disk }
    }

    /// Whether nothing was ever voted for or written here.
    pub fn is_new(&self) -> Result<bool> {
        let vote: Option<StoredVote> = read_meta(self.disk.db(), VOTE)?;
        Ok(vote.is_none() && self.state()?.last_log_id.is_none())
    }

    /// Whether `node`, whose log this is, led when it stopped.
    pub fn resumed(&self, node: u64) -> Result<Option<Resumed>> {
        let vote: Option<StoredVote> = read_meta(self.disk.db(), VOTE)?;
        let last = self.state()?.last_log_id.map(|id| id.index);
        Ok(vote.and_then(|vote| Resumed::of(node, (vote.term, vote.node, vote.committed), last)))
    }

    fn last(&self) -> Result<Option<StoredLogId>> {
        let db = self.disk.db();
        let mut entries = db.iterator_cf(family(db, LOG)?, IteratorMode::End);
        let Some(entry) = entries.next() else { return Ok(None) };
        let (_, bytes) = entry.map_err(|error| storage_error("cannot read the log", &error))?;
        Ok(Some(codec::decode::<StoredEntry>(&bytes)?.id))
    }

    fn state(&self) -> Result<LogState<TypeConfig>> {
        let purged: Option<StoredLogId> = read_meta(self.disk.db(), PURGED)?;
        let last = self.last()?.or(purged);
        Ok(LogState {
            last_purged_log_id: purged.map(Into::into),
            last_log_id: last.map(Into::into),
        })
    }

    async fn write_entries(&self, entries: Vec<Entry<TypeConfig>>) -> Result<()> {
        for entry in &entries {
            if let openraft::EntryPayload::Normal(proposal) = &entry.payload {
                proposal.mark_written();
            }
        }
        self.disk
            .write(Durability::Synced, move |db, batch| {
                let log = family(db, LOG)?;
                for entry in entries {
                    let stored = StoredEntry::from(entry);
                    batch.put_cf(log, stored.id.index.to_be_bytes(), codec::encode(&stored)?);
                }
                Ok(())
            })
            .await
    }

    async fn delete(&self, from: u64, to: u64, purged: Option<StoredLogId>) -> Result<()> {
        self.disk
            .write(Durability::Synced, move |db, batch| {
                let log = family(db, LOG)?;
                batch.delete_range_cf(log, from.to_be_bytes(), to.to_be_bytes());
                match purged {
                    Some(purged) => put_meta(db, batch, PURGED, &purged),
                    None => Ok(()),
                }
            })
            .await
    }
}

/// The entries `start..end`, as many as fit `bytes_max`, at least one.
fn read_range(
    db: &DB,
    start: u64,
    end: Option<u64>,
    bytes_max: usize,
) -> Result<Vec<Entry<TypeConfig>>> {
    let mut found = Vec::new();
    let mut bytes_total = 0;
    let first = start.to_be_bytes();
    for item in db.iterator_cf(family(db, LOG)?, IteratorMode::From(&first, Direction::Forward)) {
        let (_, bytes) = item.map_err(|error| storage_error("cannot read the log", &error))?;
        let entry: StoredEntry = codec::decode(&bytes)?;
        bytes_total += bytes.len();
        let past_end = end.is_some_and(|end| entry.id.index >= end);
        if past_end || (bytes_total > bytes_max && !found.is_empty()) {
            break;
        }
        found.push(entry.into());
    }
    Ok(found)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => Some(index + 1),
            Bound::Excluded(index) => Some(*index),
            Bound::Unbounded => None,
        };
        let entries = read_range(self.disk.db(), start, end, usize::MAX);
        Ok(entries.map_err(|error| StorageIOError::read_logs(&error))?)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        let entries = read_range(self.disk.db(), start, Some(end), MESSAGE_BYTES_MAX);
        Ok(entries.map_err(|error| StorageIOError::read_logs(&error))?)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        Ok(self.state().map_err(|error| StorageIOError::read_logs(&error))?)
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let vote = StoredVote::from(vote);
        let write =
            self.disk.write(Durability::Synced, move |db, batch| put_meta(db, batch, VOTE, &vote));
        Ok(write.await.map_err(|error| StorageIOError::write_vote(&error))?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        let vote: Option<StoredVote> =
            read_meta(self.disk.db(), VOTE).map_err(|error| StorageIOError::read_vote(&error))?;
        Ok(vote.map(Into::into))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        match self.write_entries(entries).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                callback.log_io_completed(Err(std::io::Error::other(error.to_string())));
                Err(StorageIOError::write_logs(AnyError::new(&error)).into())
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        // One batch: no hole is ever left.
        let result = self.delete(log_id.index, u64::MAX, None).await;
        Ok(result.map_err(|error| StorageIOError::write_logs(&error))?)
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let result = self.delete(0, log_id.index + 1, Some(log_id.into())).await;
        Ok(result.map_err(|error| StorageIOError::write_logs(&error))?)
    }
}
