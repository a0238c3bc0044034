//! The summaries that reached this node.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::KeySummary;

/// Bytes of summaries that are kept at most.
const BYTES_MAX: u64 = 64 << 20;
/// A query does not need its filters for longer than this, unless its scans began by then.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Parts of a side at most: each is a message to every worker.
pub(super) const PARTS_MAX: usize = 256;

/// Which part of a built side a summary tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltPart {
    pub index: usize,
    /// In how many parts the side is built.
    pub of: usize,
}

impl BuiltPart {
    /// All of the side.
    pub const WHOLE: BuiltPart = BuiltPart { index: 0, of: 1 };
}

/// Summaries by the id that the planner gave them; ids are random and never used twice.
#[derive(Clone)]
pub struct FilterHub {
    filters: moka::sync::Cache<u64, Arc<Gathering>>,
    /// Told of every summary that comes.
    arrived: Arc<Notify>,
}

/// The parts of a side that came so far. Until all of them did, nothing is known.
struct Gathering {
    parts: Mutex<Vec<Option<Arc<KeySummary>>>>,
    all: OnceLock<Arc<KeySummary>>,
    /// What the parts and all of them will take, guessed by the first one.
    size_bytes: usize,
}

impl Gathering {
    fn new(of: usize, first: &KeySummary) -> Self {
        let parts = Mutex::new(vec![None; of]);
        let copies = if of == 1 { 1 } else { 2 * of };
        Self { parts, all: OnceLock::new(), size_bytes: first.size_bytes().saturating_mul(copies) }
    }

    fn add(&self, part: BuiltPart, summary: Arc<KeySummary>) {
        let mut parts = self.parts.lock();
        // Tasks that do not agree in how many parts the side is built never complete it.
        if part.of != parts.len() {
            return;
        }
        if let Some(place) = parts.get_mut(part.index) {
            place.get_or_insert(summary);
        }
        let Some(whole) = parts.iter().cloned().collect::<Option<Vec<_>>>() else { return };
        let merged = match whole.as_slice() {
            [only] => Some(Arc::clone(only)),
            parts => KeySummary::merged(parts).map(Arc::new),
        };
        if let Some(merged) = merged {
            self.all.get_or_init(|| merged);
        }
    }
}

impl std::fmt::Debug for FilterHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FilterHub({} filters)", self.filters.entry_count())
    }
}

impl Default for FilterHub {
    fn default() -> Self {
        let weight =
            |_: &u64, filter: &Arc<Gathering>| u32::try_from(filter.size_bytes).unwrap_or(u32::MAX);
        let filters = moka::sync::Cache::builder()
            .max_capacity(BYTES_MAX)
            .weigher(weight)
            .time_to_live(KEPT_FOR)
            .build();
        Self { filters, arrived: Arc::default() }
    }
}

impl FilterHub {
    /// Takes a summary; the first one of a part stays, since all of them say the same.
    pub fn offer(&self, id: u64, part: BuiltPart, summary: Arc<KeySummary>) {
        if part.index >= part.of || part.of > PARTS_MAX {
            return;
        }
        let gathering = || Arc::new(Gathering::new(part.of, &summary));
        self.filters.entry(id).or_insert_with(gathering).value().add(part, Arc::clone(&summary));
        self.arrived.notify_waiters();
    }

    /// Waits until all of `ids` are there, but not for longer than `patience`.
    pub async fn wait(&self, ids: &[u64], patience: Duration) {
        let all_there = async {
            loop {
                let arrival = self.arrived.notified();
                tokio::pin!(arrival);
                // What comes between the look and the wait counts as well.
                arrival.as_mut().enable();
                if ids.iter().all(|id| self.get(*id).is_some()) {
                    return;
                }
                arrival.await;
            }
        };
        // Without them more rows are read.
        let _ = tokio::time::timeout(patience, all_there).await;
    }

    /// The summary of the whole side, if all parts of it came.
    pub fn get(&self, id: u64) -> Option<Arc<KeySummary>> {
        self.filters.get(&id)?.all.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyCollector;
    use super::*;
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::arrow::datatypes::DataType;

    fn summary(keys: std::ops::Range<i64>) -> Arc<KeySummary> {
        let mut collector = KeyCollector::new(&[DataType::Int64], 1);
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
        collector.add(&[keys]).unwrap();
        Arc::new(collector.finish().expect("a summary"))
    }

    #[test]
    fn a_filter_is_known_when_every_part_of_it_came() {
        let hub = FilterHub::default();
        hub.offer(1, BuiltPart::WHOLE, summary(0..5));
        assert_eq!(hub.get(1).and_then(|all| all.range(0)), Some(0..=4));
        for (index, of) in [(2, 3), (0, 3), (0, 3), (1, 2), (3, 3), (0, PARTS_MAX + 1)] {
            hub.offer(2, BuiltPart { index, of }, summary(0..5));
            assert_eq!(hub.get(2), None, "{index} of {of}");
        }
        hub.offer(2, BuiltPart { index: 1, of: 3 }, summary(5..9));
        assert_eq!(hub.get(2).and_then(|all| all.range(0)), Some(0..=8));
        assert_eq!(hub.get(3), None);
    }
}
