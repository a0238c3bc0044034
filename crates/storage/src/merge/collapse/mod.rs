//! Rows with equal sort keys become fewer.
//!
//! ```text
//! sorted batch ─► [rows kept open] + batch ─► groups of equal keys ─┬─ all but the last ─► rule ─► out
//!                        ▲                                          └─ the last ─► rule ─┐
//!                        └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! The last group may go on in the next batch, so what the rule needs of it is kept: one row or a
//! few, however many rows the group has.

mod collapser;
mod collapsing;
mod compact;
mod folding;
mod replacing;
mod sum;
mod versioned;

use std::fmt::Debug;
use std::ops::Range;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use granary_common::{Error, Result};
use serde::{Deserialize, Serialize};

pub use collapser::Collapser;
pub(crate) use collapser::Sourced;
pub use compact::compact;
pub(super) use sum::is_zero;

/// Who collapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollapseMode {
    /// A merge of some parts: what rows of other parts may still need stays, such as deleted rows of
    /// a Replacing engine and a row of sign -1 without its other half.
    Merge,
    /// Every row of the key is there, so such rows go.
    Final,
}

/// Rows of one batch with their groups.
struct Grouped<'a> {
    rows: &'a RecordBatch,
    /// Of equal sort keys: every row is in one, in order.
    groups: &'a [Range<usize>],
    /// Whether the first group begins with the rows that the rule kept open.
    resumed: bool,
}

impl Grouped<'_> {
    fn all_single(&self) -> bool {
        self.groups.len() == self.rows.num_rows()
    }
}

/// Whether groups are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is one group and more of its rows may come: what is needed of it stays.
    Open,
    Complete(CollapseMode),
}

/// What groups became.
struct Collapsed {
    rows: RecordBatch,
    /// For each of `rows` the row that it was, or the first of those; `None` when nothing changed.
    kept: Option<Vec<u32>>,
}

impl Collapsed {
    fn unchanged(rows: &RecordBatch) -> Collapsed {
        Collapsed { rows: rows.clone(), kept: None }
    }

    fn taken(rows: &RecordBatch, kept: Vec<u32>) -> Result<Collapsed> {
        if kept.len() == rows.num_rows() && kept.iter().enumerate().all(|(i, k)| i == *k as usize) {
            return Ok(Self::unchanged(rows));
        }
        let rows = take_record_batch(rows, &UInt32Array::from(kept.clone())).map_err(failed)?;
        Ok(Collapsed { rows, kept: Some(kept) })
    }
}

/// One engine's way. Groups are independent but for the one that is kept open, whose state beyond
/// its rows the rule keeps.
trait Rule: Send + Debug {
    fn collapse(&mut self, grouped: Grouped<'_>, stage: Stage) -> Result<Collapsed>;

    /// Whether a row that lost to another of its group made no difference to that one.
    fn losers_leave_no_trace(&self) -> bool {
        false
    }
}

fn failed(error: ArrowError) -> Error {
    Error::internal(format!("cannot collapse rows: {error}"))
}
