//! Tables whose number of buckets changed: which rows may be where until all of them have moved.
//!
//! ```text
//!   MODIFY BUCKETS 8    buckets 0..4 ─► (old parts, read and deleted from as before)
//!                              │ split, oldest first: inputs out, outputs in, at one version
//!                              ▼
//!                       buckets 4..12 ◄── whatever is inserted from then on
//! ```
//!
//! A row of hash h is in bucket `first + h mod n` of some numbering with n buckets. Where rows lie in
//! several numberings, the hash modulo the greatest common divisor of their counts still says which rows
//! may meet: that is a row's class, and the classes are what queries take for buckets.

use granary_common::{BucketIndex, CatalogVersion};

use crate::model::{EarlierBuckets, Part, Table};
use crate::snapshot::TableState;
use std::sync::Arc;

impl Table {
    /// The bucket at `position`, below [`Table::buckets`].
    pub fn bucket_at(&self, position: u32) -> BucketIndex {
        BucketIndex(self.options.layout.first + position)
    }

    /// Whether rows are inserted into the bucket.
    pub fn takes_rows_in(&self, index: BucketIndex) -> bool {
        index
            .0
            .checked_sub(self.options.layout.first)
            .is_some_and(|position| position < self.buckets)
    }

    /// The numbering that the bucket belongs to, as its first bucket and their count.
    pub fn numbering_of(&self, index: BucketIndex) -> Option<(u32, u32)> {
        if self.takes_rows_in(index) {
            return Some((self.options.layout.first, self.buckets));
        }
        let earlier = self.options.layout.earlier.iter().find(|earlier| earlier.has(index));
        earlier.map(|earlier| (earlier.first, earlier.buckets))
    }

    /// The first version at which rows were dealt out to the buckets that it has now.
    pub fn buckets_since(&self) -> CatalogVersion {
        self.options
            .layout
            .earlier
            .iter()
            .map(|earlier| earlier.until)
            .max()
            .unwrap_or(CatalogVersion(0))
    }
}

impl TableState {
    /// Parts that a query at `version` sees in buckets of before, whose rows are to move.
    pub fn parts_to_split(&self, version: CatalogVersion) -> impl Iterator<Item = &Arc<Part>> {
        let has_earlier = !self.table.options.layout.earlier.is_empty();
        let visible = has_earlier.then(|| self.visible_parts(version)).into_iter().flatten();
        visible.filter(|part| !self.table.takes_rows_in(part.bucket))
    }

    /// Whether rows of before are still to move.
    pub fn is_splitting(&self, version: CatalogVersion) -> bool {
        self.parts_to_split(version).next().is_some()
    }

    /// The classes of the rows that a query at `version` sees.
    pub fn key_classes(&self, version: CatalogVersion) -> KeyClasses {
        let table = &self.table;
        let now = (table.options.layout.first, table.buckets.max(1));
        if table.options.layout.earlier.is_empty() {
            return KeyClasses { count: now.1, read_at: now.0, numberings: vec![now] };
        }
        let mut numberings: Vec<(u32, u32)> = Vec::new();
        for part in self.visible_parts(version) {
            let known = numberings.iter().any(|(first, count)| {
                part.bucket.0.checked_sub(*first).is_some_and(|position| position < *count)
            });
            if !known && let Some(numbering) = table.numbering_of(part.bucket) {
                numberings.push(numbering);
            }
        }
        match numberings.as_slice() {
            [] => KeyClasses { count: now.1, read_at: now.0, numberings: vec![now] },
            [(first, count)] => KeyClasses { count: *count, read_at: *first, numberings },
            several => {
                let count = several.iter().fold(0, |divisor, (_, count)| gcd(divisor, *count));
                KeyClasses { count, read_at: now.0, numberings }
            }
        }
    }

    /// Earlier buckets in which no part is any more, whoever may need it.
    pub(crate) fn unused_buckets(&self) -> Vec<EarlierBuckets> {
        let is_used =
            |earlier: &&EarlierBuckets| self.parts.values().any(|part| earlier.has(part.bucket));
        self.table
            .options
            .layout
            .earlier
            .iter()
            .filter(|earlier| !is_used(earlier))
            .copied()
            .collect()
    }
}

/// How rows that may have equal keys are told from others by the buckets that they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyClasses {
    /// Rows of different classes have different keys; a class is the hash modulo this.
    pub count: u32,
    /// The bucket whose leader reads the first class, and so on.
    read_at: u32,
    /// First bucket and count.
    numberings: Vec<(u32, u32)>,
}

impl KeyClasses {
    /// The class of a bucket's rows.
    pub fn of(&self, index: BucketIndex) -> BucketIndex {
        let position = self.numberings.iter().find_map(|(first, count)| {
            index.0.checked_sub(*first).filter(|position| position < count)
        });
        BucketIndex(position.unwrap_or(index.0) % self.count.max(1))
    }

    /// Whether rows lie in several numberings that have nothing in common: equal keys may be anywhere.
    pub fn is_mixed_up(&self) -> bool {
        self.count == 1 && self.numberings.len() > 1
    }

    /// The bucket whose holders read each class.
    pub fn readers(&self) -> impl Iterator<Item = BucketIndex> {
        let first = self.read_at;
        (0..self.count).map(move |class| BucketIndex(first + class))
    }
}

/// The greatest common divisor; of 0 and a number, that number.
pub fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The buckets of a numbering of `buckets` that may get rows of the bucket at `position` of one of
/// `before`, by their positions.
pub fn targets(position: u32, before: u32, buckets: u32) -> Vec<u32> {
    let divisor = gcd(before, buckets).max(1);
    (0..buckets).filter(|target| target % divisor == position % divisor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_the_targets_of_their_bucket_and_stay_in_their_class() {
        for (before, after) in [(4, 8), (8, 3), (3, 12), (1, 5), (5, 1), (6, 4), (7, 7)] {
            let divisor = gcd(before, after);
            let classes = KeyClasses {
                count: divisor,
                read_at: 100,
                numberings: vec![(0, before), (100, after)],
            };
            for hash in 0..u64::from(before * after * 2) {
                let (old, new) =
                    ((hash % u64::from(before)) as u32, (hash % u64::from(after)) as u32);
                assert!(targets(old, before, after).contains(&new), "{before} {after} {hash}");
                let class = BucketIndex((hash % u64::from(divisor)) as u32);
                assert_eq!(classes.of(BucketIndex(old)), class);
                assert_eq!(classes.of(BucketIndex(100 + new)), class);
            }
        }
        assert_eq!(targets(1, 4, 8), [1, 5]);
        assert_eq!(targets(7, 8, 4), [3]);
        assert_eq!(targets(7, 8, 3), [0, 1, 2]);
    }
}
