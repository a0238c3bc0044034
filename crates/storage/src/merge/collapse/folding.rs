//! One row of each key stays, whose values are folded from all of its rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, interleave_record_batch, take, take_record_batch};
use granary_catalog::ColumnType;
use granary_common::{Error, Result};

use super::sum::{is_zero, sum};
use super::{Collapsed, Grouped, Rule, Stage, failed};
use crate::merge::states::StateMerger;

/// What becomes of a column's values of one key.
#[derive(Clone, Debug)]
pub enum Fold {
    /// The first inserted stays.
    First,
    /// They are added up.
    Sum,
    /// The last inserted that is not NULL stays.
    Last,
    /// They are states of this type, and merged.
    State(ColumnType),
}

/// Summing, Aggregating and Coalescing.
#[derive(Debug)]
pub struct Folding {
    /// Of every column of the batch.
    pub folds: Vec<Fold>,
    /// Whether a row whose sums are all zero goes.
    pub drops_zero: bool,
    pub states: Arc<dyn StateMerger>,
}

impl Rule for Folding {
    fn collapse(&mut self, grouped: Grouped<'_>, stage: Stage) -> Result<Collapsed> {
        let rows = grouped.rows;
        let folded = match grouped.all_single() {
            true => Collapsed::unchanged(rows),
            false => self.fold_groups(&grouped)?,
        };
        match stage {
            Stage::Complete(_) if self.drops_zero => self.without_zeros(folded),
            _ => Ok(folded),
        }
    }
}

impl Folding {
    /// Folds the groups of several rows, and puts the others between them as they are.
    fn fold_groups(&self, grouped: &Grouped<'_>) -> Result<Collapsed> {
        let rows = grouped.rows;
        let kept: Vec<u32> = grouped.groups.iter().map(|group| group.start as u32).collect();
        // Rows of groups of several, the group of each, and where each of those groups begins.
        let (mut several, mut groups, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        let mut places = Vec::with_capacity(kept.len());
        for group in grouped.groups {
            if group.len() == 1 {
                places.push((0, group.start));
                continue;
            }
            places.push((1, starts.len() - 1));
            groups.resize(groups.len() + group.len(), starts.len() - 1);
            several.extend(group.clone().map(|row| row as u32));
            starts.push(several.len());
        }
        let folded = if several.len() == rows.num_rows() {
            self.fold_rows(rows, &groups, &starts)?
        } else {
            let rows = take_record_batch(rows, &UInt32Array::from(several)).map_err(failed)?;
            self.fold_rows(&rows, &groups, &starts)?
        };
        let rows = if folded.num_rows() == kept.len() {
            folded
        } else {
            interleave_record_batch(&[rows, &folded], &places).map_err(failed)?
        };
        Ok(Collapsed { rows, kept: Some(kept) })
    }

    /// One row for each group; `groups[row]` is its number and `starts` where it begins, and at the
    /// end the number of rows.
    fn fold_rows(
        &self,
        rows: &RecordBatch,
        groups: &[usize],
        starts: &[usize],
    ) -> Result<RecordBatch> {
        let count = starts.len() - 1;
        let firsts = UInt32Array::from_iter_values(starts[..count].iter().map(|row| *row as u32));
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (place, (fold, values)) in self.folds.iter().zip(rows.columns()).enumerate() {
            let schema = rows.schema();
            let name = schema.field(place).name();
            columns.push(match fold {
                Fold::First => take(values, &firsts, None).map_err(failed)?,
                Fold::Last => take(values, &lasts(values, starts), None).map_err(failed)?,
                Fold::Sum => {
                    sum(values, starts).map_err(|error| error.context(format!("column {name}")))?
                }
                Fold::State(column_type) => {
                    let merged = self.states.merge(column_type, values, groups, count)?;
                    check_state(name, &merged, values, count)?;
                    merged
                }
            });
        }
        RecordBatch::try_new(rows.schema(), columns).map_err(failed)
    }

    fn without_zeros(&self, folded: Collapsed) -> Result<Collapsed> {
        let rows = &folded.rows;
        let mut zero = vec![true; rows.num_rows()];
        for (fold, values) in self.folds.iter().zip(rows.columns()) {
            if matches!(fold, Fold::Sum) {
                is_zero(values, &mut zero)?;
            }
        }
        if !zero.contains(&true) {
            return Ok(folded);
        }
        let kept = match folded.kept {
            Some(kept) => kept,
            None => (0..rows.num_rows() as u32).collect(),
        };
        let kept = kept.into_iter().zip(&zero).filter(|(_, zero)| !**zero).map(|(row, _)| row);
        let stays = BooleanArray::from_iter(zero.iter().map(|zero| Some(!zero)));
        let rows = filter_record_batch(rows, &stays).map_err(failed)?;
        Ok(Collapsed { kept: Some(kept.collect()), rows })
    }
}

/// The last value of each group that is not NULL, or its last one.
fn lasts(values: &ArrayRef, starts: &[usize]) -> UInt32Array {
    let last = |group: &[usize]| {
        let found = (group[0]..group[1]).rev().find(|row| values.is_valid(*row));
        found.unwrap_or(group[1] - 1) as u32
    };
    UInt32Array::from_iter_values(starts.windows(2).map(last))
}

fn check_state(name: &str, merged: &ArrayRef, values: &ArrayRef, count: usize) -> Result<()> {
    if merged.len() == count && merged.data_type() == values.data_type() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "merging the states of column {name} gave {} values of type {} for {count} of type {}",
        merged.len(),
        merged.data_type(),
        values.data_type()
    )))
}
