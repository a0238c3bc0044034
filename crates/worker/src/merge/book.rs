//! Which merges run on this worker: no part is in two of them.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use granary_catalog::PartitionValue;
use granary_common::{BucketIndex, PartId, TableId, WorkerId};
use granary_execution::RunningMerge;
use granary_storage::merge::MergeProgress;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where merges happen: parts of different lanes never meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    pub table: TableId,
    pub bucket: BucketIndex,
    pub partition: PartitionValue,
}

/// A merge that runs.
#[derive(Debug)]
pub struct Entry {
    pub lane: Lane,
    /// In insert order.
    pub parts: Vec<PartId>,
    pub bytes: u64,
    pub rows: u64,
    pub progress: Arc<MergeProgress>,
    /// On the monotonic clock.
    pub started_ms: u64,
    /// Whether a statement asked for it.
    pub is_optimize: bool,
}

/// The merges that run.
#[derive(Debug, Default)]
pub struct Book {
    running: Mutex<Running>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

/// A merge's place in the book; it ends when this is dropped.
#[derive(Debug)]
pub struct Place {
    book: Arc<Book>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.book.running.lock().entries.remove(&self.number);
        self.book.ended.notify_waiters();
    }
}

impl Book {
    /// Enters a merge. `None` when one of its parts is in another one.
    pub fn enter(self: &Arc<Self>, entry: Entry) -> Option<Place> {
        let mut running = self.running.lock();
        let is_taken = |part: &PartId| running.entries.values().any(|e| e.parts.contains(part));
        if entry.parts.iter().any(is_taken) {
            return None;
        }
        let number = running.next;
        running.next += 1;
        running.entries.insert(number, entry);
        Some(Place { book: Arc::clone(self), number })
    }

    /// The parts that merges work on.
    pub fn busy(&self) -> HashSet<PartId> {
        let running = self.running.lock();
        running.entries.values().flat_map(|entry| entry.parts.iter().copied()).collect()
    }

    /// How many merges run and how many bytes they read.
    pub fn load(&self) -> (usize, u64) {
        let running = self.running.lock();
        (running.entries.len(), running.entries.values().map(|entry| entry.bytes).sum())
    }

    /// Waits until no merge works on any of `parts`. Returns whether it had to wait.
    pub async fn wait_until_free(&self, parts: &[PartId]) -> bool {
        let mut has_waited = false;
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            let busy = self.busy();
            if !parts.iter().any(|part| busy.contains(part)) {
                return has_waited;
            }
            has_waited = true;
            ended.await;
        }
    }

    /// Waits until a merge ends.
    pub async fn one_ended(&self) {
        self.ended.notified().await;
    }

    /// What runs, the oldest first.
    pub fn list(&self, worker: WorkerId, now_ms: u64) -> Vec<RunningMerge> {
        let running = self.running.lock();
        let listed = running.entries.values().map(|entry| RunningMerge {
            worker,
            table: entry.lane.table,
            bucket: entry.lane.bucket,
            partition: entry.lane.partition.to_string(),
            parts: entry.parts.clone(),
            bytes: entry.bytes,
            rows: entry.rows,
            rows_read: entry.progress.rows_read.load(Ordering::Relaxed),
            rows_written: entry.progress.rows_written.load(Ordering::Relaxed),
            elapsed_ms: now_ms.saturating_sub(entry.started_ms),
            is_optimize: entry.is_optimize,
        });
        listed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(parts: &[u64]) -> Entry {
        Entry {
            lane: Lane {
                table: TableId(1),
                bucket: BucketIndex(0),
                partition: PartitionValue::default(),
            },
            parts: parts.iter().copied().map(PartId).collect(),
            bytes: 10,
            rows: 5,
            progress: Arc::default(),
            started_ms: 100,
            is_optimize: false,
        }
    }

    #[tokio::test]
    async fn a_part_is_in_one_merge_at_a_time() {
        let book = Arc::new(Book::default());
        let place = book.enter(entry(&[1, 2])).unwrap();
        assert!(book.enter(entry(&[2, 3])).is_none());
        let other = book.enter(entry(&[3])).unwrap();
        assert_eq!(book.load(), (2, 20));
        assert_eq!(book.list(WorkerId(1), 150)[0].elapsed_ms, 50);
        assert!(!book.wait_until_free(&[PartId(4)]).await);
        let release = async {
            tokio::task::yield_now().await;
            drop(place);
        };
        let (has_waited, ()) = tokio::join!(book.wait_until_free(&[PartId(1)]), release);
        assert!(has_waited);
        drop(other);
        assert_eq!(book.load(), (0, 0));
    }
}
