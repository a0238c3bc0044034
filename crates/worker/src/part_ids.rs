//! Part ids from leased ranges.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use granary_catalog::{Catalog, CommandBody, Outcome};
use granary_common::{Error, PartId, Result, WorkerId};
use granary_storage::PartIds;
use parking_lot::Mutex;

/// Ids of one lease.
const LEASE: u64 = 1024;

/// Gives ids out of the range that this incarnation leased, and leases the next one when it is used
/// up.
#[derive(Debug)]
pub struct LeasedPartIds {
    catalog: Arc<dyn Catalog>,
    worker: WorkerId,
    incarnation: AtomicU64,
    range: Mutex<Range<u64>>,
    /// Held while a range is leased, and by a sweep: a sweep must know of every lease.
    leasing: tokio::sync::Mutex<()>,
}

impl LeasedPartIds {
    /// No lease yet; the first id takes one.
    pub fn new(catalog: Arc<dyn Catalog>, worker: WorkerId, incarnation: u64) -> Self {
        Self {
            catalog,
            worker,
            incarnation: AtomicU64::new(incarnation),
            range: Mutex::new(0..0),
            leasing: tokio::sync::Mutex::new(()),
        }
    }

    /// As long as the guard lives, no range is leased.
    pub async fn hold_leases(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.leasing.lock().await
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
        *self.range.lock() = 0..0;
    }

    fn take(&self) -> Option<PartId> {
        self.range.lock().next().map(PartId)
    }

    async fn lease(&self) -> Result<()> {
        let command = CommandBody::LeasePartIds {
            worker: self.worker,
            incarnation: self.incarnation(),
            count: LEASE,
        };
        match self.catalog.execute(command).await {
            Ok((_, Outcome::PartIdsLeased(range))) => {
                *self.range.lock() = range.start..range.end;
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
