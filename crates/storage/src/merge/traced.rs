//! Rows that carry where they come from through a merge, so that their other columns can follow them.
//!
//! A column is added behind those of the inputs. Whatever the merge does to rows it does to this one,
//! and of rows that become one it keeps the place of the first, as of every column that is not computed.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use futures::stream::{BoxStream, StreamExt};
use granary_common::{ColumnId, Error, Result};

use super::row_order::{RowOrder, RowOrderBuilder};

/// Of the added column; tables have none of this id.
pub(super) const SOURCE_COLUMN: ColumnId = ColumnId(u32::MAX - 2);

/// `schema` with the added column.
pub(super) fn traced_schema(schema: &Schema) -> SchemaRef {
    let source = Arc::new(Field::new("", DataType::UInt64, false));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([source]).collect::<Vec<_>>()))
}

/// The batches of an input with the added column; `schema` has it.
pub(super) fn traced(
    batches: BoxStream<'static, Result<RecordBatch>>,
    input: usize,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch>> {
    let mut next = (input as u64) << 32;
    let mut traced = move |batch: RecordBatch| {
        let end = next + batch.num_rows() as u64;
        let sources: ArrayRef = Arc::new(UInt64Array::from_iter_values(next..end));
        next = end;
        let columns = batch.columns().iter().cloned().chain([sources]).collect();
        RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| Error::internal(format!("cannot follow rows: {error}")))
    };
    batches.map(move |batch| batch.and_then(&mut traced)).boxed()
}

/// Takes the added column off, and notes what it says.
pub(super) struct Tracing {
    pub builder: RowOrderBuilder,
    /// Gets the order after the last rows.
    pub order: Arc<OnceLock<Arc<RowOrder>>>,
}

impl Tracing {
    /// The next rows of the output without the added column.
    pub fn without(&mut self, mut rows: RecordBatch) -> Result<RecordBatch> {
        let Some(last) = rows.num_columns().checked_sub(1) else {
            return Err(Error::internal("rows lost where they come from"));
        };
        for source in rows.remove_column(last).as_primitive::<UInt64Type>().values() {
            self.builder.push((source >> 32) as u32, *source as u32);
        }
        Ok(rows)
    }

    /// After the last rows.
    pub fn finish(self) {
        // Set once, since the rows end once.
        let _ = self.order.set(Arc::new(self.builder.finish()));
    }
}
