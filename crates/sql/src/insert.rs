//! From the rows that a client sends to the rows that a table stores.

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use granary_catalog::Table;
use granary_common::{Error, Result};

/// How the columns of an insert become the columns of a table.
#[derive(Debug)]
pub struct RowProjection {}

impl RowProjection {
    /// Binds the columns of `input`, by position to `named_columns` or to the visible columns.
    pub fn bind(
        _table: &Table,
        _named_columns: Option<&[String]>,
        _input: &Schema,
        _state: &SessionState,
    ) -> Result<RowProjection> {
        Err(Error::unsupported("not yet"))
    }

    /// The batch in the order of the table's columns, hidden ones included. `first_row` is the
    /// number of the batch's first row in its insert, from 1, for errors.
    pub fn apply(&self, batch: &RecordBatch, _first_row: u64) -> Result<RecordBatch> {
        Ok(batch.clone())
    }
}
