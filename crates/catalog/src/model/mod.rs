//! The rows of the catalog.

mod backup;
mod bucket;
mod cluster;
mod column_codec;
mod damage;
mod function;
mod history;
mod layout;
mod mutation;
mod part;
mod projection;
mod refresh;
mod scalar;
mod skip_index;
mod table;
mod token;
mod ttl;
mod user;
mod view;
mod worker;

pub use backup::{Backup, BackupPlace, BackupTable};
pub use bucket::Bucket;
pub use cluster::Cluster;
pub use column_codec::ColumnCodec;
pub use damage::{CopyId, Damage};
pub use function::SqlFunction;
pub use history::{EarlierTable, Moment, TableHistory};
pub use layout::{BucketHistory, EarlierBuckets};
pub use mutation::{MUTATIONS_PER_TABLE_MAX, Mutation, MutationNote, WriteOrigin};
pub use part::{
    DELETIONS_FILE_PREFIX, DeletionContent, DeletionVector, Part, PartFiles, PartLocation,
};
pub use projection::{
    BoundProjection, Fold, PartProjection, ProjectedKey, ProjectedValue, Projection,
};
pub use refresh::{
    RefreshFailure, RefreshRun, RefreshSchedule, RefreshStep, RefreshSuccess, ViewRefresh,
};
pub use scalar::{KeyRange, PartitionValue, Scalar};
pub use skip_index::{BoundIndex, IndexKind, SkipIndex};
pub use table::{
    AddedExpression, Column, ColumnDefault, ColumnRole, Constraint, Database, Distribution,
    EarlierColumn, EngineKind, KeyExpression, Table, TableEngine, TableOptions,
};
pub use token::{InsertToken, StagedInsert, StagedTarget};
pub use ttl::{RollUp, RowExpression, TtlAction, TtlPlace, TtlRule};
pub use user::UserSettings;
pub use view::{Filled, View, ViewKind};
pub use worker::{PartIdRange, Worker, WorkerState};
