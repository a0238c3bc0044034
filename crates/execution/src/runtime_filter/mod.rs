//! What the built side of a join knows about its keys, told to the scans of the other side: rows
//! without a partner are dropped where they are read.
//!
//! ```text
//!   join ◄── built side ── tap ──► KeySummary ─┬─► scans of this task
//!     ▲                                        └─► FilterHub of every worker
//!     └───── probed side ◄─ exchange ◄─ scan ◄─────────── asks its hub
//! ```
//!
//! A summary only ever helps: a scan that does not have it yet, or never gets it, reads more rows,
//! and the join drops them. Nobody waits for one. Partitions of a join do not wait for each other
//! either, as the engine's own filters make them do: where one of them is never asked for rows, as
//! happens below another join that has built nothing, the others would wait forever.

mod buckets;
mod expression;
mod hub;
mod keys;
mod merged;
mod operator;

pub use buckets::{BucketFilterExpr, BuiltBuckets, BuiltInput, of_partition};
pub use expression::{FilterSource, KeyFilterExpr};
pub use hub::{BuiltPart, FilterHub};
pub use keys::{KeyCollector, KeySummary};
pub use operator::{Announced, RuntimeFilterExec};
