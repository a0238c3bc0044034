//! What each index leaves of a scan before anything is read, for EXPLAIN.
//!
//! Parts are chosen on the coordinator, from the catalog; which granules of them are left, their holders
//! say, who have the indexes.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use granary_common::Result;
use granary_storage::PartScan;

use super::PartScanExec;
use super::facts::PartChoice;
use super::layout::ScanSpec;
use super::read::{PartAccess, Skipped, skips};
use super::stream::by_index;

/// Parts that are asked at the same time.
const ASKED_MAX: usize = 16;
/// Parts whose granules are counted at most.
const PARTS_MAX: usize = 1024;

/// What one index left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexUse {
    /// `partition`, `primary key`, or the name of a skip index.
    pub index: String,
    /// Parts before and after, where the catalog knows.
    pub parts: Option<(usize, usize)>,
    /// Granules before and after.
    pub granules: Option<(u64, u64)>,
}

/// What each index leaves of `scan`, in the order in which they are asked. Runtime filters, which are
/// not there before the query runs, are left out. Of more than 1,024 parts, the granules of the
/// first ones are counted.
///
/// Kinds as of reading parts.
pub async fn index_uses(scan: &PartScanExec, access: &PartAccess) -> Result<Vec<IndexUse>> {
    let spec = scan.spec();
    let mut uses = Vec::new();
    let found = match spec.filter.is_some() || !spec.hints.is_empty() {
        true => Some(skipped(spec, access).await?),
        false => None,
    };
    if let Some(PartChoice { total, by_partition, by_key }) = scan.facts().choice {
        let (index, parts) = ("partition".to_owned(), Some((total, by_partition)));
        uses.push(IndexUse { index, parts, granules: None });
        let granules = found.as_ref().map(|found| (found.granules_total, found.granules_by_key));
        let (index, parts) = ("primary key".to_owned(), Some((by_partition, by_key)));
        uses.push(IndexUse { index, parts, granules });
    }
    for (name, hints) in by_index(&spec.hints) {
        let of_index = found.as_ref().and_then(|found| found.by_index.get(hints));
        let ends = of_index.and_then(|of_index| Some((of_index.first()?, of_index.last()?)));
        let granules = ends.map(|(first, last)| (first.granules_total, last.granules_left));
        uses.push(IndexUse { index: name.to_owned(), parts: None, granules });
    }
    Ok(uses)
}

/// What all parts skip together.
async fn skipped(spec: &Arc<ScanSpec>, access: &PartAccess) -> Result<Skipped> {
    let of_part = |part| {
        let scan = PartScan {
            columns: spec.columns.clone(),
            filter: spec.filter.clone(),
            ordered: false,
            rows: None,
            batch_rows: 0,
            limit: None,
            hints: spec.hints.clone(),
        };
        skips(access, Arc::clone(&spec.schema), part, scan)
    };
    let asked: Vec<_> = spec.parts.iter().take(PARTS_MAX).map(of_part).collect();
    let mut asked = stream::iter(asked).buffer_unordered(ASKED_MAX);
    let mut all = Skipped::default();
    while let Some(found) = asked.next().await {
        all.add(&found?);
    }
    Ok(all)
}
