//! Rows whose time has come: what a merge makes of them, and when a part has such rows next.
//!
//! ```text
//!   merge: collapsed rows ─► delete ─► reset columns ─► roll up ─► rows that stay ─► marks ─► descriptor
//!   picker: descriptor, else a scan of the columns that the rules read ─► marks ─► [`PartLife`]
//! ```
//!
//! A mark belongs to a rule by the rule's fingerprint, so a changed TTL makes no old part wrong: its
//! marks are of other rules, and its rows are looked at again.

mod evaluate;
mod marks;
mod measure;
mod roll_up;
mod stage;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use granary_catalog::TtlRule;

pub use evaluate::{GroupFolder, NoExpressions, RowComputation, RowEvaluator, row_schema};
pub use marks::{PartLife, Recompression, TtlMark, fingerprint};
pub use measure::marks_of;
pub(crate) use stage::TtlStage;

/// The rules that a merge applies.
#[derive(Clone, Debug)]
pub struct MergeTtl {
    pub rules: Vec<TtlRule>,
    /// Rows that are due by then are treated: seconds since the epoch.
    pub now_s: i64,
    /// Whether the merge encodes as RECOMPRESS asks.
    pub recompresses: bool,
    pub evaluator: Arc<dyn RowEvaluator>,
}
