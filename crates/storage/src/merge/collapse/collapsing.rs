//! Pairs of rows with the signs 1 and -1 go: what is left of a key is its first row of sign -1 when
//! those are not fewer, and its last row of sign 1 when those are not fewer, unless there are as many
//! of both and the last row has the sign -1.

use std::ops::Range;

use arrow::array::{ArrayRef, AsArray, Int8Array};
use arrow::datatypes::{DataType, Int8Type};
use granary_common::{Error, Result};

use super::{CollapseMode, Collapsed, Grouped, Rule, Stage, failed};

/// The place of the sign in the batch, and the counts of the group that is kept open, whose kept
/// rows are its first negative and its last positive one.
#[derive(Debug)]
pub struct Collapsing {
    sign: usize,
    open: Counts,
}

/// What was seen of a group.
#[derive(Clone, Debug, Default)]
struct Counts {
    positive: u64,
    negative: u64,
    last_is_positive: bool,
    first_negative: Option<usize>,
    last_positive: Option<usize>,
}

impl Collapsing {
    pub fn new(sign: usize) -> Collapsing {
        Collapsing { sign, open: Counts::default() }
    }

    /// Counts a group; the rows that were kept open are counted already.
    fn count(&self, signs: &Int8Array, group: &Range<usize>, resumed: bool) -> Counts {
        let mut counts = Counts::default();
        let mut next = group.start;
        if resumed {
            counts = self.open.clone();
            // They are at the front of the group, in the order of `kept_open`.
            for place in [&mut counts.first_negative, &mut counts.last_positive] {
                if place.is_some() {
                    *place = Some(next);
                    next += 1;
                }
            }
        }
        for row in next..group.end {
            counts.last_is_positive = signs.value(row) > 0;
            if counts.last_is_positive {
                counts.positive += 1;
                counts.last_positive = Some(row);
            } else {
                counts.negative += 1;
                counts.first_negative.get_or_insert(row);
            }
        }
        counts
    }
}

impl Counts {
    fn kept_open(&self) -> impl Iterator<Item = usize> {
        self.first_negative.into_iter().chain(self.last_positive)
    }

    fn left(&self, mode: CollapseMode) -> impl Iterator<Item = usize> {
        let paired = self.positive == self.negative && !self.last_is_positive;
        let negative = self.positive <= self.negative && mode == CollapseMode::Merge && !paired;
        let positive = self.positive >= self.negative && !paired;
        let negative = self.first_negative.filter(|_| negative);
        negative.into_iter().chain(self.last_positive.filter(|_| positive))
    }
}

impl Rule for Collapsing {
    fn collapse(&mut self, grouped: Grouped<'_>, stage: Stage) -> Result<Collapsed> {
        let rows = grouped.rows;
        let signs = signs(rows.column(self.sign))?;
        let mut kept = Vec::with_capacity(grouped.groups.len());
        for (place, group) in grouped.groups.iter().enumerate() {
            let counts = self.count(&signs, group, grouped.resumed && place == 0);
            match stage {
                Stage::Complete(mode) => kept.extend(counts.left(mode).map(|row| row as u32)),
                Stage::Open => {
                    kept.extend(counts.kept_open().map(|row| row as u32));
                    self.open = counts;
                }
            }
        }
        Collapsed::taken(rows, kept)
    }
}

/// The signs, each 1 or -1. Kind `InvalidInput` for another one.
pub fn signs(column: &ArrayRef) -> Result<Int8Array> {
    let signs = arrow::compute::cast(column, &DataType::Int8).map_err(failed)?;
    let signs = signs.as_primitive::<Int8Type>().clone();
    let wrong = |sign: Option<i8>| !matches!(sign, Some(1 | -1));
    match signs.iter().find(|sign| wrong(*sign)) {
        None => Ok(signs),
        Some(sign) => Err(Error::invalid(format!(
            "the sign column holds {} and must hold 1 or -1; delete or update such rows",
            sign.map_or_else(|| "NULL".to_owned(), |sign| sign.to_string())
        ))),
    }
}
