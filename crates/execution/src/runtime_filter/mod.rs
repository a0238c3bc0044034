//! What the built side of a join knows about its keys, told to the scans of the other side: rows
//! without a partner are dropped where they are read.
//!
//! ```text
//!   join ◄── built side ── tap ──► KeySummary ─┬─► scans of this task (colocated joins)
//!     ▲                                        └─► FilterHub of every worker
//!     └───── probed side ◄─ exchange ◄─ scan ◄─────────── asks its hub
//! ```
//!
//! A summary only ever helps: a scan that does not have it yet, or never gets it, reads more rows,
//! and the join drops them.

mod expression;
mod hub;
mod keys;
mod operator;
mod shared;

pub use expression::{FilterSource, KeyFilterExpr};
pub use hub::FilterHub;
pub use keys::{KeyCollector, KeySummary};
pub use operator::RuntimeFilterExec;
pub use shared::{BuildKeys, Side, WatchedInput};
