//! How bound expressions are evaluated. Storage knows no functions, so the caller does it.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{cast, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use granary_catalog::RowExpression;
use granary_common::{Error, Result};

use crate::documents::DocumentReader;
use crate::schema::PartColumn;

/// Makes computations of bound expressions.
pub trait RowEvaluator: Send + Sync + Debug {
    /// The computation of `expression` over batches whose columns are those of `schema`, see
    /// [`row_schema`]. Kind `Unsupported` for an expression that this build does not know.
    fn compile(
        &self,
        expression: &RowExpression,
        schema: &Schema,
    ) -> Result<Arc<dyn RowComputation>>;

    /// Aggregates groups of rows of `schema`.
    fn folder(&self, aggregates: &[RowExpression], schema: &Schema)
    -> Result<Box<dyn GroupFolder>>;

    /// Whether the values of `expression`, which reads one column, never fall while those of the
    /// column rise.
    fn is_monotone(&self, expression: &RowExpression, schema: &Schema) -> bool;

    /// How documents are read; `None` where they are texts like others.
    fn documents(&self) -> Option<Arc<dyn DocumentReader>> {
        None
    }
}

/// A bound expression that is ready.
pub trait RowComputation: Send + Sync + Debug {
    /// A value for each row.
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef>;
}

/// Aggregates of groups of rows that come one after the other.
pub trait GroupFolder: Send + Debug {
    /// The results: one column for each aggregate, named by its place as
    /// [`RowExpression::name_of`] does.
    fn results(&self) -> &Schema;

    /// Adds rows to `count` groups; `groups` are the numbers of the rows' groups from 0, ascending.
    fn add(&mut self, rows: &RecordBatch, groups: &[usize], count: usize) -> Result<()>;

    /// The results of the first `count` groups, which are then forgotten; the others move up.
    fn take(&mut self, count: usize) -> Result<RecordBatch>;
}

/// The schema of rows of `columns` as bound expressions name them.
pub fn row_schema<'a>(columns: impl IntoIterator<Item = &'a PartColumn>) -> Schema {
    let field = |column: &PartColumn| -> Field {
        column.column_type.arrow_field(&RowExpression::name_of(column.id))
    };
    Schema::new(columns.into_iter().map(field).collect::<Vec<_>>())
}

/// When each row is due; NULL for never.
pub(super) fn expiries(computation: &dyn RowComputation, rows: &RecordBatch) -> Result<Int64Array> {
    let values = computation.evaluate(rows)?;
    let values = cast(&values, &DataType::Int64)
        .map_err(|error| Error::internal(format!("a TTL gives no seconds: {error}")))?;
    let seconds = values.as_primitive::<Int64Type>();
    if !seconds.values().contains(&0) {
        return Ok(seconds.clone());
    }
    Ok(seconds.iter().map(|value| value.filter(|seconds| *seconds != 0)).collect())
}

/// For which rows the condition is TRUE.
pub(super) fn holds(computation: &dyn RowComputation, rows: &RecordBatch) -> Result<BooleanArray> {
    let values = computation.evaluate(rows)?;
    let values = cast(&values, &DataType::Boolean)
        .map_err(|error| Error::internal(format!("a condition gives no truth: {error}")))?;
    let truth = values.as_boolean();
    Ok(match truth.null_count() {
        0 => truth.clone(),
        _ => prep_null_mask_filter(truth),
    })
}

/// For tables without rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExpressions;

impl RowEvaluator for NoExpressions {
    fn compile(&self, _: &RowExpression, _: &Schema) -> Result<Arc<dyn RowComputation>> {
        Err(Error::internal("nothing here evaluates expressions"))
    }

    fn folder(&self, _: &[RowExpression], _: &Schema) -> Result<Box<dyn GroupFolder>> {
        Err(Error::internal("nothing here evaluates aggregates"))
    }

    fn is_monotone(&self, _: &RowExpression, _: &Schema) -> bool {
        false
    }
}
