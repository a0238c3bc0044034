//! The words that every crate shares: ids, error kinds, the clock, randomness, task ownership
//! and units. Nothing here knows what a table is.

pub mod clock;
pub mod error;
mod folder_lock;
pub mod id;
pub mod random;
pub mod spawn;
mod suggest;
pub mod units;

pub use clock::{Clock, SystemClock, TestClock};
pub use error::{Error, ErrorKind, Result};
pub use folder_lock::{FolderLock, unusable_folder};
pub use id::{
    BucketIndex, CatalogVersion, ClusterId, ColumnId, DatabaseId, Epoch, NodeId, PartId, QueryId,
    TableId, WorkerId,
};
pub use random::{Random, SystemRandom};
pub use spawn::TaskOwner;
pub use suggest::did_you_mean;
