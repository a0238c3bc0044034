//! What becomes of rows whose time has come.

use granary_common::ColumnId;
use serde::{Deserialize, Serialize};

use super::ColumnCodec;

/// An expression over the columns of a row, bound by a coordinator. Whoever evaluates it never sees
/// its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowExpression {
    /// The engine's expression in its own encoding. It names columns as [`RowExpression::name_of`]
    /// does, so that a rename does not touch it.
    pub plan: Vec<u8>,
    /// The columns that it reads, each once.
    pub columns: Vec<ColumnId>,
}

impl RowExpression {
    /// The name of a column in a bound expression.
    pub fn name_of(column: ColumnId) -> String {
        format!("c{column}")
    }
}

/// A rule of a table's TTL, or of a column's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TtlRule {
    /// When a row is due: seconds since the epoch in UTC. NULL and 0 are never.
    pub expiry: RowExpression,
    /// Only rows for which it is TRUE.
    #[serde(default)]
    pub condition: Option<RowExpression>,
    pub action: TtlAction,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TtlAction {
    /// The rows go.
    Delete,
    /// A column gets its default; without an expression that is NULL or the type's zero value.
    Reset { column: ColumnId, default: Option<RowExpression> },
    /// Rows of equal `keys`, which lead the sort order, become one.
    GroupBy(RollUp),
    /// A part of which every row is due is written again with the densest encodings: what
    /// RECOMPRESS meant in rules that were bound before protocol 6.
    Recompress,
    /// A part of which every row is due moves there.
    Move(TtlPlace),
    /// A part of which every row is due is written again: columns without a CODEC of their own with
    /// these, or as the writer chooses when there are none. Since protocol 6.
    RecompressWith(Vec<ColumnCodec>),
}

impl TtlAction {
    /// Whether it is about how parts are encoded.
    pub fn recompresses(&self) -> bool {
        matches!(self, TtlAction::Recompress | TtlAction::RecompressWith(_))
    }
}

/// How rows become one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RollUp {
    pub keys: Vec<ColumnId>,
    /// Aggregate functions over the rows.
    pub aggregates: Vec<RowExpression>,
    /// The columns that are set, each from the results of `aggregates`, which are the columns of the
    /// expression by their place. Other columns keep the values of the first row.
    pub set: Vec<(ColumnId, RowExpression)>,
}

/// Where a part moves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TtlPlace {
    Disk(String),
    /// Of the table's storage policy.
    Volume(String),
}
