//! Changes as data: every change of the catalog is one command and takes effect at one version.

use std::collections::BTreeMap;

use granary_common::{
    BucketIndex, CatalogVersion, ClusterId, ColumnId, DatabaseId, Epoch, PartId, TableId, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::model::{
    Column, Distribution, KeyExpression, KeyRange, PartIdRange, PartLocation, PartitionValue,
    TableEngine, WorkerState,
};

/// A command with the time at which it was proposed, since `apply` has no clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    pub body: CommandBody,
}

/// What to change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CommandBody {
    /// Names the cluster; only the first one has an effect.
    InitCluster {
        cluster: ClusterId,
    },
    CreateDatabase {
        name: String,
        if_not_exists: bool,
    },
    /// Drops the database with its tables.
    DropDatabase {
        name: String,
        if_exists: bool,
    },
    CreateTable {
        table: NewTable,
        if_not_exists: bool,
    },
    DropTable {
        table: TableId,
    },
    RenameTable {
        table: TableId,
        database: DatabaseId,
        name: String,
    },
    TruncateTable {
        table: TableId,
    },
    RegisterWorker {
        identity: String,
        address: String,
        zone: String,
        software_version: String,
    },
    SetWorkerState {
        worker: WorkerId,
        incarnation: u64,
        state: WorkerState,
    },
    LeasePartIds {
        worker: WorkerId,
        incarnation: u64,
        count: u64,
    },
    CommitInsert(CommitInsert),
    /// Adds parts to a long insert without making them visible.
    StageParts {
        transaction: String,
        write: TableWrite,
    },
    AbortStaged {
        transaction: String,
    },
    /// Drops staged inserts that nobody touched since, and tokens committed before.
    Expire {
        staged_before_ms: u64,
        tokens_before_ms: u64,
        tokens_per_table: u64,
    },
    /// Forgets rows of the catalog that no query below `horizon` can need.
    AdvanceHorizon {
        horizon: CatalogVersion,
    },
}

/// A table to create; `apply` gives it its id, its buckets and their workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTable {
    pub database: DatabaseId,
    pub name: String,
    pub engine: TableEngine,
    /// With ids from 0 in this order, hidden ones last.
    pub columns: Vec<Column>,
    pub order_by: Vec<KeyExpression>,
    pub primary_key_len: usize,
    pub partition_by: Vec<KeyExpression>,
    pub distribution: Distribution,
    /// `None`: the power of two at or above twice the live workers, at least 4.
    pub buckets: Option<u32>,
    pub colocation_group: Option<String>,
    pub settings: BTreeMap<String, String>,
    pub comment: Option<String>,
}

impl NewTable {
    /// The first id that no column has.
    pub fn next_column_id(&self) -> ColumnId {
        ColumnId(self.columns.iter().map(|column| column.id.0 + 1).max().unwrap_or(0))
    }
}

/// A part as its writer describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewPart {
    pub id: PartId,
    pub partition: PartitionValue,
    pub rows: u64,
    pub bytes: u64,
    pub key_range: Option<KeyRange>,
    pub location: PartLocation,
}

/// What one insert adds to one bucket, and under which leadership it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketWrite {
    pub bucket: BucketIndex,
    pub epoch: Epoch,
    pub in_sync_version: u64,
    /// The replicas that synced every part of this write.
    pub synced: Vec<WorkerId>,
    pub parts: Vec<NewPart>,
}

/// What one insert adds to one table, and which versions of it the writer knew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableWrite {
    pub table: TableId,
    pub schema_version: u64,
    pub view_set_version: u64,
    pub data_version: u64,
    pub buckets: Vec<BucketWrite>,
}

/// Makes an insert visible, all of it or nothing: on every bucket of every table that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitInsert {
    /// The table that the client named, then its views' targets.
    pub tables: Vec<TableWrite>,
    /// Staged parts that become visible with it.
    pub staged: Option<String>,
    pub token: String,
    /// Of the content that the client sent.
    pub digest: String,
    /// Rows that the client sent.
    pub rows: u64,
}

/// The answer to an insert; the same token gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsertReceipt {
    pub rows: u64,
    pub parts: u64,
    pub version: CatalogVersion,
    /// The token had been committed before.
    pub duplicate: bool,
}

/// What a command brought about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, or nothing to do.
    Done,
    TableCreated(TableId),
    WorkerRegistered {
        worker: WorkerId,
        incarnation: u64,
    },
    PartIdsLeased(PartIdRange),
    Inserted(InsertReceipt),
}
