use serde::{Deserialize, Serialize};

use super::RowExpression;
use crate::types::ColumnType;

/// A projection: a SELECT over the rows of a part, whose result is kept in the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projection {
    pub name: String,
    /// Its SELECT as written, without the brackets.
    pub query: String,
    /// The same, bound; `None` where a table was made before projections had an effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<BoundProjection>,
}

/// What a projection keeps of the rows of a part. With `values` it has a row for each group of equal
/// `keys`, and now and then several for one; without, a row for each row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BoundProjection {
    pub keys: Vec<ProjectedKey>,
    pub values: Vec<ProjectedValue>,
    /// Places of the keys that its rows lie in the order of, as far as memory allows.
    #[serde(default)]
    pub ordered_by: Vec<u32>,
    /// Whether equal keys become one row; without values too, as `SELECT a GROUP BY a`.
    pub is_grouped: bool,
}

/// An expression over the columns of a row whose values are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProjectedKey {
    pub expression: RowExpression,
    pub column_type: ColumnType,
}

/// An aggregate of which results of parts make the result of all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProjectedValue {
    pub fold: Fold,
    /// The whole call.
    pub aggregate: RowExpression,
    pub column_type: ColumnType,
}

/// How results of parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fold {
    /// `count(..)`, which is never NULL.
    Count,
    Sum,
    Min,
    Max,
}

/// A projection that a part has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartProjection {
    /// Of its [`BoundProjection`]: what it is, whatever it is called.
    pub fingerprint: u64,
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
}
