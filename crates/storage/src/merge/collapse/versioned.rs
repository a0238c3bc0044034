//! Pairs of rows of one version with the signs 1 and -1 go, in whatever order they came.

use arrow::array::make_comparator;
use arrow::compute::SortOptions;
use granary_common::Result;

use super::collapsing::signs;
use super::{Collapsed, Grouped, Rule, Stage, failed};

/// Columns by their places in the batch. What is left of a group is in the order of versions, of
/// equal ones in that of insertion; a row without its other half stays in every mode.
#[derive(Debug)]
pub struct VersionedCollapsing {
    pub sign: usize,
    pub version: usize,
}

const VERSION_ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

impl Rule for VersionedCollapsing {
    fn collapse(&mut self, grouped: Grouped<'_>, _: Stage) -> Result<Collapsed> {
        let rows = grouped.rows;
        let signs = signs(rows.column(self.sign))?;
        if grouped.all_single() {
            return Ok(Collapsed::unchanged(rows));
        }
        let versions = rows.column(self.version);
        let compare = make_comparator(versions, versions, VERSION_ORDER).map_err(failed)?;
        let mut kept: Vec<u32> = Vec::with_capacity(grouped.groups.len());
        let mut order: Vec<usize> = Vec::new();
        for group in grouped.groups {
            order.clear();
            order.extend(group.clone());
            order.sort_by(|a, b| compare(*a, *b));
            // Of each version rows of one sign wait for the other sign.
            let (mut version, mut waiting) = (order.first().copied(), kept.len());
            for row in &order {
                if version.is_none_or(|version| compare(version, *row).is_ne()) {
                    (version, waiting) = (Some(*row), kept.len());
                }
                let other_half = kept[waiting..]
                    .last()
                    .is_some_and(|last| signs.value(*last as usize) != signs.value(*row));
                if other_half {
                    kept.pop();
                } else {
                    kept.push(*row as u32);
                }
            }
        }
        debug_assert!(kept.len() <= signs.len(), "rows only become fewer");
        Collapsed::taken(rows, kept)
    }
}
