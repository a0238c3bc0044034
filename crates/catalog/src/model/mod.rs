//! The rows of the catalog.

mod bucket;
mod cluster;
mod part;
mod scalar;
mod table;
mod token;
mod worker;

pub use bucket::Bucket;
pub use cluster::Cluster;
pub use part::{Part, PartLocation};
pub use scalar::{KeyRange, PartitionValue, Scalar};
pub use table::{
    Column, ColumnDefault, ColumnRole, Database, Distribution, EngineKind, KeyExpression, Table,
    TableEngine,
};
pub use token::{InsertToken, StagedInsert};
pub use worker::{PartIdRange, Worker, WorkerState};
