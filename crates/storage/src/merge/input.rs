//! Parts as inputs of a merge: their rows in sort order, and where each row is in its part.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use granary_common::{ColumnId, Result};

use super::positions::Positions;
use crate::read::{PartRef, PartScan, PartStore};
use crate::schema::PartSchema;

/// Rows of a batch that is read, at most.
const READ_ROWS: usize = 8192;

/// The rows of `part` in the order of its keys, without deleted ones.
pub(super) async fn open_sorted(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    part: &PartRef,
    columns: &[ColumnId],
) -> Result<(BoxStream<'static, Result<RecordBatch>>, Positions)> {
    let open = store.open(part).await?;
    let positions = Positions::new(open.rows(), open.deletions().map(|rows| &**rows));
    let scan = PartScan {
        columns: columns.to_vec(),
        filter: None,
        ordered: true,
        rows: None,
        batch_rows: READ_ROWS,
        limit: None,
        hints: Vec::new(),
    };
    Ok((open.scan(Arc::clone(schema), scan), positions))
}
