//! What must be in the tables.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Summary;

/// Rows of a batch.
pub const BATCH_ROWS: u64 = 50;
/// Clients that insert.
pub const WRITERS: usize = 3;

/// Acknowledged batches, numbered from 0 for each writer, and those that were deleted.
#[derive(Debug, Default)]
pub struct Model {
    /// How many of each writer are acknowledged.
    acknowledged: [AtomicU64; WRITERS],
    repeated: AtomicU64,
    /// (writer, batch) whose deletion was asked for, and is acknowledged when the work has stopped.
    deleted: Mutex<BTreeSet<(u64, u64)>>,
}

impl Model {
    /// Acknowledged batches of a writer.
    pub fn acknowledged(&self, writer: usize) -> u64 {
        self.acknowledged[writer].load(Ordering::SeqCst)
    }

    /// The next batch of a writer was acknowledged.
    pub fn acknowledge(&self, writer: usize) {
        self.acknowledged[writer].fetch_add(1, Ordering::SeqCst);
    }

    /// A batch was sent again and gave the first answer.
    pub fn note_repeated(&self) {
        self.repeated.fetch_add(1, Ordering::SeqCst);
    }

    /// A batch is about to be deleted; `false` when that was done before.
    pub fn delete(&self, writer: u64, batch: u64) -> bool {
        self.lock().insert((writer, batch))
    }

    /// Deleted batches.
    pub fn deleted(&self) -> BTreeSet<(u64, u64)> {
        self.lock().clone()
    }

    /// Rows of all acknowledged batches.
    pub fn rows_acknowledged(&self) -> u64 {
        (0..WRITERS).map(|writer| self.acknowledged(writer)).sum::<u64>() * BATCH_ROWS
    }

    /// Rows of batches that were deleted or are about to be.
    pub fn rows_deleted(&self) -> u64 {
        self.lock().len() as u64 * BATCH_ROWS
    }

    /// Adds up what was acknowledged.
    pub fn count(&self, summary: &mut Summary) {
        summary.inserts_acknowledged = self.rows_acknowledged() / BATCH_ROWS;
        summary.inserts_repeated = self.repeated.load(Ordering::SeqCst);
        summary.deletes_acknowledged = self.lock().len() as u64;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(u64, u64)>> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
