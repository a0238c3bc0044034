//! Reading parts, here or on another worker.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use granary_common::{Error, ErrorKind, Result, WorkerId};
use granary_storage::{Deletions, OpenPart, PartRef, PartScan, PartSchema, PartStore, SkipHint};
use serde::{Deserialize, Serialize};

use arrow::record_batch::RecordBatch;

use super::hedge::first_answer;
use super::layout::ScannedPart;
use crate::runtime_filter::FilterHub;
use crate::worker_api::{RemotePartRead, RemotePartScan, WorkerDirectory};

/// A holder that has sent no row for so long is not waited for alone. Long enough that holders which are
/// only busy do not get more to do.
const HOLDER_PATIENCE: Duration = Duration::from_secs(2);

/// How a node reaches parts; an extension of every session that may run scans.
#[derive(Clone, Debug)]
pub struct PartAccess {
    /// Parts that this process can read itself.
    pub store: Option<Arc<PartStore>>,
    /// The way to everybody else's.
    pub workers: Arc<dyn WorkerDirectory>,
    /// What joins elsewhere told of their keys.
    pub filters: FilterHub,
}

impl PartAccess {
    /// The access that the session of `context` was given.
    pub fn of(context: &TaskContext) -> Result<Arc<PartAccess>> {
        context
            .session_config()
            .get_extension::<PartAccess>()
            .ok_or_else(|| Error::internal("this session was made without access to parts"))
    }
}

/// What the index let a reader skip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub granules_total: u64,
    /// Left by the primary key and what is known of each granule's values.
    pub granules_by_key: u64,
    /// Left by the skip indexes as well.
    pub granules_selected: u64,
    /// What each skip index did, in the order of the hints.
    pub by_index: Vec<SkippedByIndex>,
}

impl Skipped {
    /// Adds what was skipped of another part, with the same hints.
    pub fn add(&mut self, other: &Skipped) {
        self.granules_total += other.granules_total;
        self.granules_by_key += other.granules_by_key;
        self.granules_selected += other.granules_selected;
        self.by_index.resize(self.by_index.len().max(other.by_index.len()), Default::default());
        for (sum, more) in self.by_index.iter_mut().zip(&other.by_index) {
            sum.granules_total += more.granules_total;
            sum.granules_left += more.granules_left;
        }
    }
}

/// What a skip index let a reader skip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedByIndex {
    pub granules_total: u64,
    pub granules_left: u64,
}

/// Batches of one part.
pub struct PartRead {
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    pub remote: bool,
    pub skipped: Skipped,
}

/// Reads a part that `store` holds: only the granules that its index leaves over.
pub async fn read_held(
    store: &PartStore,
    schema: Arc<PartSchema>,
    part: &PartRef,
    scan: PartScan,
) -> Result<PartRead> {
    if !store.may_read(part) {
        return Err(Error::unavailable(format!(
            "part {} is to be read from another copy",
            part.id
        )));
    }
    let open = store.open(part).await?;
    read_open(store, part, &open, schema, scan).await
}

/// The same of an open part.
async fn read_open(
    store: &PartStore,
    part: &PartRef,
    open: &OpenPart,
    schema: Arc<PartSchema>,
    mut scan: PartScan,
) -> Result<PartRead> {
    let mut skipped = Skipped::default();
    let hints = std::mem::take(&mut scan.hints);
    if scan.filter.is_some() || !hints.is_empty() {
        let pruned = match &scan.filter {
            Some(filter) => open.prune(filter),
            None => open.all_rows(),
        };
        let mut ranges = match scan.rows.take() {
            Some(wanted) => intersect(&wanted, &pruned.ranges),
            None => pruned.ranges,
        };
        let granularity = open.granularity().max(1);
        let by_index = ask_indexes(store, part, &hints, &mut ranges, granularity).await?;
        skipped = Skipped {
            granules_total: pruned.granules_total,
            granules_by_key: pruned.granules_selected,
            granules_selected: granules(&ranges, granularity).min(pruned.granules_selected),
            by_index,
        };
        if ranges.is_empty() {
            return Ok(PartRead { batches: stream::empty().boxed(), remote: false, skipped });
        }
        scan.rows = Some(ranges);
    }
    store.reads().note(part, skipped.granules_selected, skipped.granules_total);
    Ok(PartRead { batches: open.scan(schema, scan), remote: false, skipped })
}

/// Reads a part that `store` holds without `hidden` rows.
pub async fn read_without(
    store: &PartStore,
    schema: Arc<PartSchema>,
    part: &PartRef,
    hidden: Arc<Deletions>,
    scan: PartScan,
) -> Result<PartRead> {
    let open = store.open_without(part, hidden).await?;
    read_open(store, part, &open, schema, scan).await
}

/// Leaves of `ranges` what the skip indexes of the part let pass.
async fn ask_indexes(
    store: &PartStore,
    part: &PartRef,
    hints: &[SkipHint],
    ranges: &mut Vec<Range<u64>>,
    granularity: u64,
) -> Result<Vec<SkippedByIndex>> {
    let mut by_index = Vec::with_capacity(hints.len());
    for hint in hints {
        let granules_total = granules(ranges, granularity);
        // What is left to no other index need not be asked of this one.
        if granules_total > 0
            && let Some(file) = store.skip_file(part, &hint.file).await?
        {
            *ranges = intersect(ranges, &file.ranges(&hint.term));
        }
        let granules_left = granules(ranges, granularity);
        by_index.push(SkippedByIndex { granules_total, granules_left });
    }
    Ok(by_index)
}

fn granules(ranges: &[Range<u64>], granularity: u64) -> u64 {
    ranges.iter().map(|range| (range.end - range.start).div_ceil(granularity)).sum()
}

/// Reads a part wherever it is: here if it is here, else on the first of its holders that answers. A
/// copy that is gone or damaged is passed over while there are others, and beside a holder that is slow
/// the next one is asked.
pub async fn read(
    access: &PartAccess,
    schema: Arc<PartSchema>,
    part: &ScannedPart,
    scan: PartScan,
) -> Result<PartRead> {
    let mut failure = Error::unavailable(format!("no worker holds part {}", part.part.id));
    if let Some(store) = &access.store
        && store.may_read(&part.part)
    {
        match read_held(store, Arc::clone(&schema), &part.part, scan.clone()).await {
            Err(error) if part.holders.len() > 1 && is_elsewhere(&error) => {
                tracing::warn!(part = %part.part.id, %error, "a copy cannot be read here");
                failure = error;
            }
            read => return read,
        }
    }
    let remote = RemotePartScan { schema, part: part.part.clone(), scan, only_skips: false };
    let mut sources = Vec::with_capacity(part.holders.len());
    for holder in &part.holders {
        sources.push(begun(access, *holder, &remote).boxed());
    }
    first_answer(sources, HOLDER_PATIENCE, is_elsewhere, failure).await
}

/// What a holder sends, once the first batch is here.
async fn begun(access: &PartAccess, holder: WorkerId, remote: &RemotePartScan) -> Result<PartRead> {
    let RemotePartRead { mut batches, skipped } =
        access.workers.api(holder)?.scan_part(remote.clone()).await?;
    let first = batches.next().await.transpose()?;
    let batches = stream::iter(first.map(Ok)).chain(batches).boxed();
    Ok(PartRead { batches, remote: true, skipped })
}

/// What indexes let a reader of a part skip, wherever it is; nothing is read but them.
pub async fn skips(
    access: &PartAccess,
    schema: Arc<PartSchema>,
    part: &ScannedPart,
    scan: PartScan,
) -> Result<Skipped> {
    if let Some(store) = &access.store
        && store.may_read(&part.part)
    {
        return Ok(read_held(store, schema, &part.part, scan).await?.skipped);
    }
    let remote = RemotePartScan { schema, part: part.part.clone(), scan, only_skips: true };
    let mut failure = Error::unavailable(format!("no worker holds part {}", part.part.id));
    for holder in &part.holders {
        let asked = async { access.workers.api(*holder)?.scan_part(remote.clone()).await };
        match asked.await {
            Ok(read) => return Ok(read.skipped),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Whether another copy may be better.
fn is_elsewhere(error: &Error) -> bool {
    error.kind().is_retryable() || error.kind() == ErrorKind::Corruption
}

/// The rows that are in both; both lists ascend and do not overlap.
pub fn intersect(left: &[Range<u64>], right: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let start = a.start.max(b.start);
        let end = a.end.min(b.end);
        if start < end {
            both.push(start..end);
        }
        if a.end <= b.end {
            left.next()
        } else {
            right.next()
        };
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn intersections() {
        for (left, right, both) in [
            (vec![0..10], vec![5..20], vec![5..10]),
            (vec![0..10, 20..30], vec![5..25], vec![5..10, 20..25]),
            (vec![0..10], vec![10..20], vec![]),
            (vec![], vec![0..1], vec![]),
            (vec![0..100], vec![1..2, 3..4, 99..200], vec![1..2, 3..4, 99..100]),
        ] {
            assert_eq!(intersect(&left, &right), both);
            assert_eq!(intersect(&right, &left), both);
        }
    }
}
