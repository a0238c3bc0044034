//! How states of aggregate functions are merged. Storage knows no functions, so the caller does it.

use std::fmt::Debug;

use arrow::array::ArrayRef;
use granary_catalog::ColumnType;
use granary_common::{Error, Result};

/// Merges states of one aggregate-function column.
pub trait StateMerger: Send + Sync + Debug {
    /// One value for each group: `groups[i]` (ascending from 0, without holes) is the group of row
    /// `i` of `values`, whose rows are in the order of their insertion. A group's own merged value
    /// comes back as a row of a later call when the group goes on.
    fn merge(
        &self,
        column_type: &ColumnType,
        values: &ArrayRef,
        groups: &[usize],
        group_count: usize,
    ) -> Result<ArrayRef>;
}

/// For tables without aggregate-function columns.
#[derive(Debug)]
pub struct NoStates;

impl StateMerger for NoStates {
    fn merge(
        &self,
        column_type: &ColumnType,
        _: &ArrayRef,
        _: &[usize],
        _: usize,
    ) -> Result<ArrayRef> {
        Err(Error::internal(format!("nothing here merges states of the type {column_type}")))
    }
}
