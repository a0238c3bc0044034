//! Parts become one part; rows with equal sort keys become what the table's engine says.
//!
//! ```text
//! part scans ─► k-way merge ─► collapse ─► deduplicate ─► part writer ─► merged part
//!     └─ positions ──────────────┴─────────────┴──► row map: where every row went
//! ```
//!
//! Memory is bounded by the inputs times a few batches, whatever the size of the parts.

mod collapse;
#[allow(dead_code)] // Until merges run.
mod progress;
#[allow(dead_code)] // Until merges run.
mod row_map;
mod rule;
mod states;

pub use collapse::{CollapseMode, Collapser};
pub use progress::{MergeProgress, Throttle, Unthrottled};
pub use row_map::RowMap;
pub use rule::{CollapseRule, StateColumn, is_state, is_summable};
pub use states::{NoStates, StateMerger};
