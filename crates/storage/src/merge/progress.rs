//! How far a merge is, and how fast it may go.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

/// Slows a merge down, or lets it wait.
#[async_trait]
pub trait Throttle: Send + Sync + Debug {
    /// Comes back when the merge may go on after having read about `bytes` more of its inputs' files.
    /// A merge that is dropped while it waits ends like any other.
    async fn admit(&self, bytes: u64);
}

/// Never waits.
#[derive(Debug)]
pub struct Unthrottled;

#[async_trait]
impl Throttle for Unthrottled {
    async fn admit(&self, _: u64) {}
}

/// How far a merge is; read by others while it runs.
#[derive(Debug)]
pub struct MergeProgress {
    /// Rows of all inputs that are not deleted, once the merge has begun.
    pub rows_total: AtomicU64,
    pub rows_read: AtomicU64,
    pub rows_written: AtomicU64,
    /// Of the merged part's files, as far as they are written.
    pub bytes_written: Arc<AtomicU64>,
    throttle: Arc<dyn Throttle>,
}

impl Default for MergeProgress {
    fn default() -> Self {
        MergeProgress::new(Arc::new(Unthrottled))
    }
}

impl MergeProgress {
    /// Of a merge that has not begun.
    pub fn new(throttle: Arc<dyn Throttle>) -> MergeProgress {
        MergeProgress {
            rows_total: AtomicU64::new(0),
            rows_read: AtomicU64::new(0),
            rows_written: AtomicU64::new(0),
            bytes_written: Arc::default(),
            throttle,
        }
    }

    /// From 0 to 1, by the rows read.
    pub fn fraction(&self) -> f64 {
        let total = self.rows_total.load(Ordering::Relaxed);
        match total {
            0 => 0.0,
            total => (self.rows_read.load(Ordering::Relaxed) as f64 / total as f64).min(1.0),
        }
    }

    /// Waits where the work is to be slower; so many bytes were read.
    pub(crate) async fn admit(&self, bytes: u64) {
        self.throttle.admit(bytes).await;
    }

    /// Rows that were read and written without being looked at.
    pub(crate) fn note_rows(&self, rows: u64) {
        self.rows_total.store(rows, Ordering::Relaxed);
        self.rows_read.store(rows, Ordering::Relaxed);
        self.rows_written.store(rows, Ordering::Relaxed);
    }

    pub(super) async fn read(&self, rows: u64, bytes: u64) {
        self.rows_read.fetch_add(rows, Ordering::Relaxed);
        self.throttle.admit(bytes).await;
    }
}
