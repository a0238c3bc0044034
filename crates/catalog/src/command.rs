//! Changes as data: every change of the catalog is one command and takes effect at one version.

mod buckets;
mod cluster;
mod function;
mod merge;
mod partitions;
mod past;
mod replicas;
mod user;
mod view;

use std::collections::BTreeMap;

use granary_common::{
    BucketIndex, CatalogVersion, ClusterId, ColumnId, DatabaseId, Epoch, PartId, TableId, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::model::{
    Column, CopyId, DeletionContent, Distribution, KeyExpression, KeyRange, PartIdRange,
    PartLocation, PartProjection, PartitionValue, RefreshStep, TableEngine, TableOptions,
    WorkerState, WriteOrigin,
};

pub use buckets::{BucketChange, SplitParts};
pub use cluster::ClusterChange;
pub use function::FunctionChange;
pub use merge::{MergeParts, MergedPart};
pub use partitions::{CopyPartitions, PartitionChange};
pub use past::CloneTable;
pub use replicas::{BucketPlacement, CopiesChange, CopyChange};
pub use user::UserChange;
pub use view::{ExistingView, NewView};

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
    /// Swaps the names of two tables.
    ExchangeTables {
        first: TableId,
        second: TableId,
    },
    TruncateTable {
        table: TableId,
    },
    AlterTable(Box<AlterTable>),
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
    /// Ends a lease of part ids, by where its range starts: nothing of it can be committed any more,
    /// and files under its ids that nothing refers to may be deleted.
    ReleasePartIds {
        worker: WorkerId,
        incarnation: u64,
        start: u64,
    },
    #[serde(alias = "CommitInsert")]
    CommitWrite(CommitWrite),
    /// Replaces parts by what they were merged into.
    MergeParts(MergeParts),
    ChangePartitions {
        table: TableId,
        change: PartitionChange,
    },
    CopyPartitions(CopyPartitions),
    CreateView {
        view: NewView,
        /// `IfNotExists` keeps the one that is there, `OrReplace` puts this one in its place.
        existing: ExistingView,
    },
    DropView {
        view: TableId,
    },
    RenameView {
        view: TableId,
        database: DatabaseId,
        name: String,
    },
    /// A step in the life of a refreshable view.
    Refresh {
        view: TableId,
        step: RefreshStep,
    },
    /// Lets merges run or stops them: those of a table, or all.
    SetMerges {
        table: Option<TableId>,
        stopped: bool,
    },
    /// Notes that a copy of a part is damaged and why, or with no reason that it is whole again.
    MarkDamage {
        copy: CopyId,
        reason: Option<String>,
    },
    /// Adds parts to a long insert without making them visible.
    StageParts {
        transaction: String,
        write: TableWrite,
        /// What the views of the table made of the same rows, for their targets.
        #[serde(default)]
        views: Vec<TableWrite>,
        /// Whether earlier blocks are staged, and must not have expired. Since protocol 7.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        continues: bool,
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
    /// Forgets rows of the catalog that no query needs: none runs below `horizon`, and none may begin
    /// below what the tables' history is from then on.
    AdvanceHorizon {
        horizon: CatalogVersion,
    },
    /// Says who leads and who holds a bucket.
    PlaceBucket(BucketPlacement),
    /// Says that a worker holds parts, or does not hold them any more.
    ChangeCopies(CopiesChange),
    /// Empties a worker, or lets it be filled again.
    DrainWorker {
        worker: WorkerId,
        drained: bool,
    },
    /// Makes a table again what it was at a version: its columns, clauses and rows.
    RestoreTable {
        table: TableId,
        version: CatalogVersion,
    },
    /// Brings a dropped table back.
    UndropTable {
        table: TableId,
    },
    CloneTable(CloneTable),
    Cluster(ClusterChange),
    /// A function that is written in SQL.
    Function(FunctionChange),
    /// What is kept of a user.
    User(UserChange),
    /// How many buckets a table has, and rows on their way to them.
    Buckets(BucketChange),
}

/// A table to create; `apply` gives it its id, its buckets and their workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The columns of which every value is there once; empty without `UNIQUE KEY`.
    #[serde(default)]
    pub unique_key: Vec<ColumnId>,
    #[serde(default)]
    pub options: TableOptions,
}

impl NewTable {
    /// The first id that no column has.
    pub fn next_column_id(&self) -> ColumnId {
        ColumnId(self.columns.iter().map(|column| column.id.0 + 1).max().unwrap_or(0))
    }
}

/// What a table is from now on, in all that ALTER TABLE may change. Parts stay as they are: they
/// know their columns by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterTable {
    pub table: TableId,
    /// The version that this was computed from; the command is refused at another one.
    pub schema_version: u64,
    /// The set of views that was looked at, likewise.
    pub view_set_version: u64,
    /// In the table's order, hidden ones last.
    pub columns: Vec<Column>,
    /// Never below an id that some column has or had.
    pub next_column_id: ColumnId,
    pub engine: TableEngine,
    /// The same keys, with the names that their columns have now, and behind them what is appended.
    pub order_by: Vec<KeyExpression>,
    pub partition_by: Vec<KeyExpression>,
    pub settings: BTreeMap<String, String>,
    pub comment: Option<String>,
    #[serde(default)]
    pub options: TableOptions,
    /// Whether the change is only right while the table has no parts.
    #[serde(default)]
    pub requires_no_parts: bool,
    /// How many columns, which the command adds, are appended to `order_by`. Since protocol 6.
    #[serde(default, skip_serializing_if = "is_none")]
    pub appended_keys: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
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
    /// The projections among its files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projections: Vec<PartProjection>,
}

/// A part as the writer of a change knew it; `apply` refuses the change when it moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPart {
    pub part: PartId,
    /// Since when the newest of its deletion vectors holds; `None` when it has none.
    pub deletions: Option<CatalogVersion>,
}

/// A deletion vector to put on a part in place of the one that the writer knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDeletions {
    pub known: KnownPart,
    /// All deleted rows of the part, those of the earlier vector included.
    pub rows: u64,
    pub content: DeletionContent,
    /// The workers that hold the content, when it is a file. All copies of the part must be among
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synced: Vec<WorkerId>,
}

/// What one write does to one bucket, and under which leadership it was prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketWrite {
    pub bucket: BucketIndex,
    pub epoch: Epoch,
    pub in_sync_version: u64,
    /// The replicas that synced every part of this write.
    pub synced: Vec<WorkerId>,
    pub parts: Vec<NewPart>,
    /// Rows that the write takes away: parts of the bucket that get a new deletion vector.
    #[serde(default)]
    pub deletions: Vec<NewDeletions>,
    /// Parts of the bucket that it takes away whole.
    #[serde(default)]
    pub removed: Vec<KnownPart>,
    /// The bucket's upsert version that keys were checked at, when the table has a unique key.
    #[serde(default)]
    pub upsert_version: Option<u64>,
}

/// Partitions of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partitions {
    All,
    These(Vec<PartitionValue>),
}

impl Partitions {
    /// Whether `partition` is one of them.
    pub fn contains(&self, partition: &PartitionValue) -> bool {
        match self {
            Partitions::All => true,
            Partitions::These(these) => these.contains(partition),
        }
    }
}

/// What one write does to one table, and which versions of it the writer knew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableWrite {
    pub table: TableId,
    pub schema_version: u64,
    pub view_set_version: u64,
    pub data_version: u64,
    pub buckets: Vec<BucketWrite>,
    /// Partitions that the new parts replace, whatever is in them by now.
    #[serde(default)]
    pub overwrite: Option<Partitions>,
}

/// Makes a write visible, all of it or nothing: on every bucket of every table that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitWrite {
    /// The table that the client named, then its views' targets.
    pub tables: Vec<TableWrite>,
    /// Staged parts that become visible with it.
    pub staged: Option<String>,
    pub token: String,
    /// Of the content that the client sent.
    pub digest: String,
    /// Rows that the client sent.
    pub rows: u64,
    /// Other inserts whose rows are among the same parts: a group becomes visible as one.
    #[serde(default)]
    pub others: Vec<TokenEntry>,
    /// What it is, when it is more than an insert.
    #[serde(default)]
    pub origin: WriteOrigin,
}

/// One insert of a group that is committed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEntry {
    pub token: String,
    /// Of the content that its client sent.
    pub digest: String,
    /// Rows that its client sent.
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
    ViewCreated(TableId),
    WorkerRegistered {
        worker: WorkerId,
        incarnation: u64,
    },
    PartIdsLeased(PartIdRange),
    /// The number of the run of a refreshable view that begins.
    RefreshBegun(u64),
    Inserted(InsertReceipt),
    /// The answers to a group of inserts, in the order of their tokens.
    InsertedAll(Vec<InsertReceipt>),
}
