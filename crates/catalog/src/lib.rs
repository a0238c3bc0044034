//! What exists: databases, tables, buckets, parts, workers, insert tokens.
//!
//! ```text
//!   Command ──apply──► Transition { next Snapshot, changed rows, Outcome }
//!                          │               │
//!            pinned by queries        stored and streamed by `metadata`
//! ```
//!
//! [`apply`] is a pure function: no clock, randomness or I/O; time and ids come in the command or
//! from the state. [`Snapshot`] is immutable and cheap to clone, so a query holds the one that it
//! was bound at. [`Catalog`] is the seam between roles.

pub mod api;
pub mod apply;
pub mod codec;
pub mod command;
mod damage;
mod deletion_files;
pub mod departure;
pub mod history;
pub mod layout;
pub mod memory;
pub mod model;
pub mod protocol;
pub mod remote;
pub mod replication;
pub mod row;
pub mod shared_round;
pub mod snapshot;
pub mod temporary;
pub mod types;
mod writes;

pub use api::{
    BucketLoad, Catalog, Heartbeat, HeartbeatReply, LeaseHolder, MemberChange, MemberReport,
    MetadataMember,
};
pub use apply::{Transition, apply};
pub use command::{
    AlterTable, BucketChange, BucketPlacement, BucketWrite, CloneTable, ClusterChange, Command,
    CommandBody, CommitWrite, CopiesChange, CopyChange, CopyPartitions, ExistingView,
    FunctionChange, InsertReceipt, KnownPart, MergeParts, MergedPart, NewDeletions, NewPart,
    NewTable, NewView, Outcome, PartitionChange, Partitions, SplitParts, TableWrite, TokenEntry,
    UserChange,
};
pub use deletion_files::DeletionFiles;
pub use history::{Past, PastTable};
pub use memory::MemoryCatalog;
pub use model::*;
pub use remote::RemoteCatalog;
pub use row::{Change, Row, RowKey};
pub use shared_round::SharedRound;
pub use snapshot::{Relation, Snapshot, TableState};
pub use temporary::TemporaryDatabase;
pub use types::{AggregateType, ColumnType};
pub use writes::{Loss, losses_by_bucket};
