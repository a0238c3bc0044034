use std::collections::BTreeMap;

use granary_common::{CatalogVersion, ColumnId, DatabaseId, TableId};
use serde::{Deserialize, Serialize};

use super::{
    BoundProjection, BucketHistory, Projection, RowExpression, Scalar, SkipIndex, TtlRule,
};
use crate::types::ColumnType;

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    pub id: DatabaseId,
    pub name: String,
}

/// The engines of the MergeTree family: what becomes of rows with equal sort keys, now and then by
/// merges and always by FINAL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineKind {
    /// They all stay.
    MergeTree,
    /// The one of the highest version stays, of equal ones the last inserted; none when it is
    /// deleted.
    Replacing { version: Option<ColumnId>, is_deleted: Option<ColumnId> },
    /// `columns` are added up; rows whose sums are all zero go. Without columns: every numeric one
    /// that is in no key.
    Summing { columns: Vec<ColumnId> },
    /// Aggregate states are merged.
    Aggregating,
    /// Pairs of rows with `sign` 1 and -1 go.
    Collapsing { sign: ColumnId },
    /// Pairs of one version with `sign` 1 and -1 go.
    VersionedCollapsing { sign: ColumnId, version: ColumnId },
    /// The last inserted value that is not NULL stays of each of `columns`; without columns, of
    /// every one that is in no key.
    Coalescing { columns: Vec<ColumnId> },
}

impl EngineKind {
    /// The engine's name in SQL.
    pub fn name(&self) -> &'static str {
        match self {
            EngineKind::MergeTree => "MergeTree",
            EngineKind::Replacing { .. } => "ReplacingMergeTree",
            EngineKind::Summing { .. } => "SummingMergeTree",
            EngineKind::Aggregating => "AggregatingMergeTree",
            EngineKind::Collapsing { .. } => "CollapsingMergeTree",
            EngineKind::VersionedCollapsing { .. } => "VersionedCollapsingMergeTree",
            EngineKind::Coalescing { .. } => "CoalescingMergeTree",
        }
    }

    /// Whether rows with equal sort keys become fewer.
    pub fn collapses(&self) -> bool {
        *self != EngineKind::MergeTree
    }
}

/// An engine with its arguments as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEngine {
    pub kind: EngineKind,
    /// Normalised arguments, for example the version column.
    pub arguments: Vec<String>,
}

/// What fills a column that an insert leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnDefault {
    /// `DEFAULT expr`; the text is bound by `sql`.
    Expression(String),
    /// `MATERIALIZED expr`: always computed, never inserted, and left out of `*`.
    Materialized(String),
    /// `ALIAS expr`: the same to users; its expression only refers to the row, so that it does not
    /// matter that its values are stored.
    Alias(String),
}

impl ColumnDefault {
    /// The expression.
    pub fn text(&self) -> &str {
        match self {
            ColumnDefault::Expression(text)
            | ColumnDefault::Materialized(text)
            | ColumnDefault::Alias(text) => text,
        }
    }

    /// The word before the expression in SQL.
    pub fn keyword(&self) -> &'static str {
        match self {
            ColumnDefault::Expression(_) => "DEFAULT",
            ColumnDefault::Materialized(_) => "MATERIALIZED",
            ColumnDefault::Alias(_) => "ALIAS",
        }
    }

    /// The same kind of default with another expression.
    pub fn with_text(&self, text: String) -> ColumnDefault {
        match self {
            ColumnDefault::Expression(_) => ColumnDefault::Expression(text),
            ColumnDefault::Materialized(_) => ColumnDefault::Materialized(text),
            ColumnDefault::Alias(_) => ColumnDefault::Alias(text),
        }
    }
}

/// A column as parts have it that were written before its type changed. The change gives the column
/// a new id, so that whatever is known by id of a part's values is of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierColumn {
    pub id: ColumnId,
    pub column_type: ColumnType,
    /// The table's first `schema_version` without it.
    pub until: u64,
}

/// How rows that are older than a column have values of their own in it. Where a part lacks the
/// column, they are computed as they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedExpression {
    pub expression: RowExpression,
    /// The columns that it reads, as they were when the column was added: whatever becomes of them
    /// later, parts that lack the column have these.
    pub inputs: Vec<Column>,
    /// The table's first `schema_version` with the column.
    pub since: u64,
}

/// Why a column exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnRole {
    /// Declared by the user.
    Ordinary,
    /// Holds the values of a key or partition expression that is not a plain column. Stored with
    /// the part and hidden from users; computed by the coordinator, so that workers never see SQL.
    KeyExpression(String),
}

/// A column, addressed by id in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub id: ColumnId,
    pub name: String,
    pub column_type: ColumnType,
    pub role: ColumnRole,
    #[serde(default)]
    pub default: Option<ColumnDefault>,
    #[serde(default)]
    pub comment: Option<String>,
    /// What it was in older parts, newest first. Values of each are cast when they are read.
    #[serde(default)]
    pub earlier: Vec<EarlierColumn>,
    /// What rows hold that are older than the column; `None`: NULL, or the type's zero value.
    #[serde(default)]
    pub added: Option<Scalar>,
    /// The same for values that differ from row to row. Since protocol 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<Box<AddedExpression>>,
    /// `CODEC(...)` as written; see [`super::ColumnCodec`].
    #[serde(default)]
    pub codec: Option<String>,
    /// `TTL expr` as written; the rule is one of [`TableOptions::rules`].
    #[serde(default)]
    pub ttl: Option<String>,
}

impl Column {
    /// A plain column that users see.
    pub fn new(id: ColumnId, name: impl Into<String>, column_type: ColumnType) -> Column {
        Column {
            id,
            name: name.into(),
            column_type,
            role: ColumnRole::Ordinary,
            default: None,
            comment: None,
            earlier: Vec::new(),
            added: None,
            computed: None,
            codec: None,
            ttl: None,
        }
    }

    /// Whether users see it.
    pub fn is_visible(&self) -> bool {
        self.role == ColumnRole::Ordinary
    }

    /// Whether its values are computed from the other columns of the row and never given.
    pub fn is_computed(&self) -> bool {
        matches!(self.role, ColumnRole::KeyExpression(_))
            || matches!(
                self.default,
                Some(ColumnDefault::Materialized(_) | ColumnDefault::Alias(_))
            )
    }

    /// Whether rows of the table bring it: users see it, and it is not computed.
    pub fn is_insertable(&self) -> bool {
        self.is_visible() && !self.is_computed()
    }
}

/// Clauses of a table beside its columns and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableOptions {
    #[serde(default)]
    pub indexes: Vec<SkipIndex>,
    #[serde(default)]
    pub projections: Vec<Projection>,
    /// The rules after `TTL` as written.
    #[serde(default)]
    pub ttl: Option<String>,
    /// The same, bound, and those of columns.
    #[serde(default)]
    pub rules: Vec<TtlRule>,
    /// What the expressions of PARTITION BY mean, by their places; `None` for a plain column, and
    /// where a table was made before this was kept.
    #[serde(default)]
    pub partition_expressions: Vec<Option<RowExpression>>,
    /// Moves when the rules change, so that no merge takes rows away by rules that are gone.
    #[serde(default)]
    pub ttl_version: u64,
    /// The numbers of its buckets, and those of before: no clause of a statement.
    #[serde(default, skip_serializing_if = "BucketHistory::is_first")]
    pub layout: BucketHistory,
    /// What every row has to meet when it is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

/// `CONSTRAINT name CHECK condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    pub name: String,
    /// As written, over the table's columns. A row for which it is unknown meets it.
    pub condition: String,
}

impl TableOptions {
    /// The projections that have an effect.
    pub fn bound_projections(&self) -> impl Iterator<Item = BoundProjection> {
        self.projections.iter().filter_map(|projection| projection.bound.clone())
    }
}

/// An expression of ORDER BY or PARTITION BY, and the column that holds its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyExpression {
    /// The normalised text, for SHOW CREATE TABLE.
    pub text: String,
    pub column: ColumnId,
}

/// How rows find their bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// By the specified hash over these columns.
    Hash(Vec<ColumnId>),
    /// A whole inserted block goes to the next bucket.
    Rotation,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub id: TableId,
    pub database: DatabaseId,
    pub name: String,
    pub engine: TableEngine,
    /// In declaration order, hidden ones last.
    pub columns: Vec<Column>,
    pub next_column_id: ColumnId,
    /// The sort order of its parts.
    pub order_by: Vec<KeyExpression>,
    /// How many leading expressions of `order_by` the sparse primary index holds.
    pub primary_key_len: usize,
    pub partition_by: Vec<KeyExpression>,
    pub distribution: Distribution,
    /// Buckets, at least 1.
    pub buckets: u32,
    #[serde(default)]
    pub colocation_group: Option<String>,
    /// Known settings with their values as text, for example `index_granularity`.
    pub settings: BTreeMap<String, String>,
    #[serde(default)]
    pub comment: Option<String>,
    /// Moves when columns change.
    pub schema_version: u64,
    /// Moves when the set of its materialized views changes.
    pub view_set_version: u64,
    /// Moves when TRUNCATE and its like cut the table, so that an insert in flight is wholly before or after.
    pub data_version: u64,
    pub created: CatalogVersion,
    /// The version that dropped it; its rows stay until its history has passed it.
    #[serde(default)]
    pub dropped: Option<CatalogVersion>,
    /// The columns of which every value is there once; empty without `UNIQUE KEY`.
    #[serde(default)]
    pub unique_key: Vec<ColumnId>,
    /// Whether its merges are stopped.
    #[serde(default)]
    pub merges_stopped: bool,
    #[serde(default)]
    pub options: TableOptions,
}

impl Table {
    /// Rows of a granule, unless the table sets `index_granularity`.
    pub const DEFAULT_INDEX_GRANULARITY: usize = 8192;

    /// The setting that bounds the columns with parts of documents; 0 for none.
    pub const JSON_COLUMNS_SETTING: &str = "json_columns";
    /// What a table with a column of documents sets it to when it is made, unless told otherwise.
    pub const DEFAULT_JSON_COLUMNS: usize = 64;

    /// The setting that keeps the expression of SAMPLE BY.
    pub const SAMPLE_BY_SETTING: &str = "sample_by";

    /// The expression whose hash decides which samples a row is in, as text.
    pub fn sampling_key(&self) -> Option<&str> {
        self.settings.get(Self::SAMPLE_BY_SETTING).map(String::as_str)
    }

    /// The column of `id`.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// Position of the column of `id` in `columns`.
    pub fn column_position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The columns that users see.
    pub fn visible_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.is_visible())
    }

    /// The columns that rows of an INSERT bring, and that `*` shows.
    pub fn insertable_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.is_insertable())
    }

    /// Rows of a granule.
    pub fn index_granularity(&self) -> usize {
        self.settings
            .get("index_granularity")
            .and_then(|text| text.parse().ok())
            .unwrap_or(Self::DEFAULT_INDEX_GRANULARITY)
    }

    /// Columns that parts get at most for what is in the documents of each column.
    pub fn json_columns(&self) -> usize {
        self.settings
            .get(Self::JSON_COLUMNS_SETTING)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }
}
