//! Predicates that a scan evaluates on stored columns.

mod rows;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use granary_catalog::Scalar;
use granary_common::ColumnId;
use serde::{Deserialize, Serialize};

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

impl CompareOp {
    /// Whether two values that compare as `ordering` satisfy it.
    pub fn holds(self, ordering: Ordering) -> bool {
        match self {
            CompareOp::Eq => ordering.is_eq(),
            CompareOp::NotEq => ordering.is_ne(),
            CompareOp::Lt => ordering.is_lt(),
            CompareOp::LtEq => ordering.is_le(),
            CompareOp::Gt => ordering.is_gt(),
            CompareOp::GtEq => ordering.is_ge(),
        }
    }

    /// The operator with its sides exchanged.
    pub fn swapped(self) -> CompareOp {
        match self {
            CompareOp::Lt => CompareOp::Gt,
            CompareOp::LtEq => CompareOp::GtEq,
            CompareOp::Gt => CompareOp::Lt,
            CompareOp::GtEq => CompareOp::LtEq,
            same => same,
        }
    }
}

/// A predicate over the columns of a part, with SQL's three-valued logic: a row passes only when
/// the predicate is TRUE.
///
/// Values are canonical for their column (see [`crate::scalar`]): the scan is refused when a
/// value's variant does not fit the column's type. Comparisons with [`Scalar::Null`] are NULL.
/// Floats compare as Arrow's kernels do: NaN equals itself and is above every number. (Parts hold
/// neither -0 nor NaNs of other bit patterns, see [`crate::sort_order`].)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// TRUE when empty.
    And(Vec<Filter>),
    /// FALSE when empty.
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Compare {
        column: ColumnId,
        op: CompareOp,
        value: Scalar,
    },
    /// Columns of the same Arrow type.
    CompareColumns {
        left: ColumnId,
        op: CompareOp,
        right: ColumnId,
    },
    /// FALSE when empty; NULL when nothing matches and the list holds NULL.
    In {
        column: ColumnId,
        values: Vec<Scalar>,
        negated: bool,
    },
    IsNull {
        column: ColumnId,
        negated: bool,
    },
    /// `%` any text, `_` one character, `\` escapes. Only on text columns.
    Like {
        column: ColumnId,
        pattern: String,
        negated: bool,
        case_insensitive: bool,
    },
}

impl Filter {
    /// The columns that it reads.
    pub fn columns(&self) -> BTreeSet<ColumnId> {
        let mut columns = BTreeSet::new();
        self.collect_columns(&mut columns);
        columns
    }

    fn collect_columns(&self, columns: &mut BTreeSet<ColumnId>) {
        match self {
            Filter::And(terms) | Filter::Or(terms) => {
                terms.iter().for_each(|term| term.collect_columns(columns));
            }
            Filter::Not(term) => term.collect_columns(columns),
            Filter::CompareColumns { left, right, .. } => columns.extend([*left, *right]),
            Filter::Compare { column, .. }
            | Filter::In { column, .. }
            | Filter::IsNull { column, .. }
            | Filter::Like { column, .. } => {
                columns.insert(*column);
            }
        }
    }
}
