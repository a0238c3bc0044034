//! How many elements have to change for one array to become another.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, make_comparator};
use arrow::compute::{SortOptions, cast};
use datafusion::common::Result;

use crate::gives;
use crate::rows::{lists, range_of};
use crate::scalar::{Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![scalar("arrayLevenshteinDistance", TWO, gives::float, distances)]
}

fn distances(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (lists(&arguments[0])?, lists(&arguments[1])?);
    let right_items = cast(right.values(), left.values().data_type())?;
    let compare = make_comparator(left.values(), &right_items, SortOptions::default())?;
    let distance = |row: usize| {
        if left.is_null(row) || right.is_null(row) {
            return None;
        }
        let (first, second) = (range_of(&left, row), range_of(&right, row));
        let mut before: Vec<usize> = (0..=second.len()).collect();
        for (removed, of_first) in first.enumerate() {
            let mut after = Vec::with_capacity(before.len());
            after.push(removed + 1);
            for (at, of_second) in second.clone().enumerate() {
                let differs = usize::from(compare(of_first, of_second) != Ordering::Equal);
                let changed = before[at] + differs;
                after.push(changed.min(before[at + 1] + 1).min(after[at] + 1));
            }
            before = after;
        }
        before.last().map(|distance| *distance as f64)
    };
    Ok(Arc::new((0..left.len()).map(distance).collect::<Float64Array>()))
}
