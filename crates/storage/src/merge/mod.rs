//! Parts become one part; rows with equal sort keys become what the table's engine says.
//!
//! ```text
//! part scans ─► k-way merge ─► collapse ─► TTL ─► deduplicate ─► part writer ─► merged part
//!     └─ positions ──────────────┴──────────┴───────┴──► row map: where every row went
//! ```
//!
//! Memory is bounded by the inputs times a few batches, whatever the size of the parts. Of wide tables
//! only the columns that decide on the rows go this way; the others follow them in groups, so that the
//! batches have few columns:
//!
//! ```text
//! deciding columns ─► as above ─► order: which row of which input every output row is
//! scans of a group's columns ─► rows taken in that order ─► part writer, the same file
//! ```

mod chosen;
mod collapse;
mod columns;
mod deduplicate;
mod gather;
mod hidden;
mod input;
mod k_way;
mod keys;
mod later;
mod positions;
mod progress;
mod ranges;
mod row_map;
mod row_order;
mod rule;
mod run;
mod split;
mod states;
#[cfg(test)]
mod tests;
mod traced;

pub(crate) use collapse::Sourced;
pub use collapse::{CollapseMode, Collapser, compact};
pub use hidden::{HiddenKey, HiddenRows, ShownRows, shown_rows};
pub use later::{LATER_ROWS_MAX, LaterRows, MetRows};
pub use progress::{MergeProgress, Throttle, Unthrottled};
pub use ranges::{Cutting, key_ranges};
pub use row_map::RowMap;
pub(crate) use row_map::{RowMapBuilder, RowSource};
pub use rule::{CollapseRule, StateColumn, is_state, is_summable};
pub use run::{MergeSpec, Merged, merge_parts};
pub use split::{Dealing, SplitMap, SplitResult, SplitSpec, TURN_ROWS, split_parts};
pub use states::{NoStates, StateMerger};
