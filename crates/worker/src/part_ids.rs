//! Part ids from leased ranges.
//!
//! ```text
//!   lease ─► current ─ used up, or old ─► retired ─ nobody can commit from it any more ─► given back
//! ```
//!
//! A sweep deletes files only under ids that no lease covers, so ranges are given back: else what
//! failed writes leave would stay as long as the worker runs.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use granary_catalog::{Catalog, CommandBody, Outcome};
use granary_common::{Error, ErrorKind, PartId, Result, WorkerId};
use granary_storage::PartIds;
use parking_lot::Mutex;

/// Ids of one lease.
const LEASE: u64 = 1024;
/// How long a range is kept after its last id was given, and used before another one is taken: a day.
/// A write that is not committed by then is refused and done again.
const KEEP_MS: u64 = 24 * 3_600_000;

/// Gives ids out of the range that this incarnation leased, and leases the next one when it is used
/// up.
#[derive(Debug)]
pub struct LeasedPartIds {
    catalog: Arc<dyn Catalog>,
    worker: WorkerId,
    incarnation: AtomicU64,
    ranges: Mutex<Ranges>,
    /// Held while a range is leased, and by a sweep: a sweep must know of every lease.
    leasing: tokio::sync::Mutex<()>,
}

/// What is leased.
#[derive(Debug, Default)]
struct Ranges {
    /// Where the range began that ids are given from; `None` before the first one.
    start: Option<u64>,
    current: Range<u64>,
    /// Since when, as far as somebody has looked.
    since_ms: Option<u64>,
    retired: Vec<Retired>,
    /// Work that takes long between its id and its commit, by when it began.
    holds: BTreeSet<u64>,
    /// Counts what begins and ends here, so that it has an order.
    turn: u64,
}

/// A range that no id is given from any more.
#[derive(Debug)]
struct Retired {
    start: u64,
    turn: u64,
    since_ms: Option<u64>,
}

impl Ranges {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn retire(&mut self) {
        let turn = self.next_turn();
        self.since_ms = None;
        self.current = 0..0;
        if let Some(start) = self.start.take() {
            self.retired.push(Retired { start, turn, since_ms: None });
        }
    }

    /// The ranges that may be given back at `now_ms`. One that is in use for long is retired first.
    fn expired(&mut self, now_ms: u64) -> Vec<u64> {
        let is_over = |since_ms: u64| now_ms.saturating_sub(since_ms) >= KEEP_MS;
        if is_over(*self.since_ms.get_or_insert(now_ms)) {
            self.retire();
        }
        let oldest = self.holds.first().copied().unwrap_or(u64::MAX);
        let mut expired = Vec::new();
        for range in &mut self.retired {
            // Work that began before the range was used up may have an id of it.
            if is_over(*range.since_ms.get_or_insert(now_ms)) && range.turn < oldest {
                expired.push(range.start);
            }
        }
        expired
    }
}

/// Keeps the ranges from being given back that an id may come from meanwhile.
#[derive(Debug)]
pub struct Hold {
    ids: Arc<LeasedPartIds>,
    turn: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ids.ranges.lock().holds.remove(&self.turn);
    }
}

impl LeasedPartIds {
    /// No lease yet; the first id takes one.
    pub fn new(catalog: Arc<dyn Catalog>, worker: WorkerId, incarnation: u64) -> Self {
        Self {
            catalog,
            worker,
            incarnation: AtomicU64::new(incarnation),
            ranges: Mutex::default(),
            leasing: tokio::sync::Mutex::new(()),
        }
    }

    /// As long as the guard lives, no range is leased.
    pub async fn hold_leases(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.leasing.lock().await
    }

    /// As long as the guard lives, ids that are given from now on can be committed, however long
    /// that takes.
    pub fn hold(self: &Arc<Self>) -> Hold {
        let mut ranges = self.ranges.lock();
        let turn = ranges.next_turn();
        ranges.holds.insert(turn);
        Hold { ids: Arc::clone(self), turn }
    }

    /// The incarnation that leases ranges now.
    pub fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    /// The worker has registered again: what was leased before has expired, and a commit that
    /// names such an id is refused, so the rest of it is not given out.
    pub async fn begin(&self, incarnation: u64) {
        let _leasing = self.leasing.lock().await;
        self.incarnation.store(incarnation, Ordering::SeqCst);
        let mut ranges = self.ranges.lock();
        let (turn, holds) = (ranges.turn, std::mem::take(&mut ranges.holds));
        *ranges = Ranges { turn, holds, ..Ranges::default() };
    }

    /// Gives back the ranges from which nothing can be under way any more at `now_ms` of the
    /// monotonic clock.
    pub async fn give_back(&self, now_ms: u64) -> Result<()> {
        let expired = self.ranges.lock().expired(now_ms);
        for start in expired {
            let command = CommandBody::ReleasePartIds {
                worker: self.worker,
                incarnation: self.incarnation(),
                start,
            };
            match self.catalog.execute(command).await {
                // Registered again meanwhile: it has expired.
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => self.ranges.lock().retired.retain(|range| range.start != start),
            }
        }
        Ok(())
    }

    fn take(&self) -> Option<PartId> {
        self.ranges.lock().current.next().map(PartId)
    }

    async fn lease(&self) -> Result<()> {
        let command = CommandBody::LeasePartIds {
            worker: self.worker,
            incarnation: self.incarnation(),
            count: LEASE,
        };
        match self.catalog.execute(command).await {
            Ok((_, Outcome::PartIdsLeased(range))) => {
                let mut ranges = self.ranges.lock();
                ranges.retire();
                ranges.start = Some(range.start);
                ranges.current = range.start..range.end;
                Ok(())
            }
            Ok((_, other)) => Err(Error::internal(format!("a lease brought about {other:?}"))),
            Err(error) => Err(Error::unavailable(format!("part ids cannot be leased: {error}"))),
        }
    }
}

#[async_trait]
impl PartIds for LeasedPartIds {
    async fn next(&self) -> Result<PartId> {
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let _leasing = self.leasing.lock().await;
        loop {
            // Somebody else may have leased while we waited, and used it up.
            if let Some(id) = self.take() {
                return Ok(id);
            }
            self.lease().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_catalog::MemoryCatalog;
    use granary_common::SystemClock;

    use super::*;

    async fn registered() -> (Arc<MemoryCatalog>, Arc<LeasedPartIds>) {
        let catalog = Arc::new(MemoryCatalog::new("test", SystemClock::shared()).unwrap());
        let register = CommandBody::RegisterWorker {
            identity: "w".into(),
            address: "w:1".into(),
            zone: String::new(),
            software_version: "1".into(),
        };
        catalog.execute(register).await.unwrap();
        let of: Arc<dyn Catalog> = Arc::clone(&catalog) as Arc<dyn Catalog>;
        (catalog, Arc::new(LeasedPartIds::new(of, WorkerId(1), 1)))
    }

    async fn use_up(ids: &LeasedPartIds) {
        for _ in 0..LEASE {
            ids.next().await.unwrap();
        }
    }

    #[tokio::test]
    async fn ranges_are_given_back_when_nothing_can_be_under_way() {
        let (catalog, ids) = registered().await;
        let leased = || catalog.snapshot().part_id_ranges.len();
        ids.give_back(0).await.unwrap();
        let first = ids.next().await.unwrap();
        use_up(&ids).await;
        assert_eq!(leased(), 2);
        ids.give_back(10).await.unwrap();
        ids.give_back(KEEP_MS).await.unwrap();
        assert_eq!(leased(), 2, "not kept for long enough");
        assert!(catalog.snapshot().may_reference_part(first));
        ids.give_back(KEEP_MS + 10).await.unwrap();
        assert_eq!(leased(), 1);
        assert!(!catalog.snapshot().may_reference_part(first));
        // The one in use is old as well, and goes when it was kept.
        ids.give_back(2 * KEEP_MS + 10).await.unwrap();
        assert_eq!(leased(), 0);
        let next = ids.next().await.unwrap();
        assert!(catalog.snapshot().may_reference_part(next));
    }

    #[tokio::test]
    async fn long_work_keeps_its_ids() {
        let (catalog, ids) = registered().await;
        let early = ids.next().await.unwrap();
        use_up(&ids).await;
        let hold = ids.hold();
        let held = ids.next().await.unwrap();
        use_up(&ids).await;
        for now_ms in [1, 2 * KEEP_MS, 4 * KEEP_MS, 6 * KEEP_MS] {
            ids.give_back(now_ms).await.unwrap();
        }
        assert!(!catalog.snapshot().may_reference_part(early), "of before");
        assert!(catalog.snapshot().may_reference_part(held));
        drop(hold);
        ids.give_back(8 * KEEP_MS).await.unwrap();
        assert!(!catalog.snapshot().may_reference_part(held));
    }

    #[tokio::test]
    async fn a_new_incarnation_begins_anew() {
        let (catalog, ids) = registered().await;
        ids.next().await.unwrap();
        let register = CommandBody::RegisterWorker {
            identity: "w".into(),
            address: "w:1".into(),
            zone: String::new(),
            software_version: "1".into(),
        };
        catalog.execute(register).await.unwrap();
        ids.begin(2).await;
        for now_ms in [1, 2 * KEEP_MS, 4 * KEEP_MS] {
            ids.give_back(now_ms).await.unwrap();
        }
        let next = ids.next().await.unwrap();
        assert!(catalog.snapshot().may_reference_part(next));
    }
}
