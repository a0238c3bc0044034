//! Which buckets a table has had. See [`crate::layout`].

use granary_common::{BucketIndex, CatalogVersion};
use serde::{Deserialize, Serialize};

/// Where the numbers of a table's buckets begin, and those that it had before: numbers are never used
/// again, so the bucket of a part also says how many buckets there were when its rows were dealt out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketHistory {
    /// The number of the first bucket.
    pub first: u32,
    /// Of before, the oldest first, as long as parts are in them that somebody may need.
    pub earlier: Vec<EarlierBuckets>,
}

impl BucketHistory {
    /// Whether the buckets are those with which the table was made.
    pub fn is_first(&self) -> bool {
        *self == BucketHistory::default()
    }
}

/// Buckets that a table had until its rows were dealt out to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierBuckets {
    pub first: u32,
    pub buckets: u32,
    /// The first version at which nothing is inserted into them.
    pub until: CatalogVersion,
}

impl EarlierBuckets {
    /// Whether `index` is one of them.
    pub fn has(&self, index: BucketIndex) -> bool {
        index.0.checked_sub(self.first).is_some_and(|position| position < self.buckets)
    }
}
