//! Parts as inputs of a merge: their rows in sort order, and where each row is in its part.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use granary_common::{ColumnId, Result};

use super::positions::Positions;
use crate::read::{PartRef, PartScan, PartStore};
use crate::schema::PartSchema;

/// Rows of a batch that is read, at most.
const READ_ROWS: usize = 8192;

/// The rows of `part`, or those of them in `rows`, in the order of its keys, without deleted ones.
pub(super) async fn open_sorted(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    part: &PartRef,
    columns: &[ColumnId],
    rows: Option<Range<u64>>,
) -> Result<(BoxStream<'static, Result<RecordBatch>>, Positions)> {
    if rows.as_ref().is_some_and(Range::is_empty) {
        return Ok((stream::empty().boxed(), Positions::new(0..0, None)));
    }
    let open = store.open(part).await?;
    let scanned = rows.clone().unwrap_or(0..open.rows());
    let positions = Positions::new(scanned, open.deletions().map(|rows| &**rows));
    let scan = PartScan {
        columns: columns.to_vec(),
        filter: None,
        ordered: true,
        rows: rows.map(|rows| Vec::from([rows])),
        batch_rows: READ_ROWS,
        limit: None,
        hints: Vec::new(),
    };
    Ok((open.scan(Arc::clone(schema), scan), positions))
}
