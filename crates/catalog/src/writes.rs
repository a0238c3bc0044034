//! Writes on the way to their commit: what comes and what goes away, bucket by bucket. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use granary_common::{Error, Result};

use crate::command::{BucketWrite, KnownPart, NewDeletions, TableWrite};
use crate::model::{Bucket, Part, Table};
use crate::snapshot::TableState;

/// What becomes of a part that loses rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    Rows(NewDeletions),
    Whole(KnownPart),
}

impl BucketWrite {
    /// A write of nothing to a bucket of `table`, under its leadership as it is known. No parts are
    /// written, so every replica that is in sync stays so.
    pub fn of_nothing(table: &Table, bucket: &Bucket) -> BucketWrite {
        BucketWrite {
            bucket: bucket.index,
            epoch: bucket.epoch,
            in_sync_version: bucket.in_sync_version,
            synced: bucket.in_sync.clone(),
            parts: Vec::new(),
            deletions: Vec::new(),
            removed: Vec::new(),
            upsert_version: (!table.unique_key.is_empty()).then_some(bucket.upsert_version),
        }
    }
}

impl TableWrite {
    /// A write of nothing to `table` as it is known.
    pub fn of_nothing(table: &Table) -> TableWrite {
        TableWrite {
            table: table.id,
            schema_version: table.schema_version,
            view_set_version: table.view_set_version,
            data_version: table.data_version,
            buckets: Vec::new(),
            overwrite: None,
        }
    }

    /// Adds what goes away to the write of what comes.
    pub fn take_away(&mut self, removed: &[BucketWrite]) {
        for loss in removed {
            match self.buckets.iter_mut().find(|bucket| bucket.bucket == loss.bucket) {
                Some(bucket) => {
                    bucket.deletions.extend(loss.deletions.iter().cloned());
                    bucket.removed.extend(loss.removed.iter().copied());
                    bucket.upsert_version = loss.upsert_version;
                }
                None => self.buckets.push(loss.clone()),
            }
        }
        self.buckets.sort_by_key(|bucket| bucket.bucket);
    }
}

/// What parts of a table lose, as its buckets' writes say it. Kind `Internal` when a part's bucket is
/// none of the table's.
pub fn losses_by_bucket(
    state: &TableState,
    losses: Vec<(Arc<Part>, Loss)>,
) -> Result<Vec<BucketWrite>> {
    let mut writes = BTreeMap::new();
    for (part, loss) in losses {
        let bucket = state.buckets.get(&part.bucket);
        let bucket = bucket.ok_or_else(|| {
            Error::internal(format!("part {} is in bucket {}, which is gone", part.id, part.bucket))
        })?;
        let nothing = || BucketWrite::of_nothing(&state.table, bucket);
        let write = writes.entry(part.bucket).or_insert_with(nothing);
        match loss {
            Loss::Rows(deletions) => write.deletions.push(deletions),
            Loss::Whole(known) => write.removed.push(known),
        }
    }
    Ok(writes.into_values().collect())
}
