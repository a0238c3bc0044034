//! The summaries that reached this node.

use std::sync::Arc;
use std::time::Duration;

use super::KeySummary;

/// Bytes of summaries that are kept at most.
const BYTES_MAX: u64 = 64 << 20;
/// A query does not need its filters for longer than this, unless its scans began by then.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// Summaries by the id that the planner gave them; ids are random and never used twice.
#[derive(Clone)]
pub struct FilterHub {
    summaries: moka::sync::Cache<u64, Arc<KeySummary>>,
}

impl std::fmt::Debug for FilterHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FilterHub({} filters)", self.summaries.entry_count())
    }
}

impl Default for FilterHub {
    fn default() -> Self {
        let weight = |_: &u64, summary: &Arc<KeySummary>| {
            u32::try_from(summary.size_bytes()).unwrap_or(u32::MAX)
        };
        let summaries = moka::sync::Cache::builder()
            .max_capacity(BYTES_MAX)
            .weigher(weight)
            .time_to_live(KEPT_FOR)
            .build();
        Self { summaries }
    }
}

impl FilterHub {
    /// Takes a summary; the first of an id stays, since all of them say the same.
    pub fn offer(&self, id: u64, summary: Arc<KeySummary>) {
        self.summaries.entry(id).or_insert(summary);
    }

    /// The summary, if it came.
    pub fn get(&self, id: u64) -> Option<Arc<KeySummary>> {
        self.summaries.get(&id)
    }
}
