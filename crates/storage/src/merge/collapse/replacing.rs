//! The row of the highest version stays, of equal ones the last inserted.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use granary_common::Result;

use super::{CollapseMode, Collapsed, Grouped, Rule, Stage, failed};

/// Columns by their places in the batch.
#[derive(Debug)]
pub struct Replacing {
    pub version: Option<usize>,
    pub is_deleted: Option<usize>,
}

/// Without a value a version is below all others.
const VERSION_ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

impl Rule for Replacing {
    fn collapse(&mut self, grouped: Grouped<'_>, stage: Stage) -> Result<Collapsed> {
        let rows = grouped.rows;
        let deleted = match (self.is_deleted, stage) {
            (Some(place), Stage::Complete(CollapseMode::Final)) => {
                Some(truths(rows.column(place))?)
            }
            _ => None,
        };
        if grouped.all_single() && deleted.is_none() {
            return Ok(Collapsed::unchanged(rows));
        }
        let mut winners = Vec::with_capacity(grouped.groups.len());
        match self.version {
            None => winners.extend(grouped.groups.iter().map(|group| group.end as u32 - 1)),
            Some(place) => {
                let versions = rows.column(place);
                let compare = make_comparator(versions, versions, VERSION_ORDER).map_err(failed)?;
                for group in grouped.groups {
                    let later =
                        |best: usize, row| if compare(row, best).is_ge() { row } else { best };
                    winners.push(group.clone().fold(group.start, later) as u32);
                }
            }
        }
        if let Some(deleted) = deleted {
            winners.retain(|row| !deleted.value(*row as usize));
        }
        Collapsed::taken(rows, winners)
    }

    fn losers_leave_no_trace(&self) -> bool {
        true
    }
}

/// Whether values are TRUE or not zero; NULL is neither.
fn truths(values: &ArrayRef) -> Result<BooleanArray> {
    let truths = arrow::compute::cast(values, &DataType::Boolean).map_err(failed)?;
    let truths = truths.as_boolean();
    Ok(match truths.nulls() {
        None => truths.clone(),
        Some(nulls) => BooleanArray::new(truths.values() & nulls.inner(), None),
    })
}
